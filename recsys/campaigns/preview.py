"""What a brief would reach, in about a second: its audience and the rules, before any model is asked."""

from typing import Final, NamedTuple

import polars as pl

from recsys.campaigns.brief import Brief, BriefError
from recsys.campaigns.holdouts import draws
from recsys.campaigns.judging import Reach, batches, reach_batch, read_audience
from recsys.campaigns.offers import Offers
from recsys.campaigns.source import RuleSource
from recsys.campaigns.waterfall import HOLDOUT, STEPS, WaterfallStep
from recsys.schema import CUSTOMER_ID

MOST_JUDGED: Final = 4_000
"""Customers whom the rules are asked about; of a larger audience a random part stands for all."""
_KEPT: Final = STEPS[: STEPS.index(HOLDOUT) + 1]
_SCOPE: Final = "preview"


class Preview(NamedTuple):
    """What a brief would reach."""

    customers: int
    """Of the bank."""
    audience: int
    judged: int
    """Of the audience, those whom the rules were asked about; fewer than all: the steps are of these alone."""
    steps: list[WaterfallStep]
    """Up to the holdout: what limits leave, only a plan can say."""

    @property
    def reachable(self) -> int:
        """Customers who could be contacted; of a part, projected to all."""
        left = self.steps[-1].left
        return left if self.judged >= self.audience else round(left / self.judged * self.audience)


def preview(brief: Brief, source: RuleSource, most: int = MOST_JUDGED) -> Preview:
    """Asks the rules about a brief's audience.

    Raises:
        BriefError: the brief cannot be planned on this bank.
        AudienceError: its audience is refused.
    """
    brief.require_future(source.as_of)
    offers = Offers.of(brief, source)
    audience = read_audience(brief, source)
    if audience.is_empty():
        raise BriefError("audience: nobody is in it: check the values, or ask for less")
    part = _part(audience, brief.salt, most)
    reach, facts = Reach.of(part, source), source.facts_of(part[CUSTOMER_ID].to_list())
    for batch in batches(part):
        reach.add(reach_batch(batch, brief, source, offers, facts))
    everybody = source.count()
    steps = [step for step in reach.waterfall.steps(everybody) if step.step in _KEPT]
    return Preview(everybody, len(audience), len(part), steps)


def _part(audience: pl.DataFrame, salt: str, most: int) -> pl.DataFrame:
    """The same customers every time, drawn by hash; all where there are few."""
    if len(audience) <= most:
        return audience
    numbers = pl.Series(draws(salt, _SCOPE, audience[CUSTOMER_ID].to_list()))
    return audience.filter(numbers.rank("ordinal") <= most)
