"""Campaigns in the app: what waits where the customer comes by himself, and what he has seen of it.

Such a message is never dispatched. It waits as `in_app`; the first impression that an app reports makes it `sent`, and
each takes one of its views. Whether it may be shown is asked of the campaign at every request, so that a pause or a
withdrawal counts from the next one.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Connection, case, func, select, update

from serving.store.campaign_states import LIVE, CampaignState, MessageState
from serving.store.tables import campaign_messages, campaign_variants, campaigns

_M, _C, _V = campaign_messages.c, campaigns.c, campaign_variants.c
_SHOWABLE: Final = (MessageState.IN_APP, MessageState.SENT)
NOT_SEEN: Final = "NOT_SEEN"
"""Why a message in the app ended unsent: the customer did not come while the campaign ran."""


def running_offers(now: ColumnElement[Any]) -> tuple[ColumnElement[bool], ...]:
    """Which rows of messages, joined with campaigns and variants, may be shown at an instant."""
    return (
        _M.state.in_(_SHOWABLE),
        _M.views_left > 0,
        _M.send_at <= now,
        _C.campaign_id == _M.campaign_id,
        _C.state.in_(LIVE),
        _C.ends_at > now,
        _V.campaign_id == _M.campaign_id,
        _V.content_id == _M.content_id,
        _V.words_hash.is_not(None),
    )


class View(NamedTuple):
    """An impression of what a campaign put there."""

    campaign_id: str
    customer_id: str
    product_id: str | None
    content_id: str | None
    seen_at: datetime
    received_at: datetime


def count_views(connection: Connection, views: Sequence[View]) -> None:
    """Takes a view of each message that was seen, in the transaction that stores the impressions."""
    for row in views:
        mine: list[ColumnElement[bool]] = [
            _M.campaign_id == row.campaign_id,
            _M.customer_id == row.customer_id,
            _M.product_id == row.product_id,
            _M.state.in_(_SHOWABLE),
            _M.views_left > 0,
        ]
        if row.content_id is not None:
            mine.append(_M.content_id == row.content_id)
        seen = {
            "state": MessageState.SENT,
            "settled_at": func.coalesce(_M.settled_at, case((_M.state == MessageState.IN_APP, row.seen_at))),
            "views_left": _M.views_left - 1,
        }
        if connection.execute(update(campaign_messages).where(*mine).values(seen)).rowcount:
            began = (_C.campaign_id == row.campaign_id, _C.state == CampaignState.SCHEDULED)
            values = {"state": CampaignState.SENDING, "changed_by": "app", "changed_at": row.received_at}
            connection.execute(update(campaigns).where(*began).values(values))


def waits_in_app(now: datetime) -> ColumnElement[bool]:
    """Of a campaign: whether something of it may still be shown."""
    mine = (_M.campaign_id == _C.campaign_id, _M.state.in_(_SHOWABLE), _M.views_left > 0)
    return select(_M.message_id).where(*mine).exists() & (_C.ends_at > now)


def end_unseen(connection: Connection, campaign_ids: Sequence[str], now: datetime) -> None:
    """What nobody came to see will not be shown any more."""
    mine = (_M.campaign_id.in_(campaign_ids), _M.state == MessageState.IN_APP)
    values = {"state": MessageState.DROPPED, "reason": NOT_SEEN, "settled_at": now}
    connection.execute(update(campaign_messages).where(*mine).values(values))
