"""Copy and pictures for a plan: composed for whoever it contacts, and put in the places of the bank's creatives."""

from pathlib import Path
from typing import Any, Protocol

import polars as pl
from rich.progress import Progress

from recsys.campaigns.brief import Brief
from recsys.campaigns.content.composer import compose_variants
from recsys.campaigns.content.facts import facts_of
from recsys.campaigns.content.pictures import PictureConfig, illustrate
from recsys.campaigns.content.tones import estimate_tone_lifts
from recsys.campaigns.content.variant import Variant
from recsys.campaigns.dressing import cells_of, dress
from recsys.campaigns.plan import Plan
from recsys.campaigns.plan_files import PLANNED_HASH, Creatives, assignment_hash
from recsys.data.contract import Dataset
from recsys.schema import PRODUCT_ID


class ContentSource(Protocol):
    """What copy and pictures are made of."""

    dataset: Dataset

    def creatives(self, used: list[str]) -> Creatives:
        """The copy and pictures of creatives, in the form of a plan's variants."""

    def product_rows(self) -> list[dict[str, Any]]:
        """The catalogue's rows."""

    def tone_responses(self) -> pl.DataFrame:
        """Who answered to which tone, as `estimate_tone_lifts` reads it."""


def compose_for_plan(
    plan: Plan, bank: ContentSource, variants: int, folder: Path, progress: Progress | None = None
) -> tuple[Plan, Creatives]:
    """The plan with composed copy, and its creatives with their pictures.

    Args:
        plan: what is to be dressed.
        bank: whose products and log.
        variants: of each product, segment, channel and language.
        folder: where the new pictures are put.
        progress: where it says how far it is.
    """
    brief = Brief.parse(plan.summary["brief"], source="the plan")
    dressed = dress(plan.assignments, _compose(plan, brief, bank, variants, (folder, progress)), brief)
    plain = bank.creatives(dressed.plain)
    images = {one["image"]: folder / one["image"] for one in dressed.variants if one["image"]}
    summary = {**plan.summary, PLANNED_HASH: assignment_hash(plan.assignments), "composed": len(dressed.variants)}
    creatives = Creatives([*dressed.variants, *plain.variants], {**plain.images, **images})
    return plan._replace(assignments=dressed.assignments, summary=summary), creatives


def _compose(
    plan: Plan, brief: Brief, bank: ContentSource, variants: int, made_in: tuple[Path, Progress | None]
) -> list[Variant]:
    folder, progress = made_in
    wanted = cells_of(plan.assignments, brief, plan.summary["in_app_channels"])
    lifts = estimate_tone_lifts(bank.tone_responses())
    facts = {row[PRODUCT_ID]: facts_of(row) for row in bank.product_rows()}
    pictures = PictureConfig(provider=bank.dataset.config.name, seed=brief.seed)
    task = progress.add_task("composing copy and pictures", total=len(wanted)) if progress else None
    done = []
    for product, config in wanted.items():
        made = compose_variants([facts[product]], config.model_copy(update={"variants": variants}), lifts)
        done += illustrate(made.variants, facts, folder, pictures)
        if progress and task is not None:
            progress.advance(task)
    return done
