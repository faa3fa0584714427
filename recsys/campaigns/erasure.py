"""Takes a customer off the lists of campaigns that lie in files: plans, and messages that wait to be collected."""

import json
from collections.abc import Iterable
from pathlib import Path

import polars as pl

from recsys.campaigns.plan_files import MANIFEST, assignment_hash, fingerprint, write_json
from recsys.schema import CUSTOMER_ID

_LISTS = ("assignments.parquet", "holdout.parquet", "reachable.parquet")
_ASSIGNMENTS = _LISTS[0]


def erase_from_plans(plans: Iterable[Path], customer: str) -> dict[str, int]:
    """Removes his rows from plans' directories; their manifests follow, and count the erasures.

    A plan that was approved with him in it is not what was approved any more: it must be submitted again before it can
    be launched. What was launched is in the SQL store and goes from there.

    Returns:
        Directory to rows that were removed.
    """
    removed: dict[str, int] = {}
    for plan in plans:
        if count := sum(_remove(plan / name, customer) for name in _LISTS):
            _follow(plan)
            removed[str(plan)] = count
    return removed


def find_in_plans(plans: Iterable[Path], customer: str) -> list[str]:
    """The lists that name him."""
    return [str(plan / name) for plan in plans for name in _LISTS if _count(plan / name, customer)]


def erase_messages(folder: Path, customer: str) -> dict[str, int]:
    """Deletes the messages to him that nobody has collected from a folder."""
    mine = [file for file in folder.rglob("*.json") if _is_to(file, customer)]
    for file in mine:
        file.unlink(missing_ok=True)
    return {str(folder): len(mine)} if mine else {}


def find_messages(folder: Path, customer: str) -> list[str]:
    """The files with messages to him."""
    return [str(file) for file in folder.rglob("*.json") if _is_to(file, customer)]


def _remove(file: Path, customer: str) -> int:
    count = _count(file, customer)
    if count:
        temporary = file.with_name(f".{file.name}.partial")
        pl.read_parquet(file).filter(pl.col(CUSTOMER_ID) != customer).write_parquet(temporary)
        temporary.rename(file)
    return count


def _count(file: Path, customer: str) -> int:
    if not file.exists():
        return 0
    return int(pl.scan_parquet(file).filter(pl.col(CUSTOMER_ID) == customer).select(pl.len()).collect().item())


def _follow(plan: Path) -> None:
    path = plan / MANIFEST
    manifest = json.loads(path.read_text(encoding="utf-8"))
    manifest["files"] |= {name: fingerprint(plan / name) for name in _LISTS if name in manifest["files"]}
    manifest["assignment_hash"] = assignment_hash(pl.read_parquet(plan / _ASSIGNMENTS))
    manifest["erasures"] = manifest.get("erasures", 0) + 1
    temporary = path.with_name(f".{path.name}.partial")
    write_json(temporary, manifest)
    temporary.rename(path)


def _is_to(file: Path, customer: str) -> bool:
    try:
        message = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(message, dict) and message.get("recipient") == customer
