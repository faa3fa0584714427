"""Puts composed copy on a plan: whoever gets a product on a channel gets the words written for people like him.

The plan says who gets which approved creative of the catalogue. Where copy was composed for the product, segment,
channel and language of a contact, one of its variants takes the creative's place; the creative stays the variant's
anchor, by which the rules judge it. Which of several variants a customer gets is drawn by salted hash, so that their
answers can be compared.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import polars as pl

from recsys.campaigns.brief import Brief
from recsys.campaigns.content.composer import ComposerConfig
from recsys.campaigns.content.variant import Variant
from recsys.campaigns.holdouts import draw
from recsys.campaigns.plan import KEYS
from recsys.policy.facts import primary
from recsys.schema import CONTENT_ID, CUSTOMER_ID, PRODUCT_ID

ANCHOR: Final = "creative"
"""Key of a composed variant: the catalogue's creative in whose place it stands."""
Cell = tuple[str, str, str, str]
"""Product, segment, channel, language."""


class Dressed(NamedTuple):
    """A plan's assignments with composed copy."""

    assignments: pl.DataFrame
    variants: list[dict[str, Any]]
    """Those in use, with their ANCHOR."""
    plain: list[str]
    """Creatives of the catalogue that are still in use."""


def cells_of(assignments: pl.DataFrame, brief: Brief, in_app: Collection[str]) -> dict[str, ComposerConfig]:
    """For each product of a plan, what copy is wanted of it: only for those who get it, and only for what is sent.

    In the app (`in_app`, names of channels) the catalogue's own creatives are shown.
    """
    wanted: dict[str, ComposerConfig] = {}
    sent = assignments.filter(~pl.col("channel").is_in(list(in_app)))
    for (product,), rows in sent.group_by(PRODUCT_ID, maintain_order=True):
        wanted[str(product)] = ComposerConfig(
            segments=tuple(sorted(set(rows["segment"].to_list()))),
            channels=tuple(sorted(set(rows["channel"].to_list()))),
            languages=tuple(sorted({primary(tag) or brief.languages[0] for tag in rows["language"].to_list()})),
            tones=None if brief.tone is None else (brief.tone,),
            seed=brief.seed,
        )
    return wanted


def dress(assignments: pl.DataFrame, composed: Iterable[Variant], brief: Brief) -> Dressed:
    """Puts composed variants on assignments; where there is none for a cell the catalogue's creative stays."""
    by_cell: dict[Cell, list[Variant]] = defaultdict(list)
    for variant in composed:
        by_cell[variant.product_id, variant.segment, variant.channel, variant.language].append(variant)
    rows = assignments.to_dicts()
    anchors = _anchors(rows, brief)
    used: dict[str, dict[str, Any]] = {}
    names = []
    for row in rows:
        choice = by_cell.get(_cell(row, brief))
        if not choice:
            names.append(row[CONTENT_ID])
            continue
        chosen = choice[int(draw(brief.salt, f"variant:{brief.campaign_id}", row[CUSTOMER_ID]) * len(choice))]
        anchor = anchors[_cell(row, brief)]
        used[chosen.content_id] = {**chosen.model_dump(mode="json"), ANCHOR: anchor}
        names.append(chosen.content_id)
    dressed = assignments.with_columns(pl.Series(CONTENT_ID, names, dtype=pl.String)).sort(KEYS)
    plain = sorted(set(names) - set(used))
    return Dressed(dressed, [used[name] for name in sorted(used)], plain)


def undressed(variant: Mapping[str, Any]) -> Variant | None:
    """The composed variant in an entry of a plan's variants; None: it is the catalogue's creative."""
    if ANCHOR not in variant:
        return None
    return Variant.parse({key: value for key, value in variant.items() if key != ANCHOR}, source="variant")


def anchor_of(variant: Mapping[str, Any]) -> str:
    """The catalogue's creative by which the rules judge an entry of a plan's variants: its anchor, or itself."""
    return str(variant.get(ANCHOR) or variant[CONTENT_ID])


def redress(assignments: pl.DataFrame, kept: Sequence[dict[str, Any]], dropped: set[str], brief: Brief) -> pl.DataFrame:
    """Assignments after some variants were dropped: their customers get the others of the same cell.

    Raises:
        ValueError: a cell has no variant left.
    """
    by_cell: dict[Cell, list[str]] = defaultdict(list)
    for variant in kept:
        if ANCHOR in variant:
            cell = (variant[PRODUCT_ID], variant["segment"], variant["channel"], variant["language"])
            by_cell[cell].append(variant[CONTENT_ID])
    names = []
    for row in assignments.to_dicts():
        name = row[CONTENT_ID]
        if name in dropped:
            choice = by_cell[_cell(row, brief)]
            if not choice:
                raise ValueError(f"{row[PRODUCT_ID]}, {row['segment'] or 'no segment'}, {row['channel']}")
            name = choice[int(draw(brief.salt, f"variant:{brief.campaign_id}", row[CUSTOMER_ID]) * len(choice))]
        names.append(name)
    return assignments.with_columns(pl.Series(CONTENT_ID, names, dtype=pl.String)).sort(KEYS)


def _anchors(rows: Sequence[Mapping[str, Any]], brief: Brief) -> dict[Cell, str]:
    """The creative that most of a cell would have got."""
    counts: dict[Cell, Counter[str]] = defaultdict(Counter)
    for row in rows:
        counts[_cell(row, brief)][row[CONTENT_ID]] += 1
    return {cell: min(found, key=lambda name: (-found[name], name)) for cell, found in counts.items()}


def _cell(row: Mapping[str, Any], brief: Brief) -> Cell:
    language = primary(row["language"]) or brief.languages[0]
    return row[PRODUCT_ID], row["segment"], row["channel"], language
