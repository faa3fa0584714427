"""The certificate of an erasure: what was done, where it was looked for afterwards, and what was found."""

import hashlib
import json
import os
from datetime import datetime
from pathlib import Path
from typing import Any

from recsys.config import BaseConfig


class PlaceRecord(BaseConfig):
    """What was removed from one place."""

    place: str
    removed: dict[str, int]
    """File, table or store to rows, values or files; empty where he was not."""
    note: str = ""


class SearchRecord(BaseConfig):
    """One search after the erasure."""

    where: str
    files: int
    bytes: int


class Certificate(BaseConfig):
    """Says, without naming the customer, what became of his data."""

    tool: str
    """Program and version."""
    subject: str
    """The customer's keyed hash: whoever has the home's secret and the id can tell that this is his certificate."""
    dataset: str
    """Name of the home's dataset."""
    started_at: datetime
    finished_at: datetime
    places: tuple[PlaceRecord, ...]
    searched_for: tuple[str, ...]
    """The id, and the plain hashes of it."""
    searched: tuple[SearchRecord, ...]
    not_searched: tuple[str, ...]
    """What holds customers' data and was left alone because nobody said to touch it."""
    remaining: tuple[str, ...]
    """Where he was still found; empty when the erasure is complete."""
    sha256: str = ""
    """Of this certificate as canonical JSON without this field."""

    @property
    def complete(self) -> bool:
        """Whether he was found nowhere."""
        return not self.remaining

    def sealed(self) -> "Certificate":
        """The certificate with its own digest."""
        return self.model_copy(update={"sha256": self.digest()})

    def digest(self) -> str:
        """sha256 over all other fields.

        Equal for the same certificate read back from its file, so that a changed one is found out.
        """
        content = self.model_dump(mode="json", exclude={"sha256"})
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def write(self, folder: Path) -> Path:
        """Writes it as JSON and beside it as text; returns the JSON file."""
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{self.subject[:16]}-{self.finished_at:%Y%m%dT%H%M%S%fZ}.json"
        _write(file, json.dumps(self.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n")
        _write(file.with_suffix(".txt"), "\n".join(self.lines()) + "\n")
        return file

    def lines(self) -> list[str]:
        """The certificate for people to read."""
        state = "complete: he was found nowhere" if self.complete else "NOT COMPLETE"
        lines = [
            f"Certificate of erasure ({state})",
            f"  customer   keyed hash {self.subject}",
            f"  dataset    {self.dataset}",
            f"  time       {self.started_at.isoformat()} to {self.finished_at.isoformat()}",
            f"  tool       {self.tool}",
        ]
        for place in self.places:
            total = sum(place.removed.values())
            lines.append(f"  removed    {total:>8,}  {place.place}{f' ({place.note})' if place.note else ''}")
            lines += [f"             {count:>8,}    {name}" for name, count in place.removed.items()]
        for record in self.searched:
            lines.append(f"  searched   {record.where}: {record.files:,} files, {record.bytes:,} bytes")
        lines.append(f"  for        {', '.join(self.searched_for)}")
        lines += [f"  not touched {what}" for what in self.not_searched]
        lines += [f"  REMAINS    {what}" for what in self.remaining]
        return [*lines, f"  sha256     {self.sha256}"]


def read_certificate(file: Path) -> Certificate:
    """A certificate from its file.

    Raises:
        ConfigError: it is none.
    """
    values: Any = json.loads(file.read_text(encoding="utf-8"))
    return Certificate.parse(values, str(file))


def _write(file: Path, text: str) -> None:
    unfinished = file.with_name(f".{file.name}.partial")
    with unfinished.open("w", encoding="utf-8") as handle:
        handle.write(text)
        handle.flush()
        os.fsync(handle.fileno())
    unfinished.replace(file)
