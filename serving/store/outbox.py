"""The outbox: messages that are due, each taken by one dispatcher at a time, none lost and none sent twice."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import ColumnElement, or_, select, update

from serving.store.campaign_states import LIVE, CampaignState, MessageState
from serving.store.database import Store
from serving.store.tables import campaign_messages, campaigns

_M, _C = campaign_messages.c, campaigns.c


class OutboxMessage(NamedTuple):
    """A message that is due; its names are columns of the table."""

    message_id: str
    campaign_id: str
    customer_id: str
    product_id: str
    content_id: str
    channel: str
    attempts: int


_COLUMNS = [_M[name] for name in OutboxMessage._fields]


class Outbox:
    """One dispatcher's view of the outbox.

    Args:
        store: where it is kept.
        worker: the dispatcher's own name.
        lease: after this long without a word another dispatcher may take a message over.
    """

    def __init__(self, store: Store, worker: str, lease: timedelta) -> None:
        self._store = store
        self._worker = worker
        self._lease = lease

    def recover(self, settled_channels: Sequence[str], now: datetime) -> int:
        """Takes up what a dead dispatcher left while a channel had it.

        Args:
            settled_channels: channels that send a message once however often they are given it; of the others nobody
                knows whether it left, and it is marked so.
            now: the present.

        Returns:
            How many messages are uncertain.
        """
        dead = (_M.state == MessageState.SENDING, _M.lease_until < now)
        again = update(campaign_messages).where(*dead, _M.channel.in_(settled_channels))
        lost = update(campaign_messages).where(*dead, _M.channel.not_in(settled_channels))
        with self._store.writing() as connection:
            connection.execute(again.values(state=MessageState.PENDING))
            uncertain = lost.values(state=MessageState.UNCERTAIN, reason="DISPATCHER_DIED", settled_at=now)
            return int(connection.execute(uncertain).rowcount)

    def claim(self, most: int, now: datetime) -> list[OutboxMessage]:
        """Due messages of live campaigns, which are this dispatcher's until the lease ends."""
        free = or_(_M.state == MessageState.PENDING, (_M.state == MessageState.CLAIMED) & (_M.lease_until < now))
        live = select(_C.campaign_id).where(_C.state.in_(LIVE))
        due = (
            select(*_COLUMNS)
            .where(free, _M.send_at <= now, _M.campaign_id.in_(live))
            .order_by(_M.send_at, _M.message_id)
            .limit(most)
            .with_for_update(skip_locked=True)
        )
        with self._store.writing() as connection:
            found = [OutboxMessage(*row) for row in connection.execute(due)]
            if not found:
                return []
            mine = _M.message_id.in_([message.message_id for message in found])
            claimed = {"state": MessageState.CLAIMED, "claimed_by": self._worker, "lease_until": now + self._lease}
            connection.execute(update(campaign_messages).where(mine).values(claimed))
            started = _C.campaign_id.in_({message.campaign_id for message in found})
            connection.execute(
                update(campaigns)
                .where(started, _C.state == CampaignState.SCHEDULED)
                .values(state=CampaignState.SENDING, changed_by=self._worker, changed_at=now)
            )
        return found

    def begin(self, message: OutboxMessage, now: datetime) -> bool:
        """Whether the message may be given to its channel now: it is still ours, and its campaign still runs."""
        live = select(_C.campaign_id).where(_C.state.in_(LIVE))
        begun = (
            update(campaign_messages)
            .where(*self._ours(message, MessageState.CLAIMED), _M.campaign_id.in_(live))
            .values(state=MessageState.SENDING, lease_until=now + self._lease, attempts=_M.attempts + 1)
        )
        with self._store.writing() as connection:
            return bool(connection.execute(begun).rowcount)

    def settle(self, message: OutboxMessage, state: MessageState, reason: str | None, now: datetime) -> bool:
        """The message's end: sent, dropped or failed."""
        ours = (_M.message_id == message.message_id, _M.claimed_by == self._worker)
        with self._store.writing() as connection:
            values = {"state": state, "reason": reason, "settled_at": now, "lease_until": None}
            held = _M.state.in_((MessageState.CLAIMED, MessageState.SENDING))
            return bool(connection.execute(update(campaign_messages).where(*ours, held).values(values)).rowcount)

    def put_off(self, message: OutboxMessage, until: datetime, reason: str) -> bool:
        """The message waits."""
        ours = (_M.message_id == message.message_id, _M.claimed_by == self._worker)
        held = _M.state.in_((MessageState.CLAIMED, MessageState.SENDING))
        values = {"state": MessageState.PENDING, "reason": reason, "send_at": until, "claimed_by": None}
        with self._store.writing() as connection:
            return bool(connection.execute(update(campaign_messages).where(*ours, held).values(values)).rowcount)

    def _ours(self, message: OutboxMessage, state: MessageState) -> tuple[ColumnElement[bool], ...]:
        return (_M.message_id == message.message_id, _M.state == state, _M.claimed_by == self._worker)
