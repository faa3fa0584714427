"""Why a product scores as it does for a customer: for staff, worked out anew from what is known of him now."""

from datetime import datetime
from typing import NamedTuple

import numpy as np

from recsys.decisions.answer import DecisionRequest, Placement
from recsys.decisions.contributions import ITEM, Contributions, contributions
from recsys.decisions.explanation import Reason
from recsys.decisions.pipeline import DecisionPipeline
from recsys.decisions.scoring import Features
from recsys.errors import RecsysError
from recsys.policy.facts import CustomerFacts
from recsys.policy.rules import RequestContext
from recsys.schema import Kind, ServingMode
from serving.engine import without_refused
from serving.loading import FeatureReader, ServedModel
from serving.store.facts import FactStore
from serving.why_not import UnknownProductError


class FeaturesUnreadableError(RecsysError):
    """The online store does not answer."""


class Sources(NamedTuple):
    """Where it is read what is known of customers."""

    facts: FactStore
    features: FeatureReader


class Explained(NamedTuple):
    """One product, one customer."""

    model: str
    policy: str
    mode: ServingMode
    """How much is known of him; `popular`: nothing, so that the score is the product's popularity."""
    allowed: bool
    """Whether he may be shown it; the route `why-not` says which rules keep it from him."""
    account: Contributions
    reasons: list[Reason]
    """As he would read them; empty where he may not be shown it."""


def explain(
    model: ServedModel, sources: Sources, asked: tuple[str, str], now: datetime, channel: str | None = None
) -> Explained:
    """Explains the score of a product for a customer.

    What he does not let be looked at is not looked at for staff either.

    Args:
        model: what is served.
        sources: of facts and features.
        asked: the ids of customer and product; the product must be in the catalogue.
        now: the instant.
        channel: where it would be shown; None: on any.

    Raises:
        UnknownProductError: it is not.
        StoreError: the facts cannot be read.
        FeaturesUnreadableError: the features cannot.
    """
    customer_id, product_id = asked
    pipeline = model.pipeline
    products = pipeline.catalogue.products
    if product_id not in products.index:
        raise UnknownProductError(f"there is no product {product_id} in the catalogue that is served")
    record = sources.facts.read(customer_id, now)
    facts = record.as_facts(products)
    features = _features(pipeline, sources.features, customer_id, facts, now)
    product = products.index[product_id]
    only = {Kind.PRODUCTS: pipeline.catalogue.mask(Kind.PRODUCTS, [product_id])}
    context = RequestContext(channel=channel, taken=record.taken)
    request = DecisionRequest(now, (Placement("explained", Kind.PRODUCTS, 1),), context, only)
    decision = pipeline.decide(features, facts, request)
    allowed = pipeline.policy.evaluate(facts, products, now, context).allowed[0]
    if features is None or decision.mode in (ServingMode.POPULAR, ServingMode.SAFE):
        segment = None if pipeline.policy.profiling_refused(facts, now)[0] else facts.segment[0]
        account = _by_popularity(pipeline, segment, product, allowed)
    else:
        account = contributions(pipeline, features, product, allowed, request)
    shown = decision.placements[0].items
    reasons = shown[0].reasons if shown else []
    return Explained(model.version, model.policy_version, decision.mode, bool(allowed[product]), account, reasons)


def _features(
    pipeline: DecisionPipeline, reader: FeatureReader, customer_id: str, facts: CustomerFacts, now: datetime
) -> Features | None:
    """What may be read of the customer now; None where it is nothing."""
    if pipeline.policy.profiling_refused(facts, now)[0] or pipeline.policy.stale(facts, now)[0]:
        return None
    try:
        features = reader.read_customer(customer_id)
    except Exception as error:  # whatever an online store raises
        raise FeaturesUnreadableError("the features cannot be read") from error
    return None if features is None else without_refused(features, facts, now)


def _by_popularity(pipeline: DecisionPipeline, segment: str | None, product: int, allowed: np.ndarray) -> Contributions:
    """Where nothing is known of the customer, all of it is the product's own."""
    scores = pipeline.scorer.popularity(segment, Kind.PRODUCTS).astype(np.float64)
    among = allowed.copy()
    among[product] = True
    score, average = float(scores[product]), float(scores[among].mean())
    return Contributions(score, average, {ITEM: score - average}, {})
