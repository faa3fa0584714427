"""What an event must be to be taken, and the record that it becomes."""

from datetime import datetime, timedelta
from typing import NamedTuple

from recsys.decisions.catalogue import Catalogue
from recsys.schema import EventType, Kind
from serving.erased import ErasedCustomers
from serving.loading import ServedModel
from serving.schemas import EventIn
from serving.store.events import EventRecord
from serving.store.quarantine import Quarantine
from serving.streaming import not_later
from serving.tokens import Shown, TrackingSigner

_KNOWN_TYPES = frozenset(str(name) for name in EventType)


class RejectedEventError(Exception):
    """An event that cannot be taken; the message is the reason that the app gets."""


class EventLimits(NamedTuple):
    """When an event may have happened."""

    max_future: timedelta
    """How far an app's clock may be ahead."""
    max_late: timedelta
    """How long ago it may have been."""


class EventChecker:
    """Checks events one by one; `quarantine` is for those whose decision nobody knows."""

    def __init__(
        self, signer: TrackingSigner, erased: ErasedCustomers, limits: EventLimits, quarantine: Quarantine
    ) -> None:
        self.quarantine = quarantine
        self._signer = signer
        self._erased = erased
        self._limits = limits

    def check(self, event: EventIn, model: ServedModel, now: datetime) -> EventRecord:
        """The record of an event.

        Raises:
            RejectedEventError: it cannot be taken.
            HomeError: nobody knows who was erased.
        """
        if event.customer_id in self._erased:
            raise RejectedEventError("the customer was erased")
        if event.event_type not in _KNOWN_TYPES and event.event_type not in model.event_weights:
            raise RejectedEventError("unknown event_type")
        if event.event_timestamp > now + self._limits.max_future:
            raise RejectedEventError("event_timestamp is in the future")
        if event.event_timestamp < now - self._limits.max_late:
            hours = self._limits.max_late // timedelta(hours=1)
            raise RejectedEventError(f"event_timestamp is more than {hours} hours ago")
        shown = self._shown(event)
        product_id, content_id = _item(event, shown, model.pipeline.catalogue)
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
            campaign_id=shown.campaign_id if shown else None,
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


def _item(event: EventIn, shown: Shown | None, catalogue: Catalogue) -> tuple[str | None, str | None]:
    """The product and the content that an event is about; a content brings its product with it."""
    product_id = event.product_id or (shown.product_id if shown else None)
    content_id = event.content_id or (shown.content_id if shown else None)
    if product_id is None and content_id is None and event.event_type != EventType.OPT_OUT:
        raise RejectedEventError("product_id or content_id is required")
    if content_id is not None:
        content = catalogue.content_index(content_id)
        if content is None:
            raise RejectedEventError("unknown content_id")
        own = catalogue.products.ids[int(catalogue.product_of(Kind.CONTENTS)[content])]
        if product_id is not None and product_id != own:
            raise RejectedEventError("content_id is of another product")
        product_id = own
    if product_id is not None and product_id not in catalogue.products.index:
        raise RejectedEventError("unknown product_id")
    return product_id, content_id
