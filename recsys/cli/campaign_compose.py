"""Copy and pictures for a plan: composed for whoever it contacts, and put in the places of the bank's creatives."""

from pathlib import Path
from typing import TYPE_CHECKING

from rich.progress import Progress

if TYPE_CHECKING:
    from recsys.campaigns.brief import Brief
    from recsys.campaigns.content.variant import Variant
    from recsys.campaigns.plan import Plan
    from recsys.campaigns.plan_files import Creatives
    from training.campaign import BankCustomers


def compose_for_plan(
    plan: "Plan", bank: "BankCustomers", variants: int, folder: Path, progress: Progress | None = None
) -> "tuple[Plan, Creatives]":
    """The plan with composed copy, and its creatives with their pictures.

    Args:
        plan: what is to be dressed.
        bank: whose products and log.
        variants: of each product, segment, channel and language.
        folder: where the new pictures are put.
        progress: where it says how far it is.
    """
    from recsys.campaigns.brief import Brief
    from recsys.campaigns.dressing import dress
    from recsys.campaigns.plan_files import PLANNED_HASH, Creatives, assignment_hash

    brief = Brief.parse(plan.summary["brief"], source="the plan")
    dressed = dress(plan.assignments, _compose(plan, brief, bank, variants, folder, progress), brief)
    plain = bank.creatives(dressed.plain)
    images = {one["image"]: folder / one["image"] for one in dressed.variants if one["image"]}
    summary = {**plan.summary, PLANNED_HASH: assignment_hash(plan.assignments), "composed": len(dressed.variants)}
    creatives = Creatives([*dressed.variants, *plain.variants], {**plain.images, **images})
    return plan._replace(assignments=dressed.assignments, summary=summary), creatives


def _compose(
    plan: "Plan", brief: "Brief", bank: "BankCustomers", variants: int, folder: Path, progress: Progress | None
) -> "list[Variant]":
    from recsys.campaigns.content.composer import compose_variants
    from recsys.campaigns.content.facts import facts_of
    from recsys.campaigns.content.pictures import PictureConfig, illustrate
    from recsys.campaigns.content.tones import estimate_tone_lifts
    from recsys.campaigns.dressing import cells_of
    from training.campaign_tones import read_tone_responses

    wanted = cells_of(plan.assignments, brief)
    lifts = estimate_tone_lifts(read_tone_responses(bank.dataset, bank.as_of))
    facts = {row["product_id"]: facts_of(row) for row in bank.bundle.products.iter_rows(named=True)}
    pictures = PictureConfig(provider=bank.dataset.config.name, seed=brief.seed)
    task = progress.add_task("composing copy and pictures", total=len(wanted)) if progress else None
    done = []
    for product, config in wanted.items():
        made = compose_variants([facts[product]], config.model_copy(update={"variants": variants}), lifts)
        done += illustrate(made.variants, facts, folder, pictures)
        if progress and task is not None:
            progress.advance(task)
    return done
