"""Who took what out of the house: one line an export, appended to the home's log."""

import json
import os
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
    line = {**{name: manifest[name] for name in kept}, "out": str(out), "by": by}
    try:
        home.mkdir(parents=True, exist_ok=True)
        with (home / LOG).open("a", encoding="utf-8") as handle:
            handle.write(json.dumps(line, ensure_ascii=False) + "\n")
            handle.flush()
            os.fsync(handle.fileno())
    except OSError as error:
        raise RecsysError(f"{home / LOG}: cannot be written: {error}") from error
