"""Takes events in: checks each, stores them once, and tells the online features."""

import logging
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from itertools import groupby

from recsys.schema import ALREADY_HAS_EVENTS, EventType
from serving.engine import Clock, utc_now
from serving.event_checks import EventChecker, RejectedEventError
from serving.loading import Components, ServedModel
from serving.metrics import Metrics
from serving.models import ModelHolder
from serving.schemas import EventIn, EventResponse, EventResult
from serving.store.events import Consequences, EventRecord, EventStore, Fact
from serving.store.facts import FactStore
from serving.store.quarantine import Quarantined
from serving.streaming import OnlineUpdater

LOGGER = logging.getLogger("recsys.serving")


class EventIngestor:
    """Takes events in."""

    def __init__(
        self,
        components: Components,
        models: ModelHolder,
        checker: EventChecker,
        metrics: Metrics,
        clock: Clock = utc_now,
    ) -> None:
        self._models = models
        self._quarantine = checker.quarantine
        self._checker = checker
        self._store = EventStore(components.store)
        self._facts = FactStore(components.store)
        self._updater = OnlineUpdater(components.features)
        self._metrics = metrics
        self._clock = clock

    def ingest(self, batch: Sequence[EventIn]) -> EventResponse:
        """Stores what is new, durably, then tells the online features.

        Raises:
            StoreError: nothing was stored; the app sends the batch again.
        """
        return self._respond(self._take(batch, self._clock()))

    def release_quarantined(self) -> int:
        """Takes in the events whose decision has turned up; returns how many came out of quarantine.

        They are judged as of when they came: what was in time then is not late now.
        """
        found = self._quarantine.releasable()
        for received_at, rows in groupby(sorted(found, key=lambda row: row.received_at), lambda row: row.received_at):
            results = self._take([EventIn.model_validate_json(row.event) for row in rows], received_at)
            self._quarantine.remove([one.event_id for one in results if one.status != "quarantined"])
        return len(found)

    def _take(self, batch: Sequence[EventIn], now: datetime) -> list[EventResult]:
        """What became of each event that came at an instant."""
        model = self._models.current
        rows: dict[str, EventRecord] = {}
        results: list[EventResult | None] = []
        for event in batch:
            try:
                record = self._checker.check(event, model, now)
            except RejectedEventError as error:
                results.append(EventResult(event_id=event.event_id, status="rejected", reason=str(error)))
                continue
            results.append(None if record.event_id not in rows else _duplicate(event))
            rows.setdefault(record.event_id, record)
        apart = self._keep_apart(batch, rows)
        new = self._store.add(list(rows.values()), partial(consequences_of, model=model))
        for customer_id in dict.fromkeys(rows[event_id].customer_id for event_id in rows if event_id in new):
            self.apply_pending(customer_id)
        return [
            result or apart.get(event.event_id) or _outcome(event, new)
            for result, event in zip(results, batch, strict=True)
        ]

    def _keep_apart(self, batch: Sequence[EventIn], rows: dict[str, EventRecord]) -> dict[str, EventResult]:
        """Moves the events of unknown decisions from `rows` into quarantine; returns what is said of them."""
        unknown = self._quarantine.unknown({row.decision_id for row in rows.values() if row.decision_id is not None})
        if not unknown:
            return {}
        sent = {event.event_id: event for event in reversed(batch)}  # of equal ids the first counts
        kept = [row for row in rows.values() if row.decision_id in unknown]
        self._quarantine.put(
            [
                Quarantined(
                    row.event_id,
                    row.customer_id,
                    str(row.decision_id),
                    row.received_at,
                    sent[row.event_id].model_dump_json(),
                )
                for row in kept
            ]
        )
        for row in kept:
            del rows[row.event_id]
        reason = "the decision of its tracking_token is not known (yet)"
        return {row.event_id: EventResult(event_id=row.event_id, status="quarantined", reason=reason) for row in kept}

    def apply_all_pending(self) -> None:
        """Applies what an earlier process stored and did not live to apply."""
        for customer_id in self._store.pending_customers():
            self.apply_pending(customer_id)

    def apply_pending(self, customer_id: str) -> None:
        """Tells the online features what they do not know yet of a customer. Where that fails, it stays pending.

        The rules know already: holdings and dismissals were stored with the events.
        """
        try:
            self._store.apply_pending(customer_id, lambda events: self._apply(customer_id, events))
        except Exception as error:  # the events are safe: acknowledged, and applied with the next one or at a start
            self._metrics.failures.labels("feature_update").inc()
            LOGGER.warning("feature update failed: %s", type(error).__name__)

    def _apply(self, customer_id: str, events: Sequence[EventRecord]) -> None:
        """What a customer who refuses profiling does is stored for the rules, and becomes no feature of his."""
        model, now = self._models.current, self._clock()
        facts = self._facts.read(customer_id, now).as_facts(model.pipeline.catalogue.products)
        if not model.pipeline.policy.profiling_refused(facts, now)[0]:
            self._updater.apply(customer_id, events, model.event_weights)

    def _respond(self, results: list[EventResult]) -> EventResponse:
        counts = {"accepted": 0, "duplicate": 0, "rejected": 0, "quarantined": 0}
        for result in results:
            counts[result.status] += 1
        for status, count in counts.items():
            self._metrics.events.labels(status).inc(count)
        return EventResponse(**counts, results=results)


def consequences_of(events: Sequence[EventRecord], model: ServedModel) -> Consequences:
    """What events mean for the rules: what the customer now has, and what he turned down."""
    weights = model.event_weights
    by_positives = model.pipeline.policy.pack.held_by == "positives"
    having = {name for name in weights if weights[name] > 0} if by_positives else {*map(str, ALREADY_HAS_EVENTS)}
    about = [event for event in events if event.product_id is not None]
    held = [_fact(event) for event in about if event.event_type in having]
    sold = [_fact(event) for event in about if event.event_type in ALREADY_HAS_EVENTS]
    return Consequences(
        holdings=list(dict.fromkeys(held)),
        dismissals=_last_of(about, EventType.DISMISS),
        applications=_last_of(about, EventType.APPLY),
        sales=sold,
    )


def _fact(event: EventRecord) -> Fact:
    return event.customer_id, event.product_id or "", event.event_timestamp


def _last_of(events: Sequence[EventRecord], event_type: EventType) -> list[Fact]:
    """The last event of a type of each customer and product."""
    last: dict[tuple[str, str], Fact] = {}
    for event in sorted(events, key=lambda one: one.event_timestamp):
        if event.event_type == event_type:
            fact = _fact(event)
            last[fact[:2]] = fact
    return list(last.values())


def _duplicate(event: EventIn) -> EventResult:
    return EventResult(event_id=event.event_id, status="duplicate")


def _outcome(event: EventIn, new: set[str]) -> EventResult:
    return EventResult(event_id=event.event_id, status="accepted") if event.event_id in new else _duplicate(event)
