"""Answers a request: reads facts and features of one customer, decides, records the decision.

A dependency that fails never fails the request. Without features the answer is what is popular; without facts it is
what the most restricted customer may see.
"""

import logging
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from time import perf_counter
from typing import Any
from uuid import uuid4

from recsys.decisions.pipeline import Decision, DecisionRequest, Placement, PlacementDecision, RankedItem
from recsys.policy.facts import CustomerFacts
from recsys.policy.rules import RequestContext
from serving.loading import Components, ServedModel
from serving.metrics import Metrics
from serving.schemas import (
    ItemOut,
    PlacementOut,
    ReasonOut,
    RecommendationRequest,
    RecommendationResponse,
    Versions,
)
from serving.store.database import StoreError
from serving.store.decisions import DecisionRecord, DecisionStore
from serving.store.facts import FactStore
from serving.tokens import Shown, TrackingSigner

LOGGER = logging.getLogger("recsys.serving")
Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """The present."""
    return datetime.now(UTC)


class RecommendationEngine:
    """Answers requests for recommendations."""

    def __init__(
        self, components: Components, signer: TrackingSigner, metrics: Metrics, clock: Clock = utc_now
    ) -> None:
        self.model: ServedModel = components.model
        self._features = components.features
        self._facts = FactStore(components.store)
        self._decisions = DecisionStore(components.store)
        self._signer = signer
        self._metrics = metrics
        self._clock = clock
        metrics.model.labels(self.model.version).set(1)

    def recommend(self, customer_id: str, body: RecommendationRequest, request_id: str) -> RecommendationResponse:
        """The answer for one customer, who has been authorised."""
        model, now = self.model, self._clock()
        with self._stage("facts"):
            facts = self._read_facts(model, customer_id)
        with self._stage("features"):
            features = self._read_features(customer_id) if facts is not None else None
        request = DecisionRequest(
            now=now,
            placements=tuple(Placement(place.name, place.kind, place.limit) for place in body.placements),
            context=RequestContext(channel=body.channel, locale=body.locale),
        )
        with self._stage("decide"):
            decision = model.pipeline.decide(features, facts, request)
        answer = self._answer(model, decision, customer_id, request_id, now)
        with self._stage("log"):
            self._record(answer, decision, customer_id, body)
        self._count(decision)
        return answer

    def versions(self) -> Versions:
        """What is served."""
        return _versions(self.model)

    def _read_facts(self, model: ServedModel, customer_id: str) -> CustomerFacts | None:
        """None where they cannot be read: the customer is then treated as the most restricted there is."""
        try:
            return self._facts.read(customer_id).as_facts(model.pipeline.catalogue.products)
        except StoreError as error:
            self._failed("sql", error)
            return None

    def _read_features(self, customer_id: str) -> Mapping[str, Any] | None:
        """None where the customer has none, or they cannot be read."""
        try:
            return self._features.read_customer(customer_id)
        except Exception as error:  # whatever an online store raises: the answer is what is popular
            self._failed("features", error)
            return None

    def _answer(
        self, model: ServedModel, decision: Decision, customer_id: str, request_id: str, now: datetime
    ) -> RecommendationResponse:
        decision_id = uuid4().hex
        return RecommendationResponse.model_construct(
            request_id=request_id,
            decision_id=decision_id,
            mode=decision.mode,
            missing_modalities=list(decision.missing),
            suitability=decision.suitability,
            locale_served=decision.language,
            versions=_versions(model),
            generated_at=now,
            placements=[self._placement(place, decision_id, customer_id) for place in decision.placements],
        )

    def _placement(self, place: PlacementDecision, decision_id: str, customer_id: str) -> PlacementOut:
        return PlacementOut.model_construct(
            name=place.name,
            items=[self._item(item, place.name, decision_id, customer_id) for item in place.items],
            removed_count=sum(place.removals.values()),
        )

    def _item(self, item: RankedItem, placement: str, decision_id: str, customer_id: str) -> ItemOut:
        shown = Shown(decision_id, item.product_id, item.content_id, placement, item.rank)
        return ItemOut.model_construct(
            rank=item.rank,
            product_id=item.product_id,
            content_id=item.content_id,
            title=item.title,
            score=item.score if math.isfinite(item.score) else None,
            reasons=[ReasonOut.model_construct(code=reason.code, text=reason.text) for reason in item.reasons],
            tracking_token=self._signer.sign(shown, customer_id),
        )

    def _record(
        self, answer: RecommendationResponse, decision: Decision, customer_id: str, body: RecommendationRequest
    ) -> None:
        """Writes the decision. That the log is down is counted and logged; the customer still gets his answer."""
        removals = {place.name: place.removals for place in decision.placements}
        record = DecisionRecord(
            decision_id=answer.decision_id,
            request_id=answer.request_id,
            customer_id=customer_id,
            created_at=answer.generated_at,
            mode=answer.mode,
            model_version=answer.versions.model,
            policy_version=answer.versions.policy,
            request=body.model_dump(mode="json", exclude={"customer_id"}),
            answer={**answer.model_dump(mode="json", exclude={"request_id", "decision_id"}), "removals": removals},
        )
        try:
            self._decisions.append(record)
        except StoreError as error:
            self._failed("decision_log", error)

    def _count(self, decision: Decision) -> None:
        self._metrics.modes.labels(decision.mode).inc()
        for place in decision.placements:
            if not place.items:
                self._metrics.empty.inc()
            for rule, count in place.removals.items():
                self._metrics.removals.labels(rule).inc(count)

    def _failed(self, dependency: str, error: Exception) -> None:
        """Names the kind of failure only: a message may hold an id."""
        self._metrics.failures.labels(dependency).inc()
        LOGGER.warning("%s failed: %s", dependency, type(error).__name__)

    @contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        started = perf_counter()
        yield
        self._metrics.stages.labels(name).observe(perf_counter() - started)


def _versions(model: ServedModel) -> Versions:
    return Versions.model_construct(model=model.version, policy=model.policy_version, features=model.schema_hash)
