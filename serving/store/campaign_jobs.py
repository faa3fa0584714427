"""Jobs of the studio: a plan takes longer than an answer may. One at a time, each by one worker, none lost."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, NamedTuple
from uuid import uuid4

from sqlalchemy import ColumnElement, Connection, insert, select, update

from serving.store.campaigns import CampaignError, NoCampaignError, require
from serving.store.database import Store
from serving.store.tables import campaign_jobs

_J = campaign_jobs.c
SILENCE: Final = timedelta(seconds=30)
"""A worker that gives no sign of life for so long is dead."""
MOST_ATTEMPTS: Final = 2
_QUEUE: Final = "campaign jobs"


class JobState(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


OPEN: Final = (JobState.QUEUED, JobState.RUNNING)


class Job(NamedTuple):
    """A job; its names are columns of the table."""

    job_id: str
    campaign_id: str
    revision: int
    state: str
    created_by: str
    created_at: datetime
    step: str | None
    done: int
    total: int
    message: str | None
    attempts: int
    worker: str | None
    beat_at: datetime | None
    finished_at: datetime | None


class Step(NamedTuple):
    """How far a job is."""

    name: str
    done: int
    total: int


class JobStore:
    """Keeps the jobs of campaigns."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def ask(self, campaign_id: str, by: str, now: datetime) -> Job:
        """Asks for a plan of a campaign as it is now.

        Raises:
            CampaignError: it is being planned.
        """
        job_id = uuid4().hex
        with self._store.writing() as connection:
            self._store.lock(connection, _QUEUE)
            campaign = require(connection, campaign_id)
            mine = select(_J.job_id).where(_J.campaign_id == campaign_id, _J.state.in_(OPEN))
            if connection.scalar(mine.limit(1)) is not None:
                raise CampaignError(f"campaign {campaign_id} is being planned: wait for it, or cancel that")
            row = {
                "job_id": job_id,
                "campaign_id": campaign_id,
                "revision": campaign.revision,
                "state": JobState.QUEUED,
            }
            row |= {"created_by": by, "created_at": now, "done": 0, "total": 0, "attempts": 0}
            connection.execute(insert(campaign_jobs), row)
        return self.get(job_id)

    def claim(self, worker: str, now: datetime) -> Job | None:
        """The next job, which is this worker's now; None: there is none, or another worker is at one."""
        with self._store.writing() as connection:
            self._store.lock(connection, _QUEUE)
            self._take_back(connection, now)
            if connection.scalar(select(_J.job_id).where(_J.state == JobState.RUNNING).limit(1)) is not None:
                return None
            next_ = select(_J.job_id).where(_J.state == JobState.QUEUED).order_by(_J.created_at, _J.job_id).limit(1)
            job_id = connection.scalar(next_)
            if job_id is None:
                return None
            values = {"state": JobState.RUNNING, "worker": worker, "beat_at": now, "attempts": _J.attempts + 1}
            connection.execute(update(campaign_jobs).where(_J.job_id == job_id).values(values))
        return self.get(job_id)

    def waits(self, now: datetime) -> bool:
        """Whether there is a job that a worker could take now."""
        running = select(_J.beat_at).where(_J.state == JobState.RUNNING)
        with self._store.reading() as connection:
            beats = connection.scalars(running).all()
            queued = connection.scalar(select(_J.job_id).where(_J.state == JobState.QUEUED).limit(1))
        dead = [beat is None or beat < now - SILENCE for beat in beats]
        return any(dead) or (queued is not None and not beats)

    def beat(self, job: Job, step: Step, now: datetime) -> bool:
        """Says how far a job is; false where it is not wanted any more."""
        values = {"step": step.name, "done": step.done, "total": step.total, "beat_at": now}
        with self._store.writing() as connection:
            return bool(connection.execute(update(campaign_jobs).where(*_held(job)).values(values)).rowcount)

    def finish(self, job: Job, state: JobState, message: str | None, now: datetime) -> bool:
        """A job's end."""
        values = {"state": state, "message": message, "finished_at": now}
        with self._store.writing() as connection:
            return bool(connection.execute(update(campaign_jobs).where(*_held(job)).values(values)).rowcount)

    def give_back(self, job: Job) -> None:
        """Leaves a job to another worker."""
        with self._store.writing() as connection:
            again = {"state": JobState.QUEUED, "worker": None}
            connection.execute(update(campaign_jobs).where(*_held(job)).values(again))

    def cancel(self, campaign_id: str, job_id: str, now: datetime) -> Job:
        """Stops a job; its worker notices within a second.

        Raises:
            CampaignError: there is none, or it has ended.
        """
        mine = (_J.job_id == job_id, _J.campaign_id == campaign_id)
        values = {"state": JobState.CANCELLED, "finished_at": now}
        with self._store.writing() as connection:
            if not connection.execute(update(campaign_jobs).where(*mine, _J.state.in_(OPEN)).values(values)).rowcount:
                state = connection.scalar(select(_J.state).where(*mine))
                if state is None:
                    raise NoCampaignError(f"campaign {campaign_id} has no job {job_id}")
                raise CampaignError(f"job {job_id} is {state} already")
        return self.get(job_id)

    def get(self, job_id: str) -> Job:
        """One job.

        Raises:
            NoCampaignError: there is none.
        """
        with self._store.reading() as connection:
            row = connection.execute(select(campaign_jobs).where(_J.job_id == job_id)).first()
        if row is None:
            raise NoCampaignError(f"there is no job {job_id}")
        return Job(*row)

    def latest(self, campaign_id: str) -> Job | None:
        """The last job of a campaign."""
        mine = select(campaign_jobs).where(_J.campaign_id == campaign_id).order_by(_J.created_at.desc()).limit(1)
        with self._store.reading() as connection:
            row = connection.execute(mine).first()
        return None if row is None else Job(*row)

    @staticmethod
    def _take_back(connection: Connection, now: datetime) -> None:
        """Jobs of dead workers wait again, but not for ever."""
        silent = (_J.state == JobState.RUNNING, _J.beat_at < now - SILENCE)
        again = update(campaign_jobs).where(*silent, _J.attempts < MOST_ATTEMPTS)
        connection.execute(again.values(state=JobState.QUEUED, worker=None))
        message = f"the worker died {MOST_ATTEMPTS} times: look at the server's log, then plan again"
        lost = {"state": JobState.FAILED, "message": message, "finished_at": now}
        connection.execute(update(campaign_jobs).where(*silent).values(lost))


def _held(job: Job) -> tuple[ColumnElement[bool], ...]:
    return (_J.job_id == job.job_id, _J.worker == job.worker, _J.state == JobState.RUNNING)
