"""Takes events in: checks each, stores them once, and tells the online features."""

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta

from recsys.schema import ALREADY_HAS_EVENTS, EventType, Kind
from serving.engine import Clock, utc_now
from serving.loading import Components
from serving.metrics import Metrics
from serving.schemas import EventIn, EventResponse, EventResult
from serving.store.events import Consequences, EventRecord, EventStore, Fact
from serving.store.facts import FactStore
from serving.streaming import OnlineUpdater, not_later
from serving.tokens import Shown, TrackingSigner

LOGGER = logging.getLogger("recsys.serving")


class RejectedEventError(Exception):
    """An event that cannot be taken; the message is the reason that the app gets."""


class EventIngestor:
    """Takes events in."""

    def __init__(
        self,
        components: Components,
        signer: TrackingSigner,
        metrics: Metrics,
        max_future: timedelta,
        clock: Clock = utc_now,
    ) -> None:
        self._model = components.model
        self._catalogue = components.model.pipeline.catalogue
        self._store = EventStore(components.store)
        self._facts = FactStore(components.store)
        self._updater = OnlineUpdater(components.features, components.model.event_weights)
        self._signer = signer
        self._metrics = metrics
        self._max_future = max_future
        self._clock = clock
        self._types = {str(name) for name in EventType} | set(components.model.event_weights)

    def ingest(self, batch: Sequence[EventIn]) -> EventResponse:
        """Stores what is new, durably, then tells the online features.

        Raises:
            StoreError: nothing was stored; the app sends the batch again.
        """
        now = self._clock()
        rows: dict[str, EventRecord] = {}
        results: list[EventResult | None] = []
        for event in batch:
            try:
                record = self._check(event, now)
            except RejectedEventError as error:
                results.append(EventResult(event_id=event.event_id, status="rejected", reason=str(error)))
                continue
            results.append(None if record.event_id not in rows else _duplicate(event))
            rows.setdefault(record.event_id, record)
        new = self._store.add(list(rows.values()), self._consequences)
        outcome = [result or _outcome(event, new) for result, event in zip(results, batch, strict=True)]
        for customer_id in dict.fromkeys(rows[event_id].customer_id for event_id in rows if event_id in new):
            self.apply_pending(customer_id)
        return self._respond(outcome)

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
        now = self._clock()
        facts = self._facts.read(customer_id, now).as_facts(self._catalogue.products)
        if not self._model.pipeline.policy.profiling_refused(facts, now)[0]:
            self._updater.apply(customer_id, events)

    def _check(self, event: EventIn, now: datetime) -> EventRecord:
        if event.event_type not in self._types:
            raise RejectedEventError("unknown event_type")
        if event.event_timestamp > now + self._max_future:
            raise RejectedEventError("event_timestamp is in the future")
        shown = self._shown(event)
        product_id, content_id = self._item(event, shown)
        return EventRecord(
            event_id=event.event_id,
            customer_id=event.customer_id,
            event_type=event.event_type,
            event_timestamp=not_later(event.event_timestamp, now),
            product_id=product_id,
            content_id=content_id,
            channel=event.channel,
            placement=event.placement or (shown.placement if shown else None),
            value=event.value,
            decision_id=shown.decision_id if shown else None,
            position=shown.position if shown else None,
            received_at=now,
        )

    def _shown(self, event: EventIn) -> Shown | None:
        if event.tracking_token is None:
            return None
        shown = self._signer.read(event.tracking_token, event.customer_id)
        if shown is None:
            raise RejectedEventError("tracking_token was not issued to this customer")
        other_product = event.product_id is not None and event.product_id != shown.product_id
        other_content = event.content_id is not None and event.content_id != shown.content_id
        if other_product or other_content:
            raise RejectedEventError("tracking_token is of another item")
        return shown

    def _item(self, event: EventIn, shown: Shown | None) -> tuple[str | None, str | None]:
        """The product and the content that an event is about; a content brings its product with it."""
        product_id = event.product_id or (shown.product_id if shown else None)
        content_id = event.content_id or (shown.content_id if shown else None)
        if product_id is None and content_id is None and event.event_type != EventType.OPT_OUT:
            raise RejectedEventError("product_id or content_id is required")
        if content_id is not None:
            content = self._catalogue.content_index(content_id)
            if content is None:
                raise RejectedEventError("unknown content_id")
            own = self._catalogue.products.ids[int(self._catalogue.product_of(Kind.CONTENTS)[content])]
            if product_id is not None and product_id != own:
                raise RejectedEventError("content_id is of another product")
            product_id = own
        if product_id is not None and product_id not in self._catalogue.products.index:
            raise RejectedEventError("unknown product_id")
        return product_id, content_id

    def _consequences(self, events: Sequence[EventRecord]) -> Consequences:
        """What events mean for the rules: what the customer now has, and what he turned down."""
        weights = self._model.event_weights
        by_positives = self._model.pipeline.policy.pack.held_by == "positives"
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

    def _respond(self, results: list[EventResult]) -> EventResponse:
        counts = {"accepted": 0, "duplicate": 0, "rejected": 0}
        for result in results:
            counts[result.status] += 1
        for status, count in counts.items():
            self._metrics.events.labels(status).inc(count)
        return EventResponse(**counts, results=results)


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
