"""`recsys campaign work`: does the jobs that the studio asked for; the server starts it."""

import logging
import os
import signal
import threading
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

import typer
from rich.progress import Progress

from recsys.cli.terminal import console
from recsys.home import Home

if TYPE_CHECKING:
    from serving.store.campaign_jobs import Job, Step
    from serving.store.database import Store

_BEAT_SECONDS: Final = 0.5
_NICE: Final = 10
_VARIANTS: Final = 3
LOGGER: Final = logging.getLogger("recsys.campaigns")


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command("work", hidden=True)(work)


def work(context: typer.Context) -> None:
    """Plan what waits in the studio, one campaign after another, and end. The server starts this by itself.

    Example: recsys campaign work
    """
    from recsys.cli.campaign_bank import open_desk
    from serving.store.campaign_jobs import JobStore

    os.nice(_NICE)  # answers to customers come first
    with open_desk(context.obj) as desk:
        jobs = JobStore(desk.store)
        while (job := jobs.claim(f"worker-{os.getpid()}", datetime.now(UTC))) is not None:
            console.print(f"{job.campaign_id}: planning (attempt {job.attempts})", markup=False)
            _Worker(context.obj, desk.store, job).run()


class _Worker:
    """Does one job: plans beside a thread that says how far it is and hears whether it is still wanted."""

    def __init__(self, home: Home, store: "Store", job: "Job") -> None:
        from serving.store.campaign_jobs import JobStore

        self._home = home
        self._store = store
        self._jobs: JobStore = JobStore(store)
        self._job = job
        self._folder = home.path / "campaigns" / job.campaign_id
        self._out = self._folder / f"plan-{job.job_id[:12]}"
        self._progress = Progress(disable=True)
        self._ended = threading.Event()

    def run(self) -> None:
        """Does it; whatever goes wrong is written to the job."""
        from recsys.errors import RecsysError
        from serving.store.campaign_jobs import JobState

        signal.signal(signal.SIGTERM, self._stop)
        beating = threading.Thread(target=self._beat, daemon=True)
        beating.start()
        state, message = JobState.DONE, None
        try:
            self._plan()
        except RecsysError as error:
            state, message = JobState.FAILED, str(error)
        except Exception as error:  # a job must end, whatever it meets
            LOGGER.exception("planning %s failed", self._job.campaign_id)
            state, message = JobState.FAILED, f"planning broke ({type(error).__name__}): see the server's log"
        self._ended.set()
        beating.join()
        if state is JobState.FAILED:
            self._clean()
        self._jobs.finish(self._job, state, message, datetime.now(UTC))

    def _plan(self) -> None:
        import shutil

        from recsys.campaigns.brief import Brief
        from recsys.campaigns.handover import read_plan
        from recsys.campaigns.service import Making, make_plan
        from recsys.cli.campaign_bank import open_bank
        from serving.campaigns.folders import prune
        from serving.store.campaign_drafts import DraftStore, Writing
        from serving.store.campaigns import CampaignStore

        campaign = CampaignStore(self._store).get(self._job.campaign_id)
        brief = Brief.parse(campaign.brief, source=campaign.campaign_id)
        shutil.rmtree(self._out, ignore_errors=True)  # of an attempt that died
        self._folder.mkdir(parents=True, exist_ok=True)
        opening = self._progress.add_task("opening the bank", total=1)
        bank = open_bank(self._home)
        self._progress.advance(opening)
        make_plan(brief, bank, self._out, Making(datetime.now(UTC), _VARIANTS, self._progress))
        read = read_plan(self._out)
        kept = {"name": brief.name, "plan": str(self._out), "totals": read.summary["totals"]}
        writing = Writing(self._job.created_by, datetime.now(UTC), self._job.revision)
        DraftStore(self._store).generated(campaign.campaign_id, kept, read.variants, writing)
        prune(self._folder, self._out)

    def _beat(self) -> None:
        """Until the job ends; one that is not wanted any more ends here, at once."""
        while not self._ended.wait(_BEAT_SECONDS):
            if not self._jobs.beat(self._job, self._step(), datetime.now(UTC)):
                self._clean()
                console.print(f"{self._job.campaign_id}: cancelled", markup=False)
                os._exit(0)

    def _step(self) -> "Step":
        from serving.store.campaign_jobs import Step

        task: Any = next((one for one in reversed(self._progress.tasks) if not one.finished), None)
        if task is None:
            return Step("opening the bank", 0, 1)
        return Step(task.description, int(task.completed), int(task.total or 0))

    def _stop(self, number: int, frame: FrameType | None) -> None:
        """SIGTERM: somebody else goes on."""
        try:
            self._jobs.give_back(self._job)
            self._clean()
        finally:  # else it is taken back once it has been silent for long
            os._exit(0)

    def _clean(self) -> None:
        import shutil

        for folder in (self._out, Path(f"{self._out.parent}/.{self._out.name}.partial")):
            shutil.rmtree(folder, ignore_errors=True)
