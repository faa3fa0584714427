"""Who did what to a campaign, and when: never changed, and what four eyes are told by."""

from datetime import datetime
from enum import StrEnum
from typing import Final, NamedTuple

from sqlalchemy import Connection, insert, select

from serving.store.database import Store
from serving.store.tables import campaign_acts

_A = campaign_acts.c


class Act(StrEnum):
    """What can be done to a campaign."""

    CREATED = "created"
    BRIEFED = "briefed"
    PLANNED = "planned"
    EDITED = "edited"
    VALIDATED = "validated"
    SUBMITTED = "submitted"
    JUDGED = "judged"
    APPROVED = "approved"
    REJECTED = "rejected"
    LAUNCHED = "launched"
    PAUSED = "paused"
    RESUMED = "resumed"
    WITHDRAWN = "withdrawn"
    COMPLETED = "completed"


WRITING: Final = (Act.CREATED, Act.BRIEFED, Act.EDITED, Act.SUBMITTED)
"""Whoever did one of these has a hand in the campaign, and may not approve it."""


class PastAct(NamedTuple):
    """One thing that was done."""

    act: str
    by: str
    at: datetime
    note: str | None


def record(connection: Connection, campaign_id: str, act: Act, by: str, at: datetime, note: str | None = None) -> None:
    """Remembers what was done, in the transaction that does it."""
    row = {"campaign_id": campaign_id, "act": act, "by": by, "at": at, "note": note}
    connection.execute(insert(campaign_acts), row)


def has_hand_in(connection: Connection, campaign_id: str, person: str) -> bool:
    """Whether somebody wrote, changed or handed in any of it, however he spells himself."""
    writers = select(_A.by).where(_A.campaign_id == campaign_id, _A.act.in_(WRITING)).distinct()
    return _plain(person) in {_plain(name) for name in connection.scalars(writers)}


def acts_of(store: Store, campaign_id: str) -> list[PastAct]:
    """What was done to a campaign, the latest first."""
    wanted = select(_A.act, _A.by, _A.at, _A.note).where(_A.campaign_id == campaign_id).order_by(_A.act_id.desc())
    with store.reading() as connection:
        return [PastAct(*row) for row in connection.execute(wanted)]


def _plain(name: str) -> str:
    return name.strip().casefold()
