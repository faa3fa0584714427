"""From a plan's directory to what is approved and sent: the digest of an approval, and the ids of messages."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from recsys.campaigns.brief import Brief, canonical_json
from recsys.campaigns.plan_files import assignment_hash, verify_plan
from recsys.errors import RecsysError

_PINNED = ("content_id", "content_hash", "product_id", "product_version")


class PlannedCampaign(NamedTuple):
    """A plan, read back and found whole."""

    brief: Brief
    manifest: dict[str, Any]
    summary: dict[str, Any]
    variants: list[dict[str, Any]]
    assignments: pl.DataFrame
    digest: str


def read_plan(folder: Path) -> PlannedCampaign:
    """Reads a plan's directory.

    Raises:
        RecsysError: it is not whole, its assignments are not those of its hash, or they name a creative that it lacks.
    """
    manifest = verify_plan(folder)
    summary = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
    variants = json.loads((folder / "variants.json").read_text(encoding="utf-8"))
    assignments = pl.read_parquet(folder / "assignments.parquet")
    if assignment_hash(assignments) != manifest["assignment_hash"]:
        raise RecsysError(f"{folder}: the assignments are not those of the manifest: plan again")
    if missing := sorted(set(assignments["content_id"].to_list()) - {one["content_id"] for one in variants}):
        raise RecsysError(f"{folder}: no copy of {', '.join(missing[:5])}: plan again")
    brief = Brief.parse(summary["brief"], source=str(folder / "plan.json"))
    return PlannedCampaign(brief, manifest, summary, variants, assignments, digest_of(manifest, variants))


def digest_of(manifest: Mapping[str, Any], variants: list[dict[str, Any]]) -> str:
    """sha256 of who gets what, in which words, about which version of which product."""
    words = sorted([str(variant[name]) for name in _PINNED] for variant in variants)
    pinned = {"assignments": manifest["assignment_hash"], "brief": manifest["brief_hash"], "variants": words}
    return hashlib.sha256(canonical_json(pinned).encode()).hexdigest()


def message_id(campaign_id: str, row: Mapping[str, Any]) -> str:
    """The same for the same thing sent to the same customer, however often it is planned."""
    parts = (campaign_id, *(str(row[name]) for name in ("customer_id", "product_id", "content_id", "channel", "slot")))
    return hashlib.sha256("".join(f"{len(part)}:{part}" for part in parts).encode()).hexdigest()
