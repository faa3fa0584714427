"""Campaigns from submission to completion: who may move one on, and to where.

draft → generated → validated (`serving.store.campaign_drafts`) → submitted → approved → scheduled → sending →
completed; paused and sending again; withdrawn from anywhere before that; rejected instead of approved, and submitted
again. What is handed in as a plan's directory begins as submitted. An approval is of a digest: who gets what in which
words about which version of the product. Every move is one statement that names the states it may leave, so that of two
at once one wins and the other is told who was first.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import orjson
from sqlalchemy import Connection, func, insert, select, update

from recsys.errors import RecsysError
from serving.store.campaign_acts import Act, has_hand_in, record
from serving.store.campaign_states import LIVE, NEXT_STEPS, OPEN, CampaignState, MessageState
from serving.store.database import Store
from serving.store.in_app import end_unseen, waits_in_app
from serving.store.tables import campaign_messages, campaign_variants, campaigns

_C, _M, _V = campaigns.c, campaign_messages.c, campaign_variants.c


class CampaignError(RecsysError):
    """A campaign may not go where it was asked to."""


class NoCampaignError(CampaignError):
    """There is no such campaign."""


APPROVED: Final = "approved"
REJECTED: Final = "rejected"
"""What is said of a variant."""
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
    starts_at: datetime | None = None


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
    note: str | None = None
    """Why it was rejected."""
    starts_at: datetime | None = None
    brief: dict[str, Any] | None = None
    """None: it was handed in as a plan's directory."""
    revision: int = 0
    """Rises with every change of brief or copy."""


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


class Move(NamedTuple):
    """A step of the state machine."""

    to: CampaignState
    leaves: Sequence[CampaignState]
    """The states that it may be made from."""


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
            "starts_at": submission.starts_at,
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
            put_variants(connection, submission.campaign_id, submission.variants)
            record(connection, submission.campaign_id, Act.SUBMITTED, submission.author, now)
        return self.get(submission.campaign_id)

    def approve(self, campaign_id: str, approver: str, digest: str, now: datetime) -> Campaign:
        """Approves exactly what was submitted.

        Raises:
            CampaignError: the approver has a hand in it, what he looked at is something else, a variant was rejected,
                or somebody was first.
        """
        values = {"approver": approver, "approved_at": now}
        with self._store.writing() as connection:
            campaign = require(connection, campaign_id)
            self.require_other_eyes(connection, campaign, approver)
            if digest != campaign.digest:
                raise CampaignError(
                    f"what you looked at is not what was submitted as {campaign_id} ({digest[:12]} and "
                    f"{campaign.digest[:12]}): submit it again"
                )
            rejected = select(func.count()).where(_V.campaign_id == campaign_id, _V.verdict == REJECTED)
            if campaign.state == CampaignState.SUBMITTED and (count := connection.scalar(rejected)):
                raise CampaignError(f"{count} variant(s) of campaign {campaign_id} are rejected: send it back instead")
            change(
                connection, campaign_id, Move(CampaignState.APPROVED, (CampaignState.SUBMITTED,)), approver, now, values
            )
            every = update(campaign_variants).where(_V.campaign_id == campaign_id)
            connection.execute(every.values(verdict=APPROVED, judged_by=approver))
            record(connection, campaign_id, Act.APPROVED, approver, now)
        return self.get(campaign_id)

    @staticmethod
    def require_other_eyes(connection: Connection, campaign: Campaign, approver: str) -> None:
        """Refuses an approver who has a hand in a campaign.

        Raises:
            CampaignError: he does.
        """
        own = approver.strip().casefold() == campaign.author.strip().casefold()
        if not approver.strip() or own or has_hand_in(connection, campaign.campaign_id, approver):
            raise CampaignError(
                f"{approver or 'nobody'} wrote campaign {campaign.campaign_id}: somebody else must approve it"
            )

    def reject(self, campaign_id: str, approver: str, reason: str, now: datetime) -> Campaign:
        """Sends a submitted campaign back to its author.

        Raises:
            CampaignError: the approver has a hand in it, there is no reason, or it is not submitted (any more).
        """
        if not reason.strip():
            raise CampaignError(f"say why {campaign_id} is rejected: its author must know what to change")
        with self._store.writing() as connection:
            self.require_other_eyes(connection, require(connection, campaign_id), approver)
            move = Move(CampaignState.REJECTED, (CampaignState.SUBMITTED,))
            change(connection, campaign_id, move, approver, now, {"note": reason.strip()})
            record(connection, campaign_id, Act.REJECTED, approver, now, reason.strip())
        return self.get(campaign_id)

    def launch(
        self, campaign_id: str, digest: str, messages: Sequence[PlannedMessage], by: str, now: datetime
    ) -> Campaign:
        """Schedules the messages of an approved campaign.

        Raises:
            CampaignError: it is not approved, or was approved in other words: then nothing is scheduled.
        """
        with self._store.writing() as connection:
            campaign = require(connection, campaign_id)
            if campaign.state == CampaignState.APPROVED and digest != campaign.digest:
                raise CampaignError(
                    f"campaign {campaign_id} changed after {campaign.approver} approved it "
                    f"({campaign.digest[:12]} then, {digest[:12]} now): submit it again and have it approved"
                )
            change(connection, campaign_id, Move(CampaignState.SCHEDULED, (CampaignState.APPROVED,)), by, now)
            record(connection, campaign_id, Act.LAUNCHED, by, now)
            rows = [
                {**message._asdict(), "campaign_id": campaign_id, "state": _first_state(message), "attempts": 0}
                for message in messages
            ]
            if rows:
                connection.execute(insert(campaign_messages), rows)
        return self.get(campaign_id)

    def pause(self, campaign_id: str, by: str, now: datetime) -> Campaign:
        """Stops what is unsent, at once; messages that a channel has already are finished."""
        return self._move(campaign_id, Move(CampaignState.PAUSED, LIVE), (Act.PAUSED, by), now)

    def resume(self, campaign_id: str, by: str, now: datetime) -> Campaign:
        """Goes on after a pause."""
        return self._move(campaign_id, Move(CampaignState.SENDING, (CampaignState.PAUSED,)), (Act.RESUMED, by), now)

    def withdraw(self, campaign_id: str, by: str, now: datetime) -> Campaign:
        """Ends a campaign; what is unsent never is."""
        campaign = self._move(campaign_id, Move(CampaignState.WITHDRAWN, _WITHDRAWABLE), (Act.WITHDRAWN, by), now)
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
                change(connection, campaign_id, Move(CampaignState.COMPLETED, LIVE), "dispatcher", now)
                record(connection, campaign_id, Act.COMPLETED, "dispatcher", now)
        return list(done)

    def get(self, campaign_id: str) -> Campaign:
        """One campaign.

        Raises:
            CampaignError: there is none.
        """
        with self._store.reading() as connection:
            return require(connection, campaign_id)

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

    def _move(self, campaign_id: str, move: Move, did: tuple[Act, str], now: datetime) -> Campaign:
        act, by = did
        with self._store.writing() as connection:
            change(connection, campaign_id, move, by, now)
            record(connection, campaign_id, act, by, now)
        return self.get(campaign_id)


def change(
    connection: Connection,
    campaign_id: str,
    move: Move,
    by: str,
    now: datetime,
    values: Mapping[str, Any] | None = None,
) -> None:
    """Moves a campaign on, in one statement.

    Raises:
        CampaignError: there is none, or it stands elsewhere.
    """
    moved = (
        update(campaigns)
        .where(_C.campaign_id == campaign_id, _C.state.in_(move.leaves))
        .values(state=move.to, changed_by=by, changed_at=now, **(values or {}))
    )
    if not connection.execute(moved).rowcount:
        present = require(connection, campaign_id)
        raise CampaignError(
            f"campaign {campaign_id} is {present.state} since {present.changed_at:%Y-%m-%d %H:%M:%S} by "
            f"{present.changed_by}: only one that is {' or '.join(sorted(move.leaves))} can become {move.to}; "
            f"{NEXT_STEPS[CampaignState(present.state)]}, or look at it again"
        )


def put_variants(connection: Connection, campaign_id: str, variants: Sequence[Mapping[str, Any]]) -> None:
    """Writes the variants of a campaign that has none."""
    if variants:
        connection.execute(insert(campaign_variants), [variant_row(campaign_id, one) for one in variants])


def variant_row(campaign_id: str, variant: Mapping[str, Any]) -> dict[str, Any]:
    """A variant as the table keeps it."""
    names = ("content_id", "product_id", "content_hash", "product_version")
    pinned = {name: variant[name] for name in names} | {"words_hash": variant.get("words_hash")}
    return {"campaign_id": campaign_id, "copy": orjson.dumps(variant).decode(), **pinned}


def _first_state(message: PlannedMessage) -> MessageState:
    return MessageState.PENDING if message.views_left is None else MessageState.IN_APP


def _row(connection: Connection, campaign_id: str) -> Campaign | None:
    row = connection.execute(select(campaigns).where(_C.campaign_id == campaign_id)).first()
    return None if row is None else _campaign(row)


def require(connection: Connection, campaign_id: str) -> Campaign:
    """One campaign, within a transaction.

    Raises:
        NoCampaignError: there is none.
    """
    campaign = _row(connection, campaign_id)
    if campaign is None:
        raise NoCampaignError(f"there is no campaign {campaign_id}: submit its plan first")
    return campaign


def _campaign(row: Any) -> Campaign:
    campaign = Campaign(*row)
    brief = None if row.brief is None else orjson.loads(row.brief)
    return campaign._replace(plan=orjson.loads(row.plan), brief=brief)


def _has_messages(connection: Connection, campaign_id: str) -> bool:
    mine = select(_M.message_id).where(_M.campaign_id == campaign_id).limit(1)
    return connection.scalar(mine) is not None
