"""Marketing creatives: copy in several tones and angles, pictures, and when each was on show."""

import hashlib
import random
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from recsys.drawing.picture import PictureSpec
from recsys.simulator.catalogue import Catalogue
from recsys.simulator.config import SimulatorConfig
from recsys.simulator.lexicon import Lexicon, capitalise, draw
from recsys.simulator.products import UTC_TIME, Product, fact_slots
from recsys.simulator.world import ANGLES, CHANNEL_NAMES, LAYOUTS, NEEDS, PALETTES, SCENES, STYLES, TONES, Bools, Ints

CONTENT_SCHEMA: Final = pl.Schema(
    {
        "content_id": pl.String(),
        "event_timestamp": UTC_TIME,
        "product_id": pl.String(),
        "channel": pl.String(),
        "language": pl.String(),
        "headline": pl.String(),
        "body": pl.String(),
        "call_to_action": pl.String(),
        "disclaimer": pl.String(),
        "image_path": pl.String(),
        "tone": pl.String(),
        "status": pl.String(),
        "content_hash": pl.String(),
        "approved_hash": pl.String(),
        "valid_from": UTC_TIME,
        "valid_to": UTC_TIME,
        "ai_generated": pl.Boolean(),
    }
)
_COPY = ("headline", "body", "call_to_action", "disclaimer")
ANY_CHANNEL = -1


@dataclass
class Creative:
    """One creative with its true properties; `row` holds the canonical columns as of its first day."""

    row: dict[str, Any]
    product: int
    angle: str
    picture: PictureSpec
    first_day: int
    last_day: int
    """Days of the period on which it may be shown, both included; none when first > last."""
    changes: list[tuple[int, dict[str, Any]]]

    @property
    def id(self) -> str:
        """The content_id."""
        return str(self.row["content_id"])


@dataclass
class Creatives:
    """All creatives and, row for row, the arrays that the simulation runs on. A creatives, D days."""

    items: list[Creative]
    product: Ints
    tone: Ints
    angle: Ints
    scene: Ints
    palette: Ints
    style: Ints
    layout: Ints
    """[A] each: index into catalogue, TONES, ANGLES, SCENES, PALETTES, STYLES, LAYOUTS."""
    suits: Bools
    """[A]: the scene is one of the product's own."""
    channel: Ints
    """[A]: index into CHANNELS, or ANY_CHANNEL."""
    live: Bools
    """[D, A]: approved and valid during the whole day."""

    def frame(self, config: SimulatorConfig, folder: Path) -> pl.DataFrame:
        """The contents table; `folder` holds the pictures, which are part of what is approved."""
        rows = []
        for item in self.items:
            picture = hashlib.sha256((folder / item.row["image_path"]).read_bytes()).hexdigest()
            facts = dict(item.row)
            rows.append(_hashed(facts, picture))
            for day, changed in item.changes:
                facts = {**facts, **changed, "event_timestamp": config.start + timedelta(days=day)}
                rows.append(_hashed(facts, picture))
        return pl.DataFrame(rows, schema=CONTENT_SCHEMA).sort("content_id", "event_timestamp")


def build_creatives(
    catalogue: Catalogue, config: SimulatorConfig, lexicon: Lexicon, seed: np.random.SeedSequence
) -> Creatives:
    """Draws all creatives of a bank."""
    rng = random.Random(int(np.random.default_rng(seed).integers(2**62)))
    low, high = config.creatives_per_product
    owners = [product for product in catalogue.products for _ in range(rng.randint(low, high))]
    rng.shuffle(owners)  # an id must not tell the product
    items = [_build_one(number, product, config, lexicon, rng) for number, product in enumerate(owners)]
    live = np.zeros((config.days, len(items)), bool)
    for column, item in enumerate(items):
        live[max(item.first_day, 0) : item.last_day + 1, column] = True
    return Creatives(
        items=items,
        product=np.array([item.product for item in items]),
        tone=np.array([TONES.index(item.row["tone"]) for item in items]),
        angle=np.array([ANGLES.index(item.angle) for item in items]),
        scene=np.array([SCENES.index(item.picture.scene) for item in items]),
        palette=np.array([PALETTES.index(item.picture.palette) for item in items]),
        style=np.array([STYLES.index(item.picture.style) for item in items]),
        layout=np.array([LAYOUTS.index(item.picture.layout) for item in items]),
        suits=np.array(
            [i.picture.scene in catalogue.products[i.product].variant.archetype.scenes for i in items], dtype=bool
        ),
        channel=np.array([_channel_index(item.row["channel"]) for item in items]),
        live=live,
    )


def picture_of_product(product: Product, rng: random.Random) -> PictureSpec:
    """The picture of the product itself, by the same hand as its creatives."""
    scene = rng.choice(product.variant.archetype.scenes)
    return PictureSpec(scene, rng.choice(PALETTES), rng.choice(STYLES), "centred", rng.getrandbits(31))


def _channel_index(name: str | None) -> int:
    return ANY_CHANNEL if name is None else CHANNEL_NAMES.index(name)


def _build_one(
    number: int, product: Product, config: SimulatorConfig, lexicon: Lexicon, rng: random.Random
) -> Creative:
    kind, angle, name = product.variant.archetype, rng.choice(ANGLES), f"a{number:05d}"
    scene = rng.choice(kind.scenes) if rng.random() < 0.75 else rng.choice(SCENES)
    picture = PictureSpec(scene, rng.choice(PALETTES), rng.choice(STYLES), rng.choice(LAYOUTS), rng.getrandbits(31))
    since = _first_day(product, config, rng)
    start = config.start + timedelta(days=since)
    tone = rng.choice(TONES)
    row = {
        "content_id": name,
        "event_timestamp": start - timedelta(days=rng.randint(3, 20)),
        "product_id": product.id,
        "channel": rng.choice(CHANNEL_NAMES[:3]) if rng.random() < 0.35 else None,
        "language": config.language,
        **_write_copy(product, tone, angle, since, lexicon, rng),
        "image_path": f"images/creatives/{name}.jpg",
        "tone": tone,
        "status": "draft" if rng.random() < 0.03 else "approved",
        "valid_from": start,
        "valid_to": None,
        "ai_generated": rng.random() < 0.15,
    }
    creative = Creative(row, product.index, angle, picture, since, config.days, [])
    _plan_changes(creative, product, config, rng)
    return creative


def _first_day(product: Product, config: SimulatorConfig, rng: random.Random) -> int:
    launched = (product.row["available_from"] - config.start).days
    if launched >= 0:
        return launched
    if rng.random() < 0.18:  # new creatives keep coming
        return round(config.days * rng.uniform(0.1, 0.93))
    return -rng.randint(10, 300)


def _write_copy(
    product: Product, tone: str, angle: str, day: int, lexicon: Lexicon, rng: random.Random
) -> dict[str, str]:
    kind, grammar = product.variant.archetype, lexicon.copy_grammar
    slots = fact_slots(product.facts_on(day), lexicon)
    need = max(kind.needs, key=lambda name: kind.needs[name])
    benefits = rng.sample([lexicon.benefits[name] for name in kind.benefits], len(kind.benefits))
    slots |= {
        "fact": lexicon.facts[product.family].format_map(slots),
        "goal": rng.choice(grammar.goals[need]),
        "act": rng.choice(grammar.acts[need]),
        "a": benefits[0],
        "b": benefits[-1],
    }
    extras = grammar.benefit if len(benefits) > 1 else grammar.benefit[:1]
    sentences = [draw(grammar.bodies[angle], rng, slots), draw(extras, rng, slots)]
    return {
        "headline": capitalise(draw(grammar.headlines[tone], rng, slots)),
        "body": lexicon.gap.join(capitalise(sentence) for sentence in sentences).strip(),
        "call_to_action": rng.choice(grammar.calls[tone]),
        "disclaimer": grammar.disclaimers[product.family].format_map(slots) + grammar.opt_out,
    }


def _plan_changes(creative: Creative, product: Product, config: SimulatorConfig, rng: random.Random) -> None:
    """Copy follows the catalogue's numbers; a few creatives are withdrawn or end."""
    if creative.row["status"] == "draft":
        creative.last_day = -1
        return
    rate = product.facts_on(creative.first_day)["rate"]
    for day, changed in product.changes:
        if "rate" not in changed or day <= max(creative.first_day, 0):
            continue
        copy = {name: creative.row[name].replace(f"{rate:.2f}", f"{changed['rate']:.2f}") for name in _COPY}
        if any(copy[name] != creative.row[name] for name in _COPY):
            creative.changes.append((day, copy))
    end = round(config.days * rng.uniform(0.3, 0.97))
    if creative.first_day >= end - 14 or rng.random() > 0.1:
        return
    if rng.random() < 0.5:
        creative.row["valid_to"] = config.start + timedelta(days=end)
    else:
        creative.changes = [(day, changed) for day, changed in creative.changes if day < end]
        creative.changes.append((end, {"status": "withdrawn"}))
    creative.last_day = end - 1


def _hashed(facts: dict[str, Any], picture: str) -> dict[str, Any]:
    text = "\n".join([facts["language"], *(facts[name] for name in _COPY), picture])
    digest = hashlib.sha256(text.encode()).hexdigest()
    return {**facts, "content_hash": digest, "approved_hash": None if facts["status"] == "draft" else digest}


class SentPictures:
    """The pool of pictures that customers send: what need each shows and in which palette. S pictures."""

    def __init__(self, size: int, seed: np.random.SeedSequence, scenes_of_need: np.ndarray) -> None:
        rng = random.Random(int(np.random.default_rng(seed).integers(2**62)))
        pairs = [(number % len(NEEDS), (number // len(NEEDS)) % len(PALETTES)) for number in range(size)]
        rng.shuffle(pairs)  # a file's number must not tell what it shows
        self.need: Ints = np.array([need for need, _ in pairs])
        """[S]: index into NEEDS."""
        self.palette: Ints = np.array([palette for _, palette in pairs])
        """[S]: index into PALETTES."""
        self.specs = [
            PictureSpec(
                SCENES[rng.choice(np.flatnonzero(scenes_of_need[need]).tolist())],
                PALETTES[palette],
                rng.choice(STYLES),
                rng.choice(LAYOUTS),
                rng.getrandbits(31),
            )
            for need, palette in pairs
        ]
        self.paths = [f"images/sent/s{number:04d}.jpg" for number in range(size)]
