"""Erases one customer from everywhere: a list of places, each safe to repeat, then a search that proves it.

The suppression list comes first: from then on nothing brings him back, whatever happens to the steps that follow. The
raw dataset comes last, because it says what of the caches is his. Killed between any two steps, the erasure is finished
by running it again.
"""

import fcntl
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from recsys.data.contract import Dataset
from recsys.errors import HomeError, RecsysError
from recsys.home import Home
from recsys.privacy.certificate import Certificate, PlaceRecord, SearchRecord
from recsys.privacy.dataset import erase_from_dataset
from recsys.privacy.encodings import forget_customer_encodings
from recsys.privacy.scrub import scrub_files
from recsys.privacy.search import HASH_NAMES, Needle, search, walk
from recsys.privacy.suppression import SuppressionList


class Place(NamedTuple):
    """Somewhere that customers' data lies outside of files that this package understands."""

    name: str
    erase: Callable[[], dict[str, int]]
    """Removes him; returns what from and how much. Safe to repeat."""
    remaining: Callable[[], list[str]]
    """Where in this place he still is."""


@dataclass
class Erasure:
    """The erasure of one customer from one home."""

    home: Home
    customer_id: str
    places: Sequence[Place] = ()
    """Databases, emptied before the files."""
    raw: Dataset | None = None
    """The dataset directory to erase him from too; None: raw data is left alone."""
    now: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))

    def run(self) -> Certificate:
        """Does it all, and writes the certificate into the home.

        Raises:
            HomeError: the home is empty, or another erasure is running.
            RecsysError: a place could not be emptied; run it again.
        """
        record = self.home.record()
        if record is None:
            raise HomeError(
                f"the home {self.home.path} is empty: there is nobody to erase; name another one with --home"
            )
        with alone(self.home):
            started = self.now()
            subject = SuppressionList(self.home).add(self.customer_id)
            done = [*(PlaceRecord(place=place.name, removed=place.erase()) for place in self.places), *self._files()]
            searched, remaining = self._prove()
            certificate = Certificate(
                tool=f"recsys {metadata.version('recsys')}",
                subject=subject,
                dataset=record.dataset,
                started_at=started,
                finished_at=self.now(),
                places=tuple(done),
                searched_for=("the id", *(f"its {name} in hex and bytes" for name in HASH_NAMES)),
                searched=tuple(searched),
                not_searched=tuple(self._leftalone()),
                remaining=tuple(remaining),
            ).sealed()
            certificate.write(self.home.privacy / "certificates")
        return certificate

    def _files(self) -> Iterator[PlaceRecord]:
        """The home's files, then the raw dataset if that was asked for."""
        yield self._encodings()
        yield PlaceRecord(place="unfinished builds", removed=self._unfinished_builds())
        yield PlaceRecord(
            place="feature tables, offline store, exports, logs",
            removed=scrub_files(self.home.path, self.customer_id, self._skipped()),
        )
        yield PlaceRecord(place="working files of training", removed=self._working_files())
        if self.raw is not None:
            yield PlaceRecord(place="raw dataset", removed=self._raw(self.raw))

    def _encodings(self) -> PlaceRecord:
        place = "encoded texts and pictures"
        dataset = self.raw or self._home_dataset()
        if dataset is None:
            note = "the home's dataset is not there: `recsys retention` removes what no table needs"
            return PlaceRecord(place=place, removed={}, note=note)
        count = forget_customer_encodings(self.home, dataset, self.customer_id)
        return PlaceRecord(place=place, removed={"encodings": count} if count else {})

    def _home_dataset(self) -> Dataset | None:
        try:
            return Dataset.open(self.home.dataset_path())
        except RecsysError:
            return None

    def _unfinished_builds(self) -> dict[str, int]:
        """What a killed build left: half tables that nobody can search."""
        name = self.home.features.name
        found = [folder for folder in self.home.path.glob(f".{name}.*") if folder.is_dir()]
        for folder in found:
            shutil.rmtree(folder)
        return {folder.name: 1 for folder in found}

    def _working_files(self) -> dict[str, int]:
        """Files under runs/ that still hold him: a run makes them anew."""
        runs, needle = self.home.path / "runs", Needle(self.customer_id)
        found = sorted({finding.file for finding in search(runs, needle).findings}) if runs.is_dir() else []
        for file in found:
            file.unlink()
        return {str(file.relative_to(self.home.path)): 1 for file in found}

    def _raw(self, dataset: Dataset) -> dict[str, int]:
        record = self.home.record()
        before = dataset.fingerprint()
        removed = erase_from_dataset(dataset, self.customer_id)
        if removed and record is not None and record.features_of == before:
            self.home.remember_features(dataset.fingerprint())  # the tables hold what is left: he was taken out of both
        return removed

    def _prove(self) -> tuple[list[SearchRecord], list[str]]:
        needle = Needle(self.customer_id)
        roots = {"home": (self.home.path, self._skipped())}
        if self.raw is not None:
            roots["raw dataset"] = (self.raw.path.resolve(), ())
        records, remaining = [], []
        for name, (root, skip) in roots.items():
            report = search(root, needle, skip)
            records.append(SearchRecord(where=name, files=report.files, bytes=report.bytes))
            remaining += [f"{name}: {found.file.relative_to(root)} ({found.where})" for found in report.findings]
        for place in self.places:
            remaining += [f"{place.name}: {where}" for where in place.remaining()]
        return records, list(dict.fromkeys(remaining))

    def _skipped(self) -> tuple[Path, ...]:
        """The raw dataset, where it lies inside the home and nobody said to touch it."""
        path = self.home.dataset_path().resolve()
        inside = path.is_relative_to(self.home.path) and path != self.home.path
        return (path,) if inside and (self.raw is None or self.raw.path.resolve() != path) else ()

    def _leftalone(self) -> list[str]:
        path = self.home.dataset_path()
        if self.raw is not None and self.raw.path.resolve() == path.resolve():
            return []
        gone = "" if any(walk(path)) else ", which is not there"
        return [
            f"the raw dataset {path}{gone}: erase him there with --dataset; its rows of him are ignored from now on"
        ]


@contextmanager
def alone(home: Home) -> Iterator[None]:
    """Keeps a second erasure of this home out; the lock goes with the process.

    Raises:
        HomeError: another one is at work.
    """
    home.privacy.mkdir(parents=True, exist_ok=True)
    with (home.privacy / "erase.lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise HomeError(
                f"another erasure or retention run is at work in {home.path}: wait until it is done"
            ) from error
        yield
