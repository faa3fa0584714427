"""A plan as a directory: written beside its place and moved there as a whole, with a manifest of what is in it."""

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import polars as pl

from recsys.campaigns.brief import Brief
from recsys.campaigns.pictures import draw_waterfall
from recsys.campaigns.plan import KEYS, Plan
from recsys.errors import RecsysError

MANIFEST: Final = "manifest.json"
PLANNED_HASH: Final = "planned_hash"
"""Of the assignments as they were planned, before composed copy took creatives' places: what a replay gives again."""
_BLOCK: Final = 1 << 20


class Creatives(NamedTuple):
    """The creatives that a plan uses."""

    variants: Sequence[Mapping[str, Any]]
    """Their copy, as variants.json keeps it."""
    images: Mapping[str, Path]
    """File names in the plan's folder `images` to the pictures to copy."""


def write_plan(plan: Plan, brief: Brief, creatives: Creatives, out: Path, created_at: datetime) -> dict[str, Any]:
    """Writes the directory; returns its manifest.

    Args:
        plan: what it says.
        brief: what was asked for.
        creatives: what it sends.
        out: the directory; must not exist.
        created_at: now.

    Raises:
        RecsysError: the directory exists or cannot be written.
    """
    require_free(out)
    temporary = out.with_name(f".{out.name}.partial")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        summary = {**plan.summary, "created_at": created_at.isoformat()}
        write_json(temporary / "plan.json", summary)
        write_json(temporary / "variants.json", list(creatives.variants))
        plan.assignments.write_parquet(temporary / "assignments.parquet")
        plan.holdout.write_parquet(temporary / "holdout.parquet")
        plan.reachable.write_parquet(temporary / "reachable.parquet")
        draw_waterfall(plan.waterfall, brief.name, temporary / "waterfall.png")
        (temporary / "images").mkdir()
        for name, file in sorted(creatives.images.items()):
            shutil.copyfile(file, temporary / "images" / name)
        manifest = _manifest(temporary, plan, brief)
        write_json(temporary / MANIFEST, manifest)
        temporary.rename(out)
    except OSError as error:
        raise RecsysError(f"{out}: cannot be written: {error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return manifest


def require_free(out: Path) -> None:
    """Refuses a directory that is there already: a plan is never changed.

    Raises:
        RecsysError: it is there.
    """
    if out.exists():
        raise RecsysError(f"{out}: is there already, and a plan is never changed: name another directory with --out")


def assignment_hash(assignments: pl.DataFrame) -> str:
    """sha256 of who gets what: the lines `customer_id,product_id,content_id,channel,slot`, sorted by them.

    Fields are quoted as in RFC 4180 where they hold a comma, a quote or a line end.
    """
    lines = assignments.select(KEYS).sort(KEYS).write_csv(include_header=False, line_terminator="\n")
    return hashlib.sha256(lines.encode()).hexdigest()


def verify_plan(folder: Path) -> dict[str, Any]:
    """The manifest of a plan's directory, after a look at every file in it.

    Raises:
        RecsysError: it is no plan, or a file is missing, was changed or was added.
    """
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        said = manifest["files"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RecsysError(f"{folder}: is no plan ({error}): make one with `recsys campaign plan`") from error
    there = {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()} - {MANIFEST}
    wrong = [f"{name} is missing" for name in sorted(set(said) - there)]
    wrong += [f"{name} was added" for name in sorted(there - set(said))]
    wrong += [f"{name} was changed" for name in sorted(there & set(said)) if fingerprint(folder / name) != said[name]]
    if wrong:
        raise RecsysError(f"{folder}: is not the plan that was made: {'; '.join(wrong)}: plan again")
    return manifest


def _manifest(folder: Path, plan: Plan, brief: Brief) -> dict[str, Any]:
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {
        "campaign_id": brief.campaign_id,
        "files": {str(file.relative_to(folder)): fingerprint(file) for file in files},
        "assignment_hash": assignment_hash(plan.assignments),
        PLANNED_HASH: plan.summary.get(PLANNED_HASH) or assignment_hash(plan.assignments),
        "brief_hash": brief.hash(),
        "versions": plan.summary["versions"],
    }


def fingerprint(file: Path) -> dict[str, Any]:
    """sha256 and size."""
    digest = hashlib.sha256()
    with file.open("rb") as handle:
        while block := handle.read(_BLOCK):
            digest.update(block)
    return {"sha256": digest.hexdigest(), "bytes": file.stat().st_size}


def write_json(file: Path, value: Any) -> None:
    """Writes a value for people and programs."""
    file.write_text(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
