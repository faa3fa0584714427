"""Tells the online features what a customer just did, so that the next answer knows."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from recsys.features.spec import ViewName
from recsys.features.updates import (
    EventUpdate,
    apply_event_to_behaviour,
    apply_event_to_history,
    empty_behaviour,
    empty_history,
)
from serving.loading import FeatureReader
from serving.store.events import EventRecord

_WINDOW = re.compile(r"^n_.*_(\d+)d$")


class OnlineUpdater:
    """Applies events to a customer's history and behaviour in the online store."""

    def __init__(self, features: FeatureReader) -> None:
        self._features = features
        manifest = features.manifest
        self._length = manifest.history_length
        self._has_history = manifest.has_view(ViewName.CUSTOMER_HISTORY)
        self._behaviour = (
            manifest.view(ViewName.CUSTOMER_BEHAVIOUR) if manifest.has_view(ViewName.CUSTOMER_BEHAVIOUR) else None
        )
        columns = self._behaviour.columns if self._behaviour is not None else ()
        matches = (_WINDOW.match(column.name) for column in columns)
        self._windows = tuple(sorted({int(match.group(1)) for match in matches if match}))

    def apply(self, customer_id: str, events: Sequence[EventRecord], weights: Mapping[str, float]) -> None:
        """Applies a customer's events in time order: one read and one write per view.

        Args:
            customer_id: whose.
            events: of his.
            weights: by event type, of the model that is served; those above zero say that he liked what he saw.
        """
        updates = [_update(event, weights) for event in events]
        if self._has_history:
            self._features.update_customer_view(
                ViewName.CUSTOMER_HISTORY, customer_id, lambda row: self._history(row, customer_id, updates)
            )
        if self._behaviour is not None:
            self._features.update_customer_view(
                ViewName.CUSTOMER_BEHAVIOUR, customer_id, lambda row: self._counts(row, customer_id, updates)
            )

    def _history(
        self, row: dict[str, Any] | None, customer_id: str, updates: Sequence[EventUpdate]
    ) -> dict[str, Any] | None:
        """The new row; None where nothing changes."""
        new = row or empty_history(customer_id)
        for update in updates:
            new = apply_event_to_history(new, update, self._length)
        return None if row is None and not new["event_ids"] else new

    def _counts(self, row: dict[str, Any] | None, customer_id: str, updates: Sequence[EventUpdate]) -> dict[str, Any]:
        assert self._behaviour is not None  # noqa: S101 - apply() asked
        new = row or empty_behaviour(customer_id, self._behaviour)
        for update in updates:
            new = apply_event_to_behaviour(new, update, self._windows)
        return new


def _update(event: EventRecord, weights: Mapping[str, float]) -> EventUpdate:
    return EventUpdate(
        event_id=event.event_id,
        event_timestamp=event.event_timestamp.astimezone(UTC),
        event_type=event.event_type,
        product_id=event.product_id,
        content_id=event.content_id,
        positive=weights.get(event.event_type, 0.0) > 0,
    )


def not_later(time: datetime, now: datetime) -> datetime:
    """A time of an app whose clock is ahead, brought back to the present."""
    return min(time.astimezone(UTC), now)
