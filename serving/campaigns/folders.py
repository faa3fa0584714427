"""Where the studio's plans lie: `<home>/campaigns/<campaign>/plan-...`, one at a time a campaign."""

import shutil
from pathlib import Path


def prune(folder: Path, keep: Path) -> None:
    """Deletes the plans of a campaign but one: they name customers, and are nobody's any more."""
    for other in folder.glob("plan-*"):
        if other.name != keep.name:
            shutil.rmtree(other, ignore_errors=True)
