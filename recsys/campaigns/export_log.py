"""Who took what out of the house, and who tried: one line an export, appended to the home's log."""

import json
import os
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from recsys.errors import RecsysError

LOG: Final = "campaign_exports.jsonl"


def log_export(home: Path, manifest: dict[str, Any], out: Path, by: str) -> None:
    """Appends a line, durably; it names files, hashes and who did it, and no customer.

    Raises:
        RecsysError: it cannot be written.
    """
    kept = ("campaign_id", "exported_at", "rows", "assignment_hash")
    _append(home, {**{name: manifest[name] for name in kept}, "out": str(out), "by": by})


def log_refusal(home: Path, plan: Path, by: str, why: str, now: datetime) -> None:
    """Appends a line about an export that was not allowed.

    Raises:
        RecsysError: it cannot be written.
    """
    _append(home, {"refused_at": now.isoformat(), "plan": str(plan), "by": by, "why": why})


def _append(home: Path, line: dict[str, Any]) -> None:
    try:
        home.mkdir(parents=True, exist_ok=True)
        with (home / LOG).open("a", encoding="utf-8") as handle:
            handle.write(json.dumps(line, ensure_ascii=False) + "\n")
            handle.flush()
            os.fsync(handle.fileno())
    except OSError as error:
        raise RecsysError(f"{home / LOG}: cannot be written: {error}") from error
