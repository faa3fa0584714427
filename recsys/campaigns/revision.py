"""A plan with other words: a new directory beside the old one, for a plan's own is never changed."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from recsys.campaigns.brief import Brief
from recsys.campaigns.dressing import redress
from recsys.campaigns.plan_files import MANIFEST, assignment_hash, fingerprint, require_free, verify_plan, write_json
from recsys.errors import RecsysError
from recsys.schema import CONTENT_ID

_VARIANTS = "variants.json"
_ASSIGNMENTS = "assignments.parquet"


def revise_plan(plan: Path, variants: Sequence[dict[str, Any]], out: Path) -> dict[str, Any]:
    """Writes a plan again with other variants; returns the new manifest.

    Args:
        plan: the directory.
        variants: those that may be sent, edited or not; customers of one that is missing get another of its cell.
        out: the new directory; must not exist.

    Raises:
        RecsysError: the plan is not whole, somebody would be left with no words, or the directory cannot be written.
    """
    manifest = verify_plan(plan)
    require_free(out)
    before = json.loads((plan / _VARIANTS).read_text(encoding="utf-8"))
    brief = Brief.parse(json.loads((plan / "plan.json").read_text(encoding="utf-8"))["brief"], source=str(plan))
    dropped = {one[CONTENT_ID] for one in before} - {one[CONTENT_ID] for one in variants}
    try:
        assignments = redress(pl.read_parquet(plan / _ASSIGNMENTS), variants, dropped, brief)
    except ValueError as error:
        raise RecsysError(f"nothing is left to send to {error}: keep one of its variants, or plan again") from error
    temporary = out.with_name(f".{out.name}.partial")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        shutil.copytree(plan, temporary)
        write_json(temporary / _VARIANTS, list(variants))
        assignments.write_parquet(temporary / _ASSIGNMENTS)
        shown = {one["image"] for one in variants if one["image"]}
        for picture in (temporary / "images").iterdir():
            if picture.name not in shown:
                picture.unlink()
        manifest["assignment_hash"] = assignment_hash(assignments)
        files = sorted(file for file in temporary.rglob("*") if file.is_file() and file.name != MANIFEST)
        manifest["files"] = {str(file.relative_to(temporary)): fingerprint(file) for file in files}
        write_json(temporary / MANIFEST, manifest)
        temporary.rename(out)
    except OSError as error:
        raise RecsysError(f"{out}: cannot be written: {error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return manifest
