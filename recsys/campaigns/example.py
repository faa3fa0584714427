"""A commented brief that works on the simulated bank."""

from datetime import datetime, timedelta
from typing import Final

_WEEK: Final = timedelta(days=7)
_BRIEF: Final = """\
# A brief: who hears of what, how, when and for how much. Every key that is not commented out is needed, unless it says
# otherwise; a key that is not known is refused. Plan it with
#   recsys campaign plan brief.yaml --out plan
campaign_id: summer-savings          # small letters, digits, - and _; decides who the campaign's holdout is
name: Summer savings
objective: acquire                   # what counts as a response: acquire (convert), apply, or engage (click)
products: engine                     # the engine chooses for each customer; or product ids: [p0001, p0002]
categories: [savings, term_deposit, card, insurance, fx]    # of what the engine may choose; leave out: of everything
audience:                            # all, any and not around comparisons; or: everyone
  all:
    - {field: segment, in: [mass, affluent, private]}
    - any:
        - {field: liquid_amount, at_least: 500}
        - {field: income_band, known: true}
    - not: {field: kyc_status, equals: pending}
  # Operators: equals, not_equals, in, not_in, at_least, at_most, above, below, known.
  # Where the campaign may be about credit, protected fields (sex, age, ...) and their proxies (region, language, ...)
  # are refused; who is vulnerable can never be asked for.
channels:
  - {channel: email, cost_per_contact: 0.05, capacity: 2000}
  - {channel: app, cost_per_contact: 0.01}                  # without a capacity: any number
  # Where the bank reaches out (email, sms, push, ...) something is sent; elsewhere (app, web, branch) it waits until
  # the customer comes, and then stands first among his recommendations; `delivery: message` sends it there too.
budget: 25.0                         # in the bank's currency
starts: $starts     # the first and the last instant, with their zone; not before the data end
ends: $ends
send_hour: 10                        # on the customer's own clock; one day is one slot
languages: [en]                      # of the copy
# tone: warm                         # of the copy; leave out: whatever the customer answers to best
limits:                              # optional
  per_customer: 1                    # contacts of a customer
  per_category: 1                    # contacts of a customer about one category
  in_app_views: 5                    # how often something in the app is shown to a customer
  per_product: {}                    # contacts about a product, such as {p0001: 500}
  cells:                             # least and most contacts of a segment on a channel
    - {segment: mass, channel: email, maximum: 1500}
holdout:                             # who is never contacted, so that the effect can be measured
  global_share: 0.02                 # 0.02 to 0.05 of all customers, the same in every campaign
  campaign_share: 0.1                # of the others, drawn for this campaign
salt: change-me-once                 # at least 8 characters, the same in all campaigns of the bank, and kept secret
seed: 0
"""


def example_brief(end_of_data: datetime) -> str:
    """The brief of a campaign that begins two days after the data end and lasts a week."""
    day = end_of_data.replace(hour=0, minute=0, second=0, microsecond=0)
    starts = day + timedelta(days=2)
    values = {"$starts": f"{starts:%Y-%m-%dT%H:%M:%SZ}", "$ends": f"{starts + _WEEK:%Y-%m-%dT%H:%M:%SZ}"}
    text = _BRIEF
    for name, value in values.items():
        text = text.replace(name, value)
    return text
