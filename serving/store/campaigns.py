"""Campaigns from submission to completion: who may move one on, and to where.

submitted → approved → scheduled → sending → completed; paused and sending again; withdrawn from anywhere before that;
rejected instead of approved, and submitted again.
What comes before, draft, generated and validated, is a plan's directory: it is checked when it is submitted. An
approval is of a digest: who gets what in which words about which version of the product. Every move is one statement
that names the states it may leave, so that of two at once one wins and the other is told who was first.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import orjson
from sqlalchemy import Connection, func, insert, select, update

from recsys.errors import RecsysError
from serving.store.campaign_states import LIVE, OPEN, CampaignState, MessageState
from serving.store.database import Store
from serving.store.in_app import end_unseen, waits_in_app
from serving.store.tables import campaign_messages, campaign_variants, campaigns

_C, _M, _V = campaigns.c, campaign_messages.c, campaign_variants.c


class CampaignError(RecsysError):
    """A campaign may not go where it was asked to."""


_AGAIN: Final = (CampaignState.WITHDRAWN, CampaignState.REJECTED)
_WITHDRAWABLE: Final = tuple(set(CampaignState) - {CampaignState.COMPLETED, CampaignState.WITHDRAWN})


class Submission(NamedTuple):
    """A plan as it is handed in."""

    campaign_id: str
    author: str
    digest: str
    ends_at: datetime
    plan: dict[str, Any]
    variants: Sequence[dict[str, Any]]
    """Of the plan, with content_id, product_id, content_hash and product_version."""


class Campaign(NamedTuple):
    """A campaign as it stands."""

    campaign_id: str
    state: str
    author: str
    submitted_at: datetime
    digest: str
    ends_at: datetime
    plan: dict[str, Any]
    approver: str | None
    approved_at: datetime | None
    changed_by: str
    changed_at: datetime
    note: str | None
    """Why it was rejected."""


class PlannedMessage(NamedTuple):
    """A message that a plan wants sent, or shown in the app; its names are columns of the table."""

    message_id: str
    customer_id: str
    product_id: str
    content_id: str
    channel: str
    send_at: datetime
    views_left: int | None = None
    """In the app: how often it may be shown; None: it is sent."""


class CampaignStore:
    """Keeps campaigns and moves them on."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def submit(self, submission: Submission, now: datetime) -> Campaign:
        """Hands a plan in; again only after it was withdrawn or rejected.

        Raises:
            CampaignError: it stands somewhere already.
        """
        row = {
            "campaign_id": submission.campaign_id,
            "state": CampaignState.SUBMITTED,
            "author": submission.author,
            "submitted_at": now,
            "digest": submission.digest,
            "ends_at": submission.ends_at,
            "plan": orjson.dumps(submission.plan).decode(),
            "approver": None,
            "approved_at": None,
            "changed_by": submission.author,
            "changed_at": now,
            "note": None,
        }
        with self._store.writing() as connection:
            present = _row(connection, submission.campaign_id)
            if present is not None:
                if present.state not in _AGAIN or _has_messages(connection, submission.campaign_id):
                    raise CampaignError(
                        f"campaign {submission.campaign_id} is {present.state} since {present.changed_at:%Y-%m-%d}, "
                        f"by {present.changed_by}: withdraw it, or give the new one another campaign_id"
                    )
                connection.execute(update(campaigns).where(_C.campaign_id == submission.campaign_id).values(row))
                connection.execute(campaign_variants.delete().where(_V.campaign_id == submission.campaign_id))
            else:
                connection.execute(insert(campaigns), row)
            if submission.variants:
                connection.execute(
                    insert(campaign_variants), [_variant(submission, one) for one in submission.variants]
                )
        return self.get(submission.campaign_id)

    def approve(self, campaign_id: str, approver: str, digest: str, now: datetime) -> Campaign:
        """Approves exactly what was submitted.

        Raises:
            CampaignError: the approver is the author, what he looked at is something else, or somebody was first.
        """
        campaign = self.get(campaign_id)
        _require_another(campaign, approver)
        if digest != campaign.digest:
            raise CampaignError(
                f"what you looked at is not what was submitted as {campaign_id} ({digest[:12]} and "
                f"{campaign.digest[:12]}): submit it again"
            )
        values = {"approver": approver, "approved_at": now}
        return self._move(campaign_id, CampaignState.APPROVED, (CampaignState.SUBMITTED,), approver, now, values)

    def reject(self, campaign_id: str, approver: str, reason: str, now: datetime) -> Campaign:
        """Sends a submitted campaign back to its author.

        Raises:
            CampaignError: the approver is the author, there is no reason, or it is not submitted (any more).
        """
        _require_another(self.get(campaign_id), approver)
        if not reason.strip():
            raise CampaignError(f"say why {campaign_id} is rejected: its author must know what to change")
        values = {"note": reason.strip()}
        return self._move(campaign_id, CampaignState.REJECTED, (CampaignState.SUBMITTED,), approver, now, values)

    def launch(
        self, campaign_id: str, digest: str, messages: Sequence[PlannedMessage], by: str, now: datetime
    ) -> Campaign:
        """Schedules the messages of an approved campaign.

        Raises:
            CampaignError: it is not approved, or was approved in other words: then nothing is scheduled.
        """
        with self._store.writing() as connection:
            campaign = _require(connection, campaign_id)
            if campaign.state == CampaignState.APPROVED and digest != campaign.digest:
                raise CampaignError(
                    f"campaign {campaign_id} changed after {campaign.approver} approved it "
                    f"({campaign.digest[:12]} then, {digest[:12]} now): submit it again and have it approved"
                )
            self._change(connection, campaign_id, CampaignState.SCHEDULED, (CampaignState.APPROVED,), by, now)
            rows = [
                {**message._asdict(), "campaign_id": campaign_id, "state": _first_state(message), "attempts": 0}
                for message in messages
            ]
            if rows:
                connection.execute(insert(campaign_messages), rows)
        return self.get(campaign_id)

    def pause(self, campaign_id: str, by: str, now: datetime) -> Campaign:
        """Stops what is unsent, at once; messages that a channel has already are finished."""
        return self._move(campaign_id, CampaignState.PAUSED, LIVE, by, now)

    def resume(self, campaign_id: str, by: str, now: datetime) -> Campaign:
        """Goes on after a pause."""
        return self._move(campaign_id, CampaignState.SENDING, (CampaignState.PAUSED,), by, now)

    def withdraw(self, campaign_id: str, by: str, now: datetime) -> Campaign:
        """Ends a campaign; what is unsent never is."""
        campaign = self._move(campaign_id, CampaignState.WITHDRAWN, _WITHDRAWABLE, by, now)
        unsent = (MessageState.PENDING, MessageState.CLAIMED, MessageState.IN_APP)
        mine = (_M.campaign_id == campaign_id, _M.state.in_(unsent))
        with self._store.writing() as connection:
            connection.execute(
                update(campaign_messages).where(*mine).values(state=MessageState.CANCELLED, settled_at=now)
            )
        return campaign

    def complete_finished(self, now: datetime) -> list[str]:
        """Completes campaigns of which no message is open or may still be seen; returns them."""
        is_open = select(_M.message_id).where(_M.campaign_id == _C.campaign_id, _M.state.in_(OPEN)).exists()
        with self._store.writing() as connection:
            done = connection.scalars(
                select(_C.campaign_id).where(_C.state.in_(LIVE), ~is_open, ~waits_in_app(now))
            ).all()
            end_unseen(connection, done, now)
            for campaign_id in done:
                self._change(connection, campaign_id, CampaignState.COMPLETED, LIVE, "dispatcher", now)
        return list(done)

    def get(self, campaign_id: str) -> Campaign:
        """One campaign.

        Raises:
            CampaignError: there is none.
        """
        with self._store.reading() as connection:
            return _require(connection, campaign_id)

    def all(self) -> list[Campaign]:
        """All campaigns, the latest first."""
        with self._store.reading() as connection:
            rows = connection.execute(select(campaigns).order_by(_C.submitted_at.desc(), _C.campaign_id)).all()
        return [_campaign(row) for row in rows]

    def variants(self, campaign_id: str) -> dict[str, dict[str, Any]]:
        """Content id to variant."""
        with self._store.reading() as connection:
            rows = connection.execute(select(_V.content_id, _V.copy).where(_V.campaign_id == campaign_id)).all()
        return {content_id: orjson.loads(copy) for content_id, copy in rows}

    def progress(self, campaign_id: str) -> dict[str, Counter[str]]:
        """State of messages to reason to how many."""
        counts = (
            select(_M.state, _M.reason, func.count()).where(_M.campaign_id == campaign_id).group_by(_M.state, _M.reason)
        )
        found: dict[str, Counter[str]] = {}
        with self._store.reading() as connection:
            for state, reason, count in connection.execute(counts):
                found.setdefault(state, Counter())[reason or ""] += count
        return found

    def _move(
        self,
        campaign_id: str,
        to: CampaignState,
        leaves: Sequence[CampaignState],
        by: str,
        now: datetime,
        values: dict[str, Any] | None = None,
    ) -> Campaign:
        with self._store.writing() as connection:
            self._change(connection, campaign_id, to, leaves, by, now, values)
        return self.get(campaign_id)

    @staticmethod
    def _change(
        connection: Connection,
        campaign_id: str,
        to: CampaignState,
        leaves: Sequence[CampaignState],
        by: str,
        now: datetime,
        values: dict[str, Any] | None = None,
    ) -> None:
        moved = (
            update(campaigns)
            .where(_C.campaign_id == campaign_id, _C.state.in_(leaves))
            .values(state=to, changed_by=by, changed_at=now, **(values or {}))
        )
        if not connection.execute(moved).rowcount:
            present = _require(connection, campaign_id)
            raise CampaignError(
                f"campaign {campaign_id} is {present.state} since {present.changed_at:%Y-%m-%d %H:%M:%S} by "
                f"{present.changed_by}: only one that is {' or '.join(sorted(leaves))} can become {to}"
            )


def _require_another(campaign: Campaign, approver: str) -> None:
    """Four eyes."""
    if not approver.strip() or approver.strip().casefold() == campaign.author.strip().casefold():
        who = approver.strip() or "nobody"
        raise CampaignError(f"{who} wrote campaign {campaign.campaign_id}: somebody else must approve it")


def _variant(submission: Submission, variant: dict[str, Any]) -> dict[str, Any]:
    names = ("content_id", "product_id", "content_hash", "product_version")
    pinned = {name: variant[name] for name in names} | {"words_hash": variant.get("words_hash")}
    return {"campaign_id": submission.campaign_id, "copy": orjson.dumps(variant).decode(), **pinned}


def _first_state(message: PlannedMessage) -> MessageState:
    return MessageState.PENDING if message.views_left is None else MessageState.IN_APP


def _row(connection: Connection, campaign_id: str) -> Campaign | None:
    row = connection.execute(select(campaigns).where(_C.campaign_id == campaign_id)).first()
    return None if row is None else _campaign(row)


def _require(connection: Connection, campaign_id: str) -> Campaign:
    campaign = _row(connection, campaign_id)
    if campaign is None:
        raise CampaignError(f"there is no campaign {campaign_id}: submit its plan first")
    return campaign


def _campaign(row: Any) -> Campaign:
    campaign = Campaign(*row)
    return campaign._replace(plan=orjson.loads(row.plan))


def _has_messages(connection: Connection, campaign_id: str) -> bool:
    mine = select(_M.message_id).where(_M.campaign_id == campaign_id).limit(1)
    return connection.scalar(mine) is not None
