"""Why a product is not shown to a customer: every rule that removes it now, with its source."""

from datetime import date, datetime
from typing import NamedTuple

from recsys.errors import RecsysError
from recsys.policy.rules import RequestContext
from serving.loading import ServedModel
from serving.store.facts import FactStore


class UnknownProductError(RecsysError):
    """A product that is not in the catalogue."""


class RemovingRule(NamedTuple):
    """A rule that removes an item."""

    rule: str
    source: str
    effective_from: date


class WhyNot(NamedTuple):
    """What keeps a product from a customer."""

    policy: str
    suitability: str
    rules: list[RemovingRule]
    """In the pack's order; empty: he may be shown it."""


def why_not(
    model: ServedModel, facts: FactStore, customer_id: str, product_id: str, now: datetime, channel: str | None = None
) -> WhyNot:
    """Asks every rule about one customer and one product.

    Args:
        model: what is served.
        facts: of customers.
        customer_id: one who is not known is judged as the most restricted there is.
        product_id: must be in the catalogue.
        now: the instant.
        channel: where it would be shown; None: on any.

    Raises:
        UnknownProductError: it is not.
        StoreError: the facts cannot be read.
    """
    pipeline = model.pipeline
    products, policy = pipeline.catalogue.products, pipeline.policy
    if product_id not in products.index:
        raise UnknownProductError(f"there is no product {product_id} in the catalogue that is served")
    record = facts.read(customer_id, now)
    customer = record.as_facts(products)
    context = RequestContext(channel=channel, taken=record.taken)
    removed = policy.explain(customer, products, None, now, context)
    place = products.index[product_id]
    found = [rule for rule in policy.pack.rules if rule.id in removed and removed[rule.id][place]]
    return WhyNot(
        policy=model.policy_version,
        suitability=policy.suitability(customer, now)[0],
        rules=[RemovingRule(rule.id, rule.source, rule.effective_from) for rule in found],
    )
