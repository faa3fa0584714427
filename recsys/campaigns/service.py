"""What the marketing team does before anything is approved: plan, try an audience, have content made, plan again.

The command line and the server both call these. They are given a bank that is open (`CampaignBank`); who opens it is
the composition root's affair. What happens after a plan is written is `serving.campaigns.desk`'s.
"""

import json
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from rich.progress import Progress

from recsys.campaigns.brief import Brief
from recsys.campaigns.composing import ContentSource, compose_for_plan
from recsys.campaigns.content.composer import ComposerConfig, Skipped, compose_variants
from recsys.campaigns.content.facts import ProductFacts, facts_of
from recsys.campaigns.content.pictures import PictureConfig, illustrate
from recsys.campaigns.content.rewriting import Rewrites, Writer, rewrite_variants
from recsys.campaigns.content.tones import estimate_tone_lifts
from recsys.campaigns.content.variant import Variant
from recsys.campaigns.offers import campaign_products
from recsys.campaigns.plan import describe
from recsys.campaigns.plan_files import (
    MANIFEST,
    PLANNED_HASH,
    assignment_hash,
    require_free,
    verify_plan,
    write_json,
    write_plan,
)
from recsys.campaigns.planner import plan_campaign
from recsys.campaigns.source import CustomerSource
from recsys.errors import RecsysError
from recsys.schema import PRODUCT_ID


class CampaignBank(CustomerSource, ContentSource, Protocol):
    """A bank with its champion, and what else a campaign takes from it."""


class Content(NamedTuple):
    """What was composed for a brief."""

    variants: list[Variant]
    products: int
    segments: tuple[str, ...]
    skipped: list[Skipped]
    rewrites: Rewrites | None
    """What a language model did to the copy; None: none was asked."""


class Replayed(NamedTuple):
    """What came of planning again."""

    same: bool
    then: str
    now: str
    changed_versions: dict[str, dict[str, Any]]

    @property
    def broken(self) -> bool:
        """Whether the same of everything gave another plan."""
        return not self.same and not self.changed_versions


class Making(NamedTuple):
    """How a plan is made."""

    now: datetime
    compose: int = 0
    """Variants of copy for every product, segment, channel and language; 0: the bank's own creatives are sent."""
    progress: Progress | None = None


def make_plan(brief: Brief, bank: CampaignBank, out: Path, making: Making) -> dict[str, Any]:
    """Plans a brief and writes the plan's directory; returns plan.json with the manifest's hashes and `out`.

    Raises:
        RecsysError: the brief cannot be planned on this bank, or the directory exists or cannot be written; nothing is
            written then.
    """
    require_free(out)
    described = describe(plan_campaign(brief, bank, making.progress))
    with tempfile.TemporaryDirectory() as folder:
        if making.compose:
            described, creatives = compose_for_plan(described, bank, making.compose, Path(folder), making.progress)
        else:
            creatives = bank.creatives(described.assignments["content_id"].unique().to_list())
        manifest = write_plan(described, brief, creatives, out, making.now)
    hashes = {name: manifest[name] for name in ("assignment_hash", "brief_hash")}
    return {**described.summary, **hashes, "out": str(out)}


def replay_plan(folder: Path, bank: CampaignBank, progress: Progress | None = None) -> Replayed:
    """Plans a plan's brief again, and compares.

    Raises:
        RecsysError: the directory is no whole plan, or an export.
    """
    folder = folder.parent if folder.name == MANIFEST else folder
    said = verify_plan(folder)
    if not (folder / "plan.json").exists():
        raise RecsysError(f"{folder}: is an export, which has no salt: replay the plan that it was made of")
    summary = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
    brief = Brief.parse(summary["brief"], source=str(folder / "plan.json"))
    again = describe(plan_campaign(brief, bank, progress))
    found = assignment_hash(again.assignments)
    changed = {
        name: {"then": said["versions"].get(name), "now": value}
        for name, value in again.summary["versions"].items()
        if said["versions"].get(name) != value
    }
    then = said.get(PLANNED_HASH, said["assignment_hash"])
    return Replayed(found == then, then, found, changed)


class Rewriting(NamedTuple):
    """A language model that may rewrite copy."""

    writer: Writer
    most: int | None = None
    """How many variants it is asked about; None: all."""


def make_content(
    brief: Brief, bank: CampaignBank, out: Path, variants: int = 3, rewriting: Rewriting | None = None
) -> Content:
    """Composes copy and pictures for a brief's products and writes them to a directory, whole or not at all.

    Args:
        brief: whose channels, languages and tone count.
        bank: whose products.
        out: the directory: variants.json, report.json, tone_lifts.csv and images/; must not exist.
        variants: of each product, segment, channel and language, 3 to 5.
        rewriting: a language model that may rewrite the copy; None: none.

    Raises:
        RecsysError: the brief names what the bank does not have, or the directory exists or cannot be written.
    """
    require_free(out)
    facts = _facts_of(brief, bank)
    responses = bank.tone_responses()
    segments = tuple(sorted(set(responses["segment"].to_list()))) or ("",)
    config = ComposerConfig(
        segments=segments,
        channels=tuple(entry.channel for entry in brief.channels),
        languages=brief.languages,
        tones=None if brief.tone is None else (brief.tone,),
        variants=variants,
        seed=brief.seed,
    )
    lifts = estimate_tone_lifts(responses)
    made = compose_variants(list(facts.values()), config, lifts)
    rewrites = None
    if rewriting is not None:
        rewrites = rewrite_variants(made.variants, facts, rewriting.writer, most=rewriting.most)
    words = made.variants if rewrites is None else rewrites.variants
    temporary = out.with_name(f".{out.name}.partial")
    pictures = PictureConfig(provider=bank.dataset.config.name, seed=brief.seed)
    done = illustrate(words, facts, temporary / "images", pictures)
    content = Content(done, len(facts), segments, made.skipped, rewrites)
    try:
        write_json(temporary / "variants.json", [one.model_dump(mode="json") for one in done])
        write_json(temporary / "report.json", report_of(content))
        lifts.write_csv(temporary / "tone_lifts.csv")
        temporary.rename(out)
    except OSError as error:
        raise RecsysError(f"{out}: cannot be written: {error}") from error
    return content


def report_of(content: Content) -> dict[str, Any]:
    """What was made, for JSON."""
    rewrites = content.rewrites
    return {
        "variants": len(content.variants),
        "products": content.products,
        "segments": content.segments,
        "skipped": [one._asdict() for one in content.skipped],
        "rewrites": None
        if rewrites is None
        else {"accepted": rewrites.accepted, "rejected": rewrites.rejected, "reasons": rewrites.reasons},
    }


def _facts_of(brief: Brief, bank: CampaignBank) -> dict[str, ProductFacts]:
    wanted = {bank.products.ids[place] for place in campaign_products(brief, bank)}
    return {row[PRODUCT_ID]: facts_of(row) for row in bank.product_rows() if row[PRODUCT_ID] in wanted}
