"""Composes three to five variants per product, segment, channel and language from approved blocks alone."""

import hashlib
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import polars as pl
from pydantic import Field

from recsys.campaigns.content.blocks import (
    FACT_KINDS,
    Blocks,
    disclaimer_of,
    fact_phrases,
    fill,
    first_spellings,
    load_blocks,
)
from recsys.campaigns.content.channels import DEFAULT_CHANNELS, ChannelLimits, columns, limits_of
from recsys.campaigns.content.fact_guard import validate_variant
from recsys.campaigns.content.facts import ProductFacts
from recsys.campaigns.content.tones import rank_tones
from recsys.campaigns.content.variant import Copy, Variant
from recsys.config import BaseConfig


class ComposerConfig(BaseConfig):
    """For whom, where, and how many."""

    segments: tuple[str, ...]
    channels: tuple[str, ...]
    languages: tuple[str, ...] = ("en",)
    tones: tuple[str, ...] | None = None
    """Only these tones (a brief's wish); none: those that the segment answers to."""
    variants: int = Field(default=3, ge=3, le=5)
    """Per product, segment, channel and language; fewer where fewer tones are fit for the product."""
    seed: int = 0


class Skipped(NamedTuple):
    """Copy that could not be composed, and why."""

    product_id: str
    language: str
    reason: str


class Composition(NamedTuple):
    """What was composed."""

    variants: list[Variant]
    """Sealed, each past the fact guard."""
    skipped: list[Skipped]


class _Cell(NamedTuple):
    segment: str
    channel: str
    language: str


def compose_variants(
    products: Sequence[ProductFacts],
    config: ComposerConfig,
    lifts: pl.DataFrame,
    channels: Mapping[str, ChannelLimits] = DEFAULT_CHANNELS,
) -> Composition:
    """Composes all cells of `config` for `products`.

    Args:
        products: whose copy to write.
        config: segments, channels, languages and number of variants.
        lifts: TONE_SCHEMA, `estimate_tone_lifts`; may be empty.
        channels: the limits of the channels.

    Raises:
        ConfigError: no approved blocks in a language.
    """
    names = [facts.name for facts in products]
    done = Composition([], [])
    for facts in products:
        for cell in _cells(config):
            blocks = load_blocks(cell.language)
            if disclaimer_of(facts, blocks) is None:
                reason = f"the catalogue lacks a fact that the {facts.category} disclaimer must state"
                done.skipped.append(Skipped(facts.product_id, cell.language, reason))
                continue
            for tone in _tones(facts, cell, config, lifts):
                variant = _compose(facts, cell, tone, limits_of(cell.channel, channels), config.seed)
                findings = validate_variant(variant, facts, names, channels)
                if findings:  # a name or limit that no block fits, or a catalogue text that tries to say more
                    reason = f"{tone} on {cell.channel}: " + "; ".join(f"{rule} ({why})" for rule, why in findings)
                    done.skipped.append(Skipped(facts.product_id, cell.language, reason))
                else:
                    done.variants.append(variant)
    return Composition(done.variants, list(dict.fromkeys(done.skipped)))


def _cells(config: ComposerConfig) -> Iterator[_Cell]:
    for segment in config.segments:
        for channel in config.channels:
            for language in config.languages:
                yield _Cell(segment, channel, language)


def _tones(facts: ProductFacts, cell: _Cell, config: ComposerConfig, lifts: pl.DataFrame) -> list[str]:
    fit = load_blocks(cell.language).tones_for(facts.category)
    wished = [tone for tone in fit if config.tones is None or tone in config.tones]
    ranked = rank_tones(lifts, cell.segment, wished)
    rest = [tone for tone in rank_tones(lifts, cell.segment, fit) if tone not in ranked]
    return [*ranked, *rest][: config.variants]  # a wish for one tone still leaves something to compare it with


def _compose(facts: ProductFacts, cell: _Cell, tone: str, limits: ChannelLimits, seed: int) -> Variant:
    key = "\n".join([str(seed), facts.product_id, *cell, tone])
    digest = hashlib.sha256(key.encode()).hexdigest()
    blocks = load_blocks(cell.language)
    words = _write(facts, blocks, tone, cell.channel, (limits, random.Random(digest)))
    return Variant(
        content_id=f"v{digest[:14]}",
        product_id=facts.product_id,
        product_version=facts.version,
        segment=cell.segment,
        channel=cell.channel,
        language=cell.language,
        tone=tone,
        **words._asdict(),
    ).sealed()


def _write(
    facts: ProductFacts, blocks: Blocks, tone: str, channel: str, room: tuple[ChannelLimits, random.Random]
) -> Copy:
    limits, rng = room
    category = blocks.category(facts.category)
    slots = {**first_spellings(facts, blocks), "goal": rng.choice(category.goals)}
    headlines = [_sentence(text, slots) for text in rng.sample(blocks.headlines[tone], len(blocks.headlines[tone]))]
    parts = [_sentence(rng.choice(blocks.openers[tone]), slots), _fact_sentence(facts, blocks)]
    details = [_sentence(text, slots) for text in rng.sample(category.details, len(category.details))]
    return Copy(
        headline=next((text for text in headlines if columns(text) <= limits.headline), headlines[0]),
        body=_join(parts, details, blocks.gap, limits.body, facts.name),
        cta=rng.choice(blocks.calls[tone]),
        disclaimer=disclaimer_of(facts, blocks) or "",
        opt_out=blocks.opt_out_of(channel),
    )


def _fact_sentence(facts: ProductFacts, blocks: Blocks) -> str:
    phrases = fact_phrases(facts, blocks)
    said = [phrases[kind][0] for kind in (*FACT_KINDS, "until") if phrases.get(kind)]
    comma, stop = ("，", "。") if blocks.gap == "" else (", ", ".")
    return _capitalise(comma.join(said) + stop) if said else ""


def _join(parts: Sequence[str], details: Sequence[str], gap: str, limit: int, name: str) -> str:
    """As many sentences as fit, opener and facts first; the opener goes before the facts do, unless it has the name."""
    chosen = [part for part in parts if part]
    if columns(gap.join(chosen)) > limit:
        chosen = [part for part in chosen if name in part][:1] or chosen[-1:]
    for detail in details:
        if columns(gap.join([*chosen, detail])) <= limit:
            chosen.append(detail)
    return gap.join(chosen)


def _sentence(template: str, slots: Mapping[str, str]) -> str:
    return _capitalise(fill(template, slots) or "")


def _capitalise(text: str) -> str:
    return text[:1].upper() + text[1:]
