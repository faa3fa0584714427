"""What happens to a plan once it is written: handed in, approved or rejected, launched, stopped, measured, exported.

The command line and the routes both call this; every method names who does it.
"""

import shutil
from collections import Counter
from datetime import UTC
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
from sqlalchemy import select

from recsys.campaigns.export import FORMATS, export_plan
from recsys.campaigns.export_log import log_export
from recsys.campaigns.handover import PlannedCampaign, message_id, read_plan
from recsys.campaigns.measurement import Report, measure
from recsys.campaigns.outcomes import read_people
from recsys.campaigns.plan_files import require_free
from recsys.campaigns.report_files import write_report
from recsys.data.contract import Dataset
from recsys.errors import RecsysError
from serving.engine import Clock, utc_now
from serving.store.campaign_states import MessageState
from serving.store.campaigns import Campaign, CampaignStore, PlannedMessage, Submission
from serving.store.database import Store
from serving.store.tables import campaign_messages, events

_MESSAGE = ("customer_id", "product_id", "content_id", "channel", "send_at")


class CampaignStatus(NamedTuple):
    """Where a campaign stands, and how far its messages got."""

    campaign: Campaign
    messages: dict[str, Counter[str]]
    """State to reason to how many."""


class Exporter(NamedTuple):
    """Who takes a plan out of the house, and by which key its customers get their pseudonyms."""

    home: Path
    """Whose log it is written to."""
    key: bytes
    by: str


class CampaignDesk:
    """The campaigns of one SQL store.

    Args:
        store: where they are kept.
        clock: the present.
    """

    def __init__(self, store: Store, clock: Clock = utc_now) -> None:
        self.store = store
        self._campaigns = CampaignStore(store)
        self._clock = clock

    def submit(self, plan: Path, author: str) -> Campaign:
        """Hands a plan's directory in for approval.

        Raises:
            RecsysError: it is not whole, or the campaign stands somewhere already.
        """
        read = read_plan(plan)
        kept = {"name": read.brief.name, "plan": str(plan.resolve()), "totals": read.summary["totals"]}
        starts, ends = read.brief.starts.astimezone(UTC), read.brief.ends.astimezone(UTC)
        submission = Submission(read.brief.campaign_id, author, read.digest, ends, kept, read.variants, starts)
        return self._campaigns.submit(submission, self._clock())

    def approve(self, plan: Path, approver: str) -> Campaign:
        """Approves exactly what is in a plan's directory.

        Raises:
            RecsysError: it is not whole, is not what was submitted, the approver wrote it, or somebody was first.
        """
        read = read_plan(plan)
        return self._campaigns.approve(read.brief.campaign_id, approver, read.digest, self._clock())

    def reject(self, campaign_id: str, approver: str, reason: str) -> Campaign:
        """Sends a submitted campaign back; it may be submitted again.

        Raises:
            CampaignError: the approver wrote it, no reason is given, or it is not submitted (any more).
        """
        return self._campaigns.reject(campaign_id, approver, reason, self._clock())

    def launch(self, plan: Path, by: str) -> tuple[Campaign, int]:
        """Schedules the messages of an approved plan; returns how many there are.

        Raises:
            RecsysError: the directory is not whole, or is not what was approved: then nothing is scheduled.
        """
        read = read_plan(plan)
        messages = _messages(read)
        campaign = self._campaigns.launch(read.brief.campaign_id, read.digest, messages, by, self._clock())
        return campaign, len(messages)

    def pause(self, campaign_id: str, by: str) -> Campaign:
        """Stops what is unsent, at once."""
        return self._campaigns.pause(campaign_id, by, self._clock())

    def resume(self, campaign_id: str, by: str) -> Campaign:
        """Goes on after a pause."""
        return self._campaigns.resume(campaign_id, by, self._clock())

    def withdraw(self, campaign_id: str, by: str) -> Campaign:
        """Cancels a campaign: what is unsent never is sent."""
        return self._campaigns.withdraw(campaign_id, by, self._clock())

    def get(self, campaign_id: str) -> CampaignStatus:
        """One campaign.

        Raises:
            CampaignError: there is none.
        """
        return CampaignStatus(self._campaigns.get(campaign_id), self._campaigns.progress(campaign_id))

    def all(self) -> list[CampaignStatus]:
        """All campaigns, the latest first."""
        return [CampaignStatus(one, self._campaigns.progress(one.campaign_id)) for one in self._campaigns.all()]

    def report(self, plan: Path, dataset: Dataset, days: int = 14, out: Path | None = None) -> Report:
        """What a plan's campaign changed, from the dataset's events and those that the app has sent since.

        Args:
            plan: its directory.
            dataset: the bank's.
            days: how long after the end responses still count.
            out: a directory for report.json and the plots; must not exist.

        Raises:
            RecsysError: the plan is not whole, nobody was held out, or the directory exists or cannot be written.
        """
        read = read_plan(plan)
        if out is not None:
            require_free(out)
        people = read_people(dataset, plan, read.brief, days, self._app_events())
        priced = read.assignments.select("customer_id", "content_id", "channel", "cost")
        messages = self._sent(read.brief.campaign_id).join(
            priced, on=["customer_id", "content_id", "channel"], how="left"
        )
        shares = read.brief.holdout
        share = 1 - (1 - shares.global_share) * (1 - shares.campaign_share)
        try:
            found = measure(people, messages, share)
        except ValueError as error:
            raise RecsysError(f"{plan}: {error}") from error
        if out is not None:
            write_report(found, read.brief.name, out)
        return found

    def export(self, plan: Path, out: Path, exporter: Exporter, formats: tuple[str, ...] = FORMATS) -> dict[str, Any]:
        """Writes a plan under pseudonyms, and who took it into the home's log; returns the export's manifest.

        Raises:
            RecsysError: the plan is not whole, a format is unknown, or something cannot be written: then nothing is
                left of the export.
        """
        manifest = export_plan(plan, out, exporter.key, formats, self._clock())
        try:
            log_export(exporter.home, manifest, out, exporter.by)
        except RecsysError:  # what nobody can be asked about does not leave
            shutil.rmtree(out, ignore_errors=True)
            raise
        return manifest

    def _app_events(self) -> pl.DataFrame:
        names = ("event_id", "customer_id", "event_type", "event_timestamp", "product_id")
        with self.store.reading() as connection:
            rows = connection.execute(select(*(events.c[name] for name in names))).all()
        schema = dict.fromkeys(names, pl.String) | {"event_timestamp": pl.Datetime("us", "UTC")}
        return pl.DataFrame([tuple(row) for row in rows], schema=schema, orient="row")

    def _sent(self, campaign_id: str) -> pl.DataFrame:
        names, columns = ("customer_id", "channel", "content_id"), campaign_messages.c
        mine = (columns.campaign_id == campaign_id, columns.state == MessageState.SENT)
        with self.store.reading() as connection:
            rows = connection.execute(select(*(columns[name] for name in names)).where(*mine)).all()
        return pl.DataFrame([tuple(row) for row in rows], schema=dict.fromkeys(names, pl.String), orient="row")


def _messages(read: PlannedCampaign) -> list[PlannedMessage]:
    in_app, views = set(read.summary["in_app_channels"]), read.brief.limits.in_app_views
    name = read.brief.campaign_id
    return [
        PlannedMessage(message_id(name, row), *(row[column] for column in _MESSAGE))._replace(
            views_left=views if row["channel"] in in_app else None
        )
        for row in read.assignments.iter_rows(named=True)
    ]
