"""Deletes what is past its time: how long each kind of data is kept, and the files among them."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from pydantic import Field

from recsys.config import BaseConfig
from recsys.errors import HomeError
from recsys.home import Home
from recsys.privacy.encodings import prune_encodings
from recsys.privacy.erasure import alone


class RetentionConfig(BaseConfig):
    """Days after which each kind goes."""

    events: int = Field(default=730, ge=1)
    """What customers did in the app."""
    contacts: int = Field(default=365, ge=1)
    """When they were contacted; at least as long as the longest contact cap looks back."""
    decisions: int = Field(default=1825, ge=1)
    """Decisions are made anonymous, their links in the hash chain stay."""
    encodings: int = Field(default=30, ge=1)
    """Encoded texts and pictures that no feature table needs any more."""
    logs: int = Field(default=90, ge=1)
    """Files under <home>/logs, counted from their last line."""
    runs: int = Field(default=30, ge=1)
    """Working files of trainings that were broken off."""


class Expiry(NamedTuple):
    """One kind of data and how what is past its time goes."""

    kind: str
    """A field of RetentionConfig."""
    expire: Callable[[datetime, bool], int]
    """Deletes what is from before an instant, or only counts it (dry run); returns how many."""


class Expired(NamedTuple):
    """What a run deleted of one kind."""

    kind: str
    before: datetime
    removed: int
    """Rows, vectors or files; in a dry run those that would go."""


@dataclass(frozen=True)
class Retention:
    """The retention of one home."""

    home: Home
    config: RetentionConfig
    stores: Sequence[Expiry] = ()
    """The kinds that lie in databases."""

    def run(self, now: datetime, *, dry_run: bool = False) -> list[Expired]:
        """Deletes, or counts, what is past its time at `now`.

        Raises:
            HomeError: the home is empty, or an erasure is running.
        """
        if self.home.record() is None:
            raise HomeError(f"the home {self.home.path} is empty: there is nothing to keep or delete")
        kinds = [
            *self.stores,
            Expiry("encodings", lambda before, dry: prune_encodings(self.home, before, dry_run=dry)),
            Expiry("logs", lambda before, dry: _expire(self.home.path / "logs", before, dry)),
            Expiry("runs", lambda before, dry: _expire(self.home.path / "runs", before, dry)),
        ]
        with alone(self.home):
            return [self._expire(kind, now, dry_run) for kind in kinds]

    def _expire(self, expiry: Expiry, now: datetime, dry_run: bool) -> Expired:
        before = now - timedelta(days=getattr(self.config, expiry.kind))
        return Expired(expiry.kind, before, expiry.expire(before, dry_run))


def _expire(folder: Path, before: datetime, dry_run: bool) -> int:
    """Deletes what lies in a folder and was last changed before an instant, a folder by its newest file."""
    old = [entry for entry in sorted(folder.glob("*")) if _last_change(entry) < before.timestamp()]
    for entry in [] if dry_run else old:
        if entry.is_dir():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    return len(old)


def _last_change(entry: Path) -> float:
    files = [entry, *(entry.rglob("*") if entry.is_dir() else ())]
    return max(file.stat().st_mtime for file in files)
