"""When the bank reached out to a customer, and the caps on it, which hold across workers.

A contact is reserved before it is sent, then confirmed or released. A reservation is made under the customer's own
lock, so that two of them count each other.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import ColumnElement, delete, func, insert, select, update

from recsys.policy.pack import PolicyPack
from recsys.policy.rules import ContactCapRule
from serving.store.database import Store
from serving.store.tables import contacts

_C = contacts.c


class PlannedContact(NamedTuple):
    """A contact that is about to be made."""

    contact_id: str
    """The sender's own; asking twice with it reserves one."""
    customer_id: str
    channel: str
    category: str | None
    product_id: str | None
    at: datetime


class ContactCap(NamedTuple):
    """At most so many contacts in so long a time; None: whatever the channel, or the category."""

    limit: int
    window: timedelta
    channel: str | None = None
    category: str | None = None

    def is_about(self, contact: PlannedContact) -> bool:
        """Whether the contact would count against the cap."""
        return self.channel in (None, contact.channel) and self.category in (None, contact.category)


class ContactStore:
    """Reserves contacts within caps."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def reserve(self, contact: PlannedContact, caps: Sequence[ContactCap], lasts: timedelta) -> ContactCap | None:
        """Reserves a contact if every cap allows it.

        Args:
            contact: what is about to be sent.
            caps: see `caps_of`.
            lasts: after this time without a confirmation it does not count any more.

        Returns:
            The cap that forbids it; None: it is reserved.

        Raises:
            StoreError: nothing was reserved.
        """
        with self._store.writing() as connection:
            self._store.lock_customer(connection, contact.customer_id)
            if connection.scalar(select(_C.contact_id).where(_C.contact_id == contact.contact_id)):
                return None
            for cap in (cap for cap in caps if cap.is_about(contact)):
                count = select(func.count()).select_from(contacts).where(*_counted(contact, cap))
                if (connection.scalar(count) or 0) >= cap.limit:
                    return cap
            row = {
                "contact_id": contact.contact_id,
                "customer_id": contact.customer_id,
                "channel": contact.channel,
                "category": contact.category or "",
                "product_id": contact.product_id,
                "contacted_at": contact.at,
                "expires_at": contact.at + lasts,
            }
            connection.execute(insert(contacts), row)
        return None

    def confirm(self, contact_id: str, now: datetime) -> bool:
        """The contact is made. False where it is not reserved any more: then it must not be made."""
        in_time = _C.expires_at.is_(None) | (_C.expires_at > now)
        with self._store.writing() as connection:
            made = update(contacts).where(_C.contact_id == contact_id, in_time).values(expires_at=None)
            return bool(connection.execute(made).rowcount)

    def release(self, contact_id: str) -> bool:
        """The contact was not made and does not count. False where it is not reserved, or was made."""
        with self._store.writing() as connection:
            unmade = delete(contacts).where(_C.contact_id == contact_id, _C.expires_at.is_not(None))
            return bool(connection.execute(unmade).rowcount)


def caps_of(pack: PolicyPack, channel: str, category: str | None) -> list[ContactCap]:
    """The caps that a pack puts on a contact through a channel about a category."""
    rule = pack.rule("CONTACT_CAP")
    name = pack.channel(channel)
    if not isinstance(rule, ContactCapRule) or name not in pack.pushed_channels:
        return []
    window = timedelta(days=rule.window_days)
    of_category = rule.per_category.get(category, rule.default_category) if category else None
    found = ((rule.total, None, None), (rule.per_channel.get(name), name, None), (of_category, None, category))
    return [ContactCap(limit, window, one, other) for limit, one, other in found if limit is not None]


def _counted(contact: PlannedContact, cap: ContactCap) -> list[ColumnElement[bool]]:
    """The contacts of this customer that count against a cap."""
    terms = [
        _C.customer_id == contact.customer_id,
        _C.contacted_at > contact.at - cap.window,
        _C.expires_at.is_(None) | (_C.expires_at > contact.at),
    ]
    if cap.channel is not None:
        terms.append(_C.channel == cap.channel)
    if cap.category is not None:
        terms.append(_C.category == cap.category)
    return terms
