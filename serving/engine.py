"""Answers a request: reads facts and features of one customer, decides, records the decision.

A dependency that fails never fails the request. Without features the answer is what is popular; without facts it is
what the most restricted customer may see. An answer that can be recorded nowhere is empty, and says so.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final
from uuid import uuid4

from recsys.decisions.answer import Boost, Decision, DecisionRequest, Placement, PlacementDecision, RankedItem
from recsys.decisions.catalogue import Catalogue
from recsys.decisions.evidence import VIEWS
from recsys.decisions.explanation import Reason
from recsys.decisions.stopwatch import UNTIMED, Stopwatch
from recsys.features.spec import feature_name
from recsys.policy.facts import CustomerFacts, as_instant
from recsys.policy.rules import RequestContext
from recsys.schema import EVENT_TIMESTAMP, Modality, ServingMode
from serving.decision_log import DecisionLog, DecisionLogError
from serving.last_look import without_violations
from serving.loading import FeatureReader, ServedModel
from serving.metrics import Metrics, StageTimes
from serving.ranking_rest import have_more
from serving.reading import NOTHING_READ, AnswerSources, ReadFeatures
from serving.recording import Inputs, LoggedVersions, log_entry
from serving.schemas import (
    UNRECORDED,
    EvidenceOut,
    ItemOut,
    PlacementOut,
    ReasonOut,
    RecommendationRequest,
    RecommendationResponse,
    Versions,
)
from serving.store.facts import InAppOffer
from serving.tokens import Cursor, Shown, Signers

ANALYSES: Final = MappingProxyType({"text_analysis": Modality.TEXT, "image_analysis": Modality.IMAGE})
"""The consents that guard a modality each."""
_TIMES: Final = tuple((str(view), feature_name(view, EVENT_TIMESTAMP)) for views in VIEWS.values() for view in views)
"""Views, and the keys under which a row says since when they hold."""
Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """The present."""
    return datetime.now(UTC)


class RecommendationEngine:
    """Answers requests for recommendations."""

    def __init__(
        self,
        sources: AnswerSources,
        log: DecisionLog,
        signers: Signers,
        metrics: Metrics,
        clock: Clock = utc_now,
    ) -> None:
        self._models, self._customers = sources
        self._log = log
        self._signers = signers
        self._metrics = metrics
        self._clock = clock
        self._versions = LoggedVersions(self.model)

    @property
    def model(self) -> ServedModel:
        """What is in force now; who needs it twice keeps what he got."""
        return self._models.current

    async def recommend(self, customer_id: str, body: RecommendationRequest, request_id: str) -> RecommendationResponse:
        """The answer for one customer, who has been authorised. It is durably logged when it is returned.

        One that can be recorded nowhere must not be given: then there is nothing in it.
        """
        times = StageTimes(self._metrics)
        model, facts, inputs = await self.gather(customer_id, body, request_id, Stopwatch(times.once))
        request = decision_request(inputs, model.pipeline.catalogue)
        decision = with_mode(model.pipeline.decide(inputs.features, facts, request, Stopwatch(times.add)), inputs)
        decision, violations = without_violations(decision, model.pipeline.catalogue)
        self._metrics.violations.inc(violations)
        answer = self.answer(model, decision, inputs)
        with Stopwatch(times.once)("log"):
            answer = await self.recorded(model, decision, answer, inputs)
        times.tell()
        return answer

    async def gather(
        self, customer_id: str, body: RecommendationRequest, request_id: str, watch: Stopwatch = UNTIMED
    ) -> tuple[ServedModel, CustomerFacts | None, Inputs]:
        """What a decision is made with: the model in force, and what can be read of the customer now."""
        model, now = self.model, self._clock()
        with watch("facts"):
            record, held_back = await self._customers.read_facts(customer_id, model.catalogue_revision, now)
            facts = None if record is None else record.as_facts(model.pipeline.catalogue.products)
            known = record is not None and record.facts is not None
        with watch("features"):
            if facts is None or not model.personal:
                read = NOTHING_READ
            else:
                read = await self._read_features(model, customer_id, facts, now)
            if read.cached and not known:  # he was erased: what is remembered of him is nobody's
                read = NOTHING_READ
        given = (customer_id, body, request_id, record, read.row, now, uuid4().hex, held_back, read.cached)
        return model, facts, Inputs(*given)

    async def recorded(
        self, model: ServedModel, decision: Decision, answer: RecommendationResponse, inputs: Inputs
    ) -> RecommendationResponse:
        """The answer once its decision is durable; one with nothing in it where that cannot be had."""
        entry = log_entry(decision, answer, inputs, self._versions_of(model))
        try:
            await self._log.append(entry)
        except DecisionLogError:
            decision, answer = emptied(decision), unrecorded(answer)
        self._count(decision)
        return answer

    def close(self) -> None:
        """Reads no more."""
        self._customers.close()

    @property
    def features(self) -> FeatureReader:
        """Where the features of customers are read."""
        return self._customers.features

    def versions(self) -> Versions:
        """What is served."""
        return _versions(self.model)

    def _versions_of(self, model: ServedModel) -> LoggedVersions:
        """Kept from request to request: a digest of a policy costs more than an answer."""
        if self._versions.model is not model:
            self._versions = LoggedVersions(model)
        return self._versions

    async def _read_features(
        self, model: ServedModel, customer_id: str, facts: CustomerFacts, now: datetime
    ) -> ReadFeatures:
        """No row where the customer has none, they may not be read, or cannot be."""
        policy = model.pipeline.policy
        if policy.profiling_refused(facts, now)[0] or policy.stale(facts, now)[0]:
            return NOTHING_READ
        read = await self._customers.read_features(customer_id, now)
        self._note_ages(read.row or {}, now)
        return read if read.row is None else read._replace(row=without_refused(read.row, facts, now))

    def _note_ages(self, row: Mapping[str, Any], now: datetime) -> None:
        for view, key in _TIMES:
            if (since := row.get(key)) is not None:
                self._metrics.feature_age.labels(view).observe(max(0.0, (now - since).total_seconds()))

    def answer(self, model: ServedModel, decision: Decision, inputs: Inputs) -> RecommendationResponse:
        """The decision as it goes over the wire."""
        customer_id, decision_id = inputs.customer_id, inputs.decision_id
        more = have_more(decision, inputs, model.pipeline.catalogue)
        return RecommendationResponse.model_construct(
            request_id=inputs.request_id,
            decision_id=decision_id,
            mode=decision.mode,
            missing_modalities=list(decision.missing),
            suitability=decision.suitability,
            locale_served=decision.language,
            versions=_versions(model),
            generated_at=inputs.now,
            placements=[
                self._placement(place, decision_id, customer_id, place.name in more) for place in decision.placements
            ],
        )

    def _placement(self, place: PlacementDecision, decision_id: str, customer_id: str, more: bool) -> PlacementOut:
        cursor = Cursor(decision_id, place.name, 0, len(place.items))
        return PlacementOut.model_construct(
            name=place.name,
            items=[self._item(item, place.name, decision_id, customer_id) for item in place.items],
            removed_count=sum(place.removals.values()),
            next_cursor=self._signers.cursors.sign(cursor, customer_id) if more else None,
        )

    def _item(self, item: RankedItem, placement: str, decision_id: str, customer_id: str) -> ItemOut:
        shown = Shown(decision_id, item.product_id, item.content_id, placement, item.rank, item.campaign_id)
        return ItemOut.model_construct(
            rank=item.rank,
            product_id=item.product_id,
            content_id=item.content_id,
            title=item.title,
            score=item.score if math.isfinite(item.score) else None,
            reasons=[reason_out(reason) for reason in item.reasons],
            tracking_token=self._signers.tracking.sign(shown, customer_id),
            campaign_id=item.campaign_id,
        )

    def _count(self, decision: Decision) -> None:
        self._metrics.modes.labels(decision.mode).inc()
        for place in decision.placements:
            if not place.items:
                self._metrics.empty.inc()
            for rule, count in place.removals.items():
                self._metrics.removals.labels(rule).inc(count)


def _versions(model: ServedModel) -> Versions:
    return Versions.model_construct(model=model.version, policy=model.policy_version, features=model.schema_hash)


def with_mode(decision: Decision, inputs: Inputs) -> Decision:
    """The decision, marked where it rests on what was read some time ago."""
    personal = decision.mode in (ServingMode.PERSONALISED, ServingMode.PARTIAL)
    return decision._replace(mode=ServingMode.CACHED) if inputs.cached and personal else decision


def emptied(decision: Decision) -> Decision:
    """The decision with nothing to show."""
    placements = [place._replace(items=[]) for place in decision.placements]
    return decision._replace(mode=ServingMode.SAFE, placements=placements)


def unrecorded(answer: RecommendationResponse) -> RecommendationResponse:
    """The answer where nothing may be shown because nothing can be recorded."""
    placements = [place.model_copy(update={"items": [], "next_cursor": None}) for place in answer.placements]
    return answer.model_copy(update={"mode": ServingMode.SAFE, "notice": UNRECORDED, "placements": placements})


def reason_out(reason: Reason) -> ReasonOut:
    """A reason as it goes over the wire."""
    evidence = None if reason.evidence is None else EvidenceOut.model_construct(**reason.evidence._asdict())
    return ReasonOut.model_construct(code=reason.code, text=reason.text, evidence=evidence)


def decision_request(inputs: Inputs, catalogue: Catalogue) -> DecisionRequest:
    """What the pipeline is asked; the same when a logged decision is made again."""
    body = inputs.request
    taken = {} if inputs.facts is None else inputs.facts.taken
    offers = () if inputs.facts is None else inputs.facts.offers
    return DecisionRequest(
        now=inputs.now,
        placements=tuple(Placement(place.name, place.kind, place.limit) for place in body.placements),
        context=RequestContext(channel=body.channel, locale=body.locale, taken=taken),
        candidates=catalogue.without(inputs.held_back) if inputs.held_back else {},
        boosts=boosts_of(offers, catalogue) if offers else (),
        seed=inputs.decision_id or None,
    )


def boosts_of(offers: Sequence[InAppOffer], catalogue: Catalogue) -> tuple[Boost, ...]:
    """What campaigns want shown to the customer, as long as it is what was approved."""
    found = []
    for offer in offers:
        place = catalogue.content_index(offer.content_id)
        if place is not None and catalogue.is_as_approved(offer.content_id, offer.version, offer.words):
            found.append(Boost(offer.campaign_id, place, offer.channel))
    return tuple(found)


def without_refused(features: Mapping[str, Any], facts: CustomerFacts, now: datetime) -> Mapping[str, Any]:
    """The row without what the customer does not let be analysed."""
    if facts.consents is None:
        return features
    refused = [
        feature_name(view, "")
        for purpose, modality in ANALYSES.items()
        if not facts.consents.agrees(purpose, as_instant(now))[0]
        for view in VIEWS[modality]
    ]
    if not refused:
        return features
    return {key: value for key, value in features.items() if not key.startswith(tuple(refused))}
