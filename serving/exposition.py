"""What /metrics says: of this worker, or of all workers together where there are several.

Several workers write their numbers into files of one folder (prometheus_client's multiprocess mode), which the
environment names before the library is imported.
"""

import os
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest

LIBRARY_VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
FOLDER_VARIABLE: Final = "RECSYS_METRICS_FOLDER"
"""Ours beside the library's: Feast sets the library's too, when it is imported, to a folder that nobody writes into."""


def start_shared(folder: Path) -> None:
    """Lets the workers that are started from now on count together; what earlier ones left is removed."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for old in folder.glob("*.db"):
        old.unlink(missing_ok=True)
    os.environ[LIBRARY_VARIABLE] = os.environ[FOLDER_VARIABLE] = str(folder)


def exposition(registry: CollectorRegistry) -> bytes:
    """The text for Prometheus."""
    folder = os.environ.get(FOLDER_VARIABLE)
    if folder is None:
        return generate_latest(registry)
    from prometheus_client.multiprocess import MultiProcessCollector

    forget_dead(Path(folder))
    together = CollectorRegistry()
    MultiProcessCollector(together, path=folder)
    return generate_latest(together)


def forget_dead(folder: Path) -> None:
    """Removes the gauges of workers that are gone; what they counted stays counted."""
    from prometheus_client.multiprocess import mark_process_dead

    for pid in {file.stem.rpartition("_")[2] for file in folder.glob("gauge_live*.db")}:
        if pid.isdigit() and not _is_alive(int(pid)):
            mark_process_dead(int(pid), path=str(folder))


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
