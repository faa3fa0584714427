"""Logs decisions off the request's path and never loses one: into the journal first, from there into the SQL store."""

import asyncio
import logging
from datetime import datetime
from itertools import islice
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Final

import orjson
from fastapi.concurrency import run_in_threadpool

from serving.journal import Journal, JournalError, left_over, read_segment, segments
from serving.metrics import Metrics
from serving.store.database import Store, StoreError
from serving.store.decisions import DecisionEntry, DecisionStore

LOGGER = logging.getLogger("recsys.serving")
JOURNAL_FOLDER: Final = "journal"
DRAIN_SECONDS: Final = 0.5
STORE_SECONDS: Final = 0.1
"""How long an answer waits for the store where the journal cannot be written."""
CHUNK: Final = 100
"""Decisions a transaction: others who write get a turn in between."""


class DecisionLogError(Exception):
    """A decision could be recorded nowhere: it must not be answered."""


class DecisionLog:
    """The log of one worker. A decision is durable when `append` returns, and in the SQL store soon after.

    Args:
        folder: of the journals.
        store: where the chain is.
        metrics: counts failures.
        fsync: whether a decision outlives a power cut before it is answered.
    """

    def __init__(self, folder: Path, store: Store, metrics: Metrics, fsync: bool = True) -> None:
        self._decisions = DecisionStore(store)
        self._metrics = metrics
        self._drain_lock = Lock()
        self._wake = Event()
        self._stop = Event()
        try:
            drain_left_over(folder, store)
        except StoreError as error:  # they stay where they are, for the next start
            self._failed(error)
        self._journal = Journal(folder, fsync)
        self._thread = Thread(target=self._run, name="decision-log", daemon=True)
        self._thread.start()

    async def append(self, entry: DecisionEntry) -> None:
        """Makes a decision durable. Where the journal cannot be written it goes into the store at once.

        Raises:
            DecisionLogError: neither can be written.
        """
        try:
            await self._journal.append(encode(entry))
        except JournalError as error:
            self._failed(error)
            try:
                # One that comes too late may still be logged: a decision too many in the log, never one too few.
                async with asyncio.timeout(STORE_SECONDS):
                    await run_in_threadpool(self._decisions.append, [entry])
            except (StoreError, TimeoutError) as second:
                self._failed(second)
                raise DecisionLogError from second
        else:
            self._wake.set()

    def flush(self) -> None:
        """Brings what was appended into the SQL store, now.

        Raises:
            StoreError: the store cannot be written; what is not in it stays in the journal.
        """
        with self._drain_lock:
            for segment in self._journal.rotate():
                drain(segment, self._decisions)

    def close(self) -> None:
        """Stops; what cannot be brought into the store stays in the journal for the next start."""
        self._stop.set()
        self._wake.set()
        self._thread.join()
        self._journal.close()
        try:
            with self._drain_lock:
                for segment in segments(self._journal.folder):
                    drain(segment, self._decisions)
        except StoreError as error:
            self._failed(error)
        self._journal.remove()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wake.wait()
            self._wake.clear()
            try:
                self.flush()
            except (StoreError, OSError) as error:
                self._failed(error)
                self._wake.set()  # again, after the pause
            self._stop.wait(DRAIN_SECONDS)  # decisions gather: a transaction for many costs little more than for one

    def _failed(self, error: Exception) -> None:
        self._metrics.failures.labels("decision_log").inc()
        LOGGER.warning("decision log failed: %s", type(error).__name__)


def drain(segment: Path, decisions: DecisionStore) -> int:
    """Brings a finished segment into the SQL store and removes it. Doing it twice adds nothing.

    Returns:
        How many decisions were new to the store.

    Raises:
        StoreError: the segment stays.
    """
    entries = (decode(line) for line in read_segment(segment))
    new = 0
    while chunk := list(islice(entries, CHUNK)):
        new += decisions.append(chunk)
    segment.unlink()
    return new


def drain_left_over(folder: Path, store: Store) -> int:
    """Brings the journals of processes that are gone into the SQL store.

    Returns:
        How many decisions were new to the store.

    Raises:
        StoreError: what is not in the store stays in its journal.
    """
    decisions = DecisionStore(store)
    return sum(drain(segment, decisions) for journal in left_over(folder) for segment in segments(journal))


def encode(entry: DecisionEntry) -> bytes:
    """A line of the journal."""
    return orjson.dumps(list(entry))


def decode(line: bytes) -> DecisionEntry:
    """The inverse of `encode`."""
    values = orjson.loads(line)
    created_at = DecisionEntry._fields.index("created_at")
    values[created_at] = datetime.fromisoformat(values[created_at])
    return DecisionEntry(*values)
