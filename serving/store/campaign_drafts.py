"""Campaigns before they are submitted: brief, plan and copy, and what an edit voids.

draft (a brief) → generated (planned, with copy) → validated (every variant past the fact guard) → submitted. A change
of the brief leads back to draft, a change of words back to generated, from submitted and approved too: what was
approved was something else.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import orjson
from sqlalchemy import Connection, RowMapping, select, update

from serving.store.campaign_acts import Act, record
from serving.store.campaign_states import CampaignState
from serving.store.campaigns import (
    Campaign,
    CampaignError,
    CampaignStore,
    Move,
    NoCampaignError,
    change,
    put_variants,
    require,
    variant_row,
)
from serving.store.database import Store
from serving.store.tables import campaign_variants, campaigns

_C, _V = campaigns.c, campaign_variants.c
WRITABLE: Final = (CampaignState.DRAFT, CampaignState.GENERATED, CampaignState.VALIDATED, CampaignState.REJECTED)
CHANGEABLE: Final = (*WRITABLE, CampaignState.SUBMITTED, CampaignState.APPROVED)
_WORDED: Final = CHANGEABLE[1:]
_CHECKABLE: Final = WRITABLE[1:]


class StaleError(CampaignError):
    """Somebody else changed it meanwhile."""


class Draft(NamedTuple):
    """A campaign as it is written down."""

    campaign_id: str
    name: str
    brief: Mapping[str, Any]
    starts_at: datetime
    ends_at: datetime


class StoredVariant(NamedTuple):
    """A variant and what is said of it."""

    content_id: str
    copy: dict[str, Any]
    edited_by: str | None
    verdict: str | None
    judged_by: str | None
    note: str | None


class Writing(NamedTuple):
    """Who changes what he saw, and when."""

    by: str
    now: datetime
    revision: int | None = None
    """Of the campaign that he saw; None: whatever it is."""


class DraftStore:
    """Keeps drafts of campaigns."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._campaigns = CampaignStore(store)

    def create(self, draft: Draft, by: str, now: datetime) -> Campaign:
        """Writes a new campaign down.

        Raises:
            CampaignError: there is one of that id.
        """
        row = {**_columns(draft), "campaign_id": draft.campaign_id, "author": by, "submitted_at": now, "digest": ""}
        row |= {"state": CampaignState.DRAFT, "changed_by": by, "changed_at": now, "revision": 1}
        row |= {"approver": None, "approved_at": None}
        with self._store.writing() as connection:
            new = self._store.upsert(campaigns).values(row).on_conflict_do_nothing(index_elements=["campaign_id"])
            if not connection.execute(new).rowcount:
                present = require(connection, draft.campaign_id)
                raise CampaignError(
                    f"campaign_id: {draft.campaign_id} is taken since {present.submitted_at:%Y-%m-%d} by "
                    f"{present.author}: choose another one"
                )
            record(connection, draft.campaign_id, Act.CREATED, by, now)
        return self._campaigns.get(draft.campaign_id)

    def save_brief(self, draft: Draft, writing: Writing) -> Campaign:
        """Changes the brief; the plan and the copy that were made of the old one are void.

        Raises:
            StaleError: it was changed since it was seen.
            CampaignError: it is on its way already.
        """
        with self._store.writing() as connection:
            self._begin(connection, draft.campaign_id, writing)
            values = {**_columns(draft), **_VOID, "revision": _C.revision + 1}
            change(
                connection, draft.campaign_id, Move(CampaignState.DRAFT, CHANGEABLE), writing.by, writing.now, values
            )
            connection.execute(campaign_variants.delete().where(_V.campaign_id == draft.campaign_id))
            record(connection, draft.campaign_id, Act.BRIEFED, writing.by, writing.now)
        return self._campaigns.get(draft.campaign_id)

    def generated(
        self, campaign_id: str, plan: Mapping[str, Any], variants: Sequence[dict[str, Any]], writing: Writing
    ) -> None:
        """Takes in a plan that was made of the brief.

        Raises:
            StaleError: the brief was changed while it was planned.
        """
        with self._store.writing() as connection:
            self._begin(connection, campaign_id, writing)
            values = {**_VOID, "plan": orjson.dumps(plan).decode()}
            change(connection, campaign_id, Move(CampaignState.GENERATED, WRITABLE), writing.by, writing.now, values)
            connection.execute(campaign_variants.delete().where(_V.campaign_id == campaign_id))
            put_variants(connection, campaign_id, variants)
            record(connection, campaign_id, Act.PLANNED, writing.by, writing.now)

    def edit(self, campaign_id: str, variant: dict[str, Any], seen: str, writing: Writing) -> Campaign:
        """Changes a variant's words; an approval is void.

        Args:
            campaign_id: whose.
            variant: as it is to be.
            seen: the content hash of what the editor saw.
            writing: who does it.

        Raises:
            StaleError: the variant was changed since.
            CampaignError: there is none, or the campaign is on its way already.
        """
        content_id = variant["content_id"]
        with self._store.writing() as connection:
            before = self._variant(connection, campaign_id, content_id)
            self._begin(connection, campaign_id, writing)
            if before["content_hash"] != seen:
                raise StaleError(f"variant {content_id} was changed meanwhile: look at it again")
            move = Move(CampaignState.GENERATED, _WORDED)
            values = {**_VOID, "revision": _C.revision + 1}
            change(connection, campaign_id, move, writing.by, writing.now, values)
            row = {**variant_row(campaign_id, variant), "edited_by": writing.by}
            row |= {"verdict": None, "judged_by": None, "note": None}
            mine = (_V.campaign_id == campaign_id, _V.content_id == content_id)
            connection.execute(update(campaign_variants).where(*mine).values(row))
            record(connection, campaign_id, Act.EDITED, writing.by, writing.now, content_id)
        return self._campaigns.get(campaign_id)

    def drop(self, campaign_id: str, content_id: str, writing: Writing) -> Campaign:
        """Takes a variant out; whoever would have got it gets another one."""
        with self._store.writing() as connection:
            self._variant(connection, campaign_id, content_id)
            self._begin(connection, campaign_id, writing)
            values = {**_VOID, "revision": _C.revision + 1}
            change(connection, campaign_id, Move(CampaignState.GENERATED, _WORDED), writing.by, writing.now, values)
            mine = (_V.campaign_id == campaign_id, _V.content_id == content_id)
            connection.execute(campaign_variants.delete().where(*mine))
            record(connection, campaign_id, Act.EDITED, writing.by, writing.now, f"-{content_id}")
        return self._campaigns.get(campaign_id)

    def validated(self, campaign_id: str, writing: Writing) -> Campaign:
        """Notes that every variant passed the fact guard."""
        with self._store.writing() as connection:
            self._begin(connection, campaign_id, writing)
            move = Move(CampaignState.VALIDATED, _CHECKABLE)
            change(connection, campaign_id, move, writing.by, writing.now)
            record(connection, campaign_id, Act.VALIDATED, writing.by, writing.now)
        return self._campaigns.get(campaign_id)

    def hand_in(self, campaign_id: str, digest: str, plan: Mapping[str, Any], writing: Writing) -> Campaign:
        """Submits what was validated.

        Raises:
            CampaignError: it is not validated, or was changed since.
        """
        values: dict[str, Any] = {"digest": digest, "plan": orjson.dumps(plan).decode(), "author": writing.by}
        values |= {"submitted_at": writing.now, "note": None}
        with self._store.writing() as connection:
            self._begin(connection, campaign_id, writing)
            move = Move(CampaignState.SUBMITTED, (CampaignState.VALIDATED,))
            change(connection, campaign_id, move, writing.by, writing.now, values)
            record(connection, campaign_id, Act.SUBMITTED, writing.by, writing.now)
        return self._campaigns.get(campaign_id)

    def judge(self, campaign_id: str, content_id: str, verdict: str, note: str | None, writing: Writing) -> None:
        """Says of one variant of a submitted campaign that it may be sent, or may not.

        Raises:
            CampaignError: the campaign is not submitted, or the judge has a hand in it.
        """
        with self._store.writing() as connection:
            campaign = require(connection, campaign_id)
            self._variant(connection, campaign_id, content_id)
            self._campaigns.require_other_eyes(connection, campaign, writing.by)
            move = Move(CampaignState.SUBMITTED, (CampaignState.SUBMITTED,))
            change(connection, campaign_id, move, writing.by, writing.now)
            mine = (_V.campaign_id == campaign_id, _V.content_id == content_id)
            said = {"verdict": verdict, "judged_by": writing.by, "note": note}
            connection.execute(update(campaign_variants).where(*mine).values(said))
            record(connection, campaign_id, Act.JUDGED, writing.by, writing.now, f"{verdict} {content_id}")

    def variants(self, campaign_id: str) -> list[StoredVariant]:
        """All variants, by id."""
        names = [_V[name] for name in StoredVariant._fields]
        with self._store.reading() as connection:
            rows = connection.execute(select(*names).where(_V.campaign_id == campaign_id).order_by(_V.content_id)).all()
        return [StoredVariant(*row)._replace(copy=orjson.loads(row.copy)) for row in rows]

    @staticmethod
    def _begin(connection: Connection, campaign_id: str, writing: Writing) -> None:
        """Refuses a change of what was changed since it was seen."""
        present = require(connection, campaign_id)
        if writing.revision is not None and writing.revision != present.revision:
            raise StaleError(
                f"campaign {campaign_id} was changed by {present.changed_by} at {present.changed_at:%H:%M:%S}: "
                "look at it again"
            )

    @staticmethod
    def _variant(connection: Connection, campaign_id: str, content_id: str) -> RowMapping:
        mine = (_V.campaign_id == campaign_id, _V.content_id == content_id)
        row = connection.execute(select(campaign_variants).where(*mine)).mappings().first()
        if row is None:
            require(connection, campaign_id)
            raise NoCampaignError(f"campaign {campaign_id} has no variant {content_id}")
        return row


_VOID: Final[Mapping[str, Any]] = {"digest": "", "approver": None, "approved_at": None}


def _columns(draft: Draft) -> dict[str, Any]:
    return {
        "brief": orjson.dumps(draft.brief).decode(),
        "plan": orjson.dumps({"name": draft.name}).decode(),
        "starts_at": draft.starts_at,
        "ends_at": draft.ends_at,
    }
