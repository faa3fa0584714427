"""A dataset becomes a folder of feature tables and their manifest, all or nothing."""

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from rich.progress import Progress

from recsys.data.contract import Dataset
from recsys.errors import FeatureError, RecsysError
from recsys.features.behaviour import plan_behaviour
from recsys.features.config import FeatureConfig
from recsys.features.consent import Consent
from recsys.features.contents import plan_contents
from recsys.features.customers import plan_profile
from recsys.features.history import plan_history
from recsys.features.images import plan_images
from recsys.features.plan import CustomerRange, Encodings, Sources, ViewPlan, customer_ranges
from recsys.features.products import plan_products
from recsys.features.spec import MANIFEST_FILE, Entity, FeatureManifest
from recsys.features.tables import TableWriter, conform
from recsys.features.text import plan_text
from recsys.features.transactions import plan_transactions
from recsys.schema import CUSTOMER_ID, Table

__all__ = ["BuildReport", "FeatureConfig", "build_features", "is_current"]

BUILD_VERSION: Final = 4
"""Raised with every change to what the tables hold, so that tables of older code are built anew."""
CONFIG_FILE: Final = "config.json"
"""What the tables were built with: who redacts or prunes later must do it in the same way."""
USED_ENCODINGS_FILE: Final = "encodings.npy"
"""The cache keys of all texts and pictures in the tables; what else the cache holds is of no use to them."""
_REPORT_FILE = "report.json"


@dataclass(frozen=True)
class BuildReport:
    """What a build did."""

    manifest: FeatureManifest
    changed: bool
    """False: the tables of this very dataset and config were there already, nothing was done."""
    rows: dict[str, int]
    """View name to rows."""
    missing: dict[str, int]
    """View name to blank texts or unreadable pictures that became a missing modality."""


def build_features(
    dataset: Dataset, folder: Path, encodings: Path, config: FeatureConfig, progress: Progress | None = None
) -> BuildReport:
    """Builds every feature table of a dataset, unless they are there already.

    Tables are written beside `folder` and take its place when all are complete, manifest included: a build that is
    killed leaves what was there before. Customers are worked on in ranges of `config.bucket_customers`.

    Args:
        dataset: a valid dataset.
        folder: where the tables and manifest.json go; it belongs to this function.
        encodings: the cache of encoded texts and pictures.
        config: what to build.
        progress: where to show how far it is.

    Raises:
        FeatureError: a number is not finite, or text or image features are refused.
        ConfigError: an encoder cannot be loaded, or a declared feature is forbidden.
    """
    fingerprint = _fingerprint(dataset, config, progress)
    present = _present(folder)
    if present is not None and present.fingerprint == fingerprint:
        return _report(folder, present, changed=False)
    building = folder.with_name(f".{folder.name}.building")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    try:
        sources = Sources(dataset, config, Encodings(encodings, config, progress), Consent(dataset))
        plans = _plan(sources)
        rows = _write_tables(plans, building, dataset, config, progress)
        manifest = _manifest(fingerprint, sources, plans)
        facts = {"rows": rows, "missing": {name: n for name, n in sources.encodings.missing.items() if n}}
        np.save(building / USED_ENCODINGS_FILE, sources.encodings.used_keys())
        (building / CONFIG_FILE).write_text(config.model_dump_json(indent=2))
        (building / _REPORT_FILE).write_text(json.dumps(facts, indent=2))
        (building / MANIFEST_FILE).write_text(manifest.model_dump_json(indent=2))
        _swap(building, folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return _report(folder, manifest, changed=True)


def is_current(dataset: Dataset, folder: Path, config: FeatureConfig) -> bool:
    """Whether `build_features` would have nothing to do: this very dataset and config were built already."""
    present = _present(folder)
    return present is not None and present.fingerprint == _fingerprint(dataset, config)


def _present(folder: Path) -> FeatureManifest | None:
    """The manifest of the tables that are there; None where there are none, or only such as older code wrote."""
    if not (folder / _REPORT_FILE).exists():
        return None
    try:
        return FeatureManifest.read(folder)
    except RecsysError:
        return None


def _fingerprint(dataset: Dataset, config: FeatureConfig, progress: Progress | None = None) -> str:
    content = f"{BUILD_VERSION}|{dataset.fingerprint(progress)}|{config.model_dump_json()}|{dataset.excluded.digest}"
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _plan(sources: Sources) -> list[ViewPlan]:
    customer = (plan_profile, plan_behaviour, plan_transactions, plan_history, plan_text, plan_images)
    plans = [plan for make in customer if (plan := make(sources)) is not None]
    return plans + plan_products(sources) + plan_contents(sources)


def _write_tables(
    plans: list[ViewPlan], folder: Path, dataset: Dataset, config: FeatureConfig, progress: Progress | None
) -> dict[str, int]:
    ids = dataset.scan(Table.CUSTOMERS).select(pl.col(CUSTOMER_ID).unique().sort()).collect().to_series().to_list()
    ranges = customer_ranges(ids, config.bucket_customers)
    steps = sum(len(ranges) if plan.view.entity is Entity.CUSTOMER else 1 for plan in plans)
    task = progress.add_task("building features", total=steps) if progress else None
    rows = {}
    for plan in plans:
        with TableWriter(folder, plan.view) as writer:
            for customers in ranges if plan.view.entity is Entity.CUSTOMER else [CustomerRange()]:
                if progress and task is not None:
                    progress.update(task, description=f"building {plan.view.name}")
                for frame in plan.frames(customers):
                    writer.write(conform(frame, plan.view, plan.source))
                if progress and task is not None:
                    progress.advance(task)
        rows[plan.view.name] = writer.rows
    return rows


def _manifest(fingerprint: str, sources: Sources, plans: list[ViewPlan]) -> FeatureManifest:
    encodings = sources.encodings
    views = tuple(plan.view for plan in plans)
    return FeatureManifest(
        dataset=sources.dataset.config.name,
        fingerprint=fingerprint,
        history_length=sources.config.history_length,
        text_encoder=encodings.text_identity,
        image_encoder=encodings.image_identity,
        views=views,
    )


def _swap(building: Path, folder: Path) -> None:
    """Puts the complete folder in place of the old one."""
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    try:
        if folder.exists():
            folder.rename(old)
        building.rename(folder)
    except OSError as error:
        raise FeatureError(f"{folder} could not be replaced: {error}") from error
    shutil.rmtree(old, ignore_errors=True)


def _report(folder: Path, manifest: FeatureManifest, *, changed: bool) -> BuildReport:
    facts = json.loads((folder / _REPORT_FILE).read_text())
    return BuildReport(manifest, changed, facts["rows"], facts["missing"])
