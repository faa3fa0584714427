"""Lets a language model rewrite composed copy; what the fact guard does not accept is not used, and is counted."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

from recsys.campaigns.content.blocks import fact_phrases, load_blocks
from recsys.campaigns.content.channels import DEFAULT_CHANNELS, ChannelLimits, limits_of
from recsys.campaigns.content.fact_guard import validate_variant
from recsys.campaigns.content.facts import ProductFacts
from recsys.campaigns.content.variant import Variant
from recsys.errors import ModelError

_GIVE_UP_AFTER: Final = 3
"""Failures in a row after which the model is asked no more: a plan does not wait for a dead endpoint."""


class Writer(Protocol):
    """A language model: prompt in, text out."""

    def write(self, prompt: str) -> str:
        """Answers `prompt`.

        Raises:
            ModelError: the model cannot be reached or does not answer in time.
        """
        ...


class Rewrites(NamedTuple):
    """The variants after the model had its turn."""

    variants: list[Variant]
    """In the order given; the template's own where the rewrite was refused."""
    accepted: int
    rejected: int
    reasons: dict[str, int]
    """By rule: rejected rewrites that broke it; `format` and `unavailable` are the model's own failures."""


def rewrite_variants(
    variants: Sequence[Variant],
    facts: Mapping[str, ProductFacts],
    writer: Writer,
    channels: Mapping[str, ChannelLimits] = DEFAULT_CHANNELS,
    most: int | None = None,
) -> Rewrites:
    """Asks `writer` for a headline and a body of each variant; call, disclaimer and opt-out stay the approved ones.

    Args:
        variants: what was composed.
        facts: of their products.
        writer: the model.
        channels: how long copy may be.
        most: how many variants, spread over all, the model is asked about; None: all.
    """
    names, reasons = [item.name for item in facts.values()], Counter[str]()
    done, accepted, asked, failures = [], 0, 0, 0
    wanted = len(variants) if most is None else min(most, len(variants))
    for place, variant in enumerate(variants):
        if (place + 1) * wanted // max(len(variants), 1) == place * wanted // max(len(variants), 1):
            done.append(variant)
            continue
        asked += 1
        product = facts[variant.product_id]
        if failures >= _GIVE_UP_AFTER:
            broken, rewritten = {"unavailable"}, variant
        else:
            broken, rewritten = _ask(variant, product, writer, limits_of(variant.channel, channels))
        failures = failures + 1 if "unavailable" in broken else 0
        if not broken:
            broken = {violation.rule for violation in validate_variant(rewritten, product, names, channels)}
        reasons.update(broken)
        accepted += not broken
        done.append(variant if broken else rewritten)
    return Rewrites(done, accepted, asked - accepted, dict(sorted(reasons.items())))


def write_prompt(variant: Variant, facts: ProductFacts, limits: ChannelLimits) -> str:
    """The prompt: composed copy and approved ways to state the facts; no free text of the catalogue but the name."""
    phrases = fact_phrases(facts, load_blocks(variant.language))
    approved = sorted({text for texts in phrases.values() for text in texts[:4]})
    given = {"headline": variant.headline, "body": variant.body}
    return (
        f"Rewrite this bank message in language `{variant.language}` in a {variant.tone} tone, in simple words.\n"
        "Keep the product's name and every number exactly. Add no number, promise, name, link or date.\n"
        f"Facts may only be put as: {json.dumps(approved, ensure_ascii=False)}\n"
        f"Headline: at most {limits.headline} characters. Body: at most {limits.body} characters.\n"
        'Answer with JSON alone: {"headline": "...", "body": "..."}\n'
        f"Message: {json.dumps(given, ensure_ascii=False)}"
    )


def _ask(variant: Variant, facts: ProductFacts, writer: Writer, limits: ChannelLimits) -> tuple[set[str], Variant]:
    try:
        answer = writer.write(write_prompt(variant, facts, limits))
    except ModelError:
        return {"unavailable"}, variant
    words = _parse(answer)
    if words is None:
        return {"format"}, variant
    return set(), variant.model_copy(update={**words, "source": "model", "machine_made": True}).sealed()


def _parse(answer: str) -> dict[str, str] | None:
    """The two texts of an answer that is one JSON object with these and nothing else."""
    try:
        values: Any = json.loads(answer)
    except (ValueError, RecursionError):
        return None
    if not isinstance(values, dict) or set(values) != {"headline", "body"}:
        return None
    if not all(isinstance(text, str) and text.strip() for text in values.values()):
        return None
    return {name: text.strip() for name, text in values.items()}
