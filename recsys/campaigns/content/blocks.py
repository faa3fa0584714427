"""The approved blocks of a language (copy_<language>.yaml) and the facts of a product put into them."""

import functools
import itertools
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Final

from recsys.campaigns.content.facts import ProductFacts
from recsys.config import BaseConfig
from recsys.errors import ConfigError

LANGUAGES: Final = ("en", "zh")
FACT_KINDS: Final = ("rate", "fee", "minimum", "term")


class CategoryBlocks(BaseConfig):
    """What is said of the products of one category."""

    goals: list[str]
    details: list[str]
    disclaimer: str
    facts: dict[str, list[str]]
    """By kind of fact: the ways in which it may be put; the first is the template's own."""


class Blocks(BaseConfig):
    """All approved words of one language."""

    percent: list[str]
    currencies: dict[str, list[str]]
    months: dict[str, str]
    years: dict[str, str]
    date: str
    month_names: list[str]
    gap: str
    opt_out: dict[str, str]
    unsuitable_tones: dict[str, list[str]]
    headlines: dict[str, list[str]]
    openers: dict[str, list[str]]
    calls: dict[str, list[str]]
    until: list[str]
    categories: dict[str, CategoryBlocks]

    def category(self, name: str) -> CategoryBlocks:
        """The blocks of a category, or those of any product."""
        return self.categories.get(name, self.categories["other"])

    def opt_out_of(self, channel: str) -> str:
        """How the customer leaves, on `channel`."""
        return self.opt_out.get(channel, self.opt_out["default"])

    def tones_for(self, category: str) -> list[str]:
        """The tones that may speak of `category`."""
        return [tone for tone in self.openers if category not in self.unsuitable_tones.get(tone, [])]


@functools.cache
def load_blocks(language: str) -> Blocks:
    """The package's blocks of `language`; `zh-CN` reads `zh`.

    Raises:
        ConfigError: the package has no blocks of that language.
    """
    name = language.split("-")[0].split("_")[0].lower()
    if name not in LANGUAGES:
        raise ConfigError("languages", f"no approved copy in `{language}`; there is {', '.join(LANGUAGES)}")
    return Blocks.from_yaml(Path(__file__).parent / f"copy_{name}.yaml")


def spellings(facts: ProductFacts, blocks: Blocks) -> dict[str, list[str]]:
    """By slot: how this product's facts may be written, the first as the template writes it; absent facts have none."""
    slots = {"name": [facts.name]}
    if facts.rate is not None:
        slots["rate"] = _decimals(facts.rate)
    if facts.fee is not None:
        slots["fee"] = _decimals(facts.fee) if facts.fee_is_percent else _amounts(facts.fee)
    if facts.min_amount:
        slots["minimum"] = _amounts(facts.min_amount)
    if facts.term_months:
        slots["term"] = _terms(facts.term_months, blocks)
    if facts.risk:
        slots["risk"] = [facts.risk]
    if facts.currency:
        slots["currency"] = blocks.currencies.get(facts.currency, [facts.currency])
    if facts.valid_until:
        slots["until"] = [_date(facts.valid_until, blocks)]
    return slots


def fact_phrases(facts: ProductFacts, blocks: Blocks) -> dict[str, list[str]]:
    """By kind of fact: every approved way to state it, the template's own first; kinds without a value are absent."""
    slots = spellings(facts, blocks)
    templates = {**blocks.category(facts.category).facts, "until": blocks.until}
    found = {
        kind: [text for template in texts for text in _fill_all(template, slots, blocks)]
        for kind, texts in templates.items()
    }
    return {kind: texts for kind, texts in found.items() if texts}


def disclaimer_of(facts: ProductFacts, blocks: Blocks) -> str | None:
    """The category's disclaimer with this product's facts; None where the catalogue lacks a fact that it must state."""
    return fill(blocks.category(facts.category).disclaimer, first_spellings(facts, blocks))


def first_spellings(facts: ProductFacts, blocks: Blocks) -> dict[str, str]:
    """By slot: the template's own way to write the fact."""
    return {slot: ways[0] for slot, ways in spellings(facts, blocks).items()}


def fill(template: str, slots: Mapping[str, str]) -> str | None:
    """The template with its slots filled, None where one has no value; a value is never read as a template."""
    parts, rest = [], template
    while rest:
        before, opened, after = rest.partition("{")
        parts.append(before)
        if not opened:
            break
        slot, _, rest = after.partition("}")
        if slot not in slots:
            return None
        parts.append(slots[slot])
    return "".join(parts)


def _fill_all(template: str, slots: Mapping[str, list[str]], blocks: Blocks) -> list[str]:
    used = [slot for slot in ("rate", "fee", "minimum", "term", "currency", "until") if f"{{{slot}}}" in template]
    if any(slot not in slots for slot in used):
        return []
    texts = []
    for values in itertools.product(*(slots[slot] for slot in used)):
        text = fill(template, dict(zip(used, values, strict=True))) or ""
        texts += [text.replace("%", way, 1) for way in blocks.percent] if "%" in text else [text]
    return texts


def _decimals(value: float) -> list[str]:
    ways = [f"{value:.2f}"] if round(value, 2) == value else [f"{value:.10f}".rstrip("0")]
    return list(dict.fromkeys([*ways, ways[0].rstrip("0").rstrip(".")]))


def _amounts(value: float) -> list[str]:
    if value == int(value):
        return list(dict.fromkeys([f"{value:,.0f}", f"{value:.0f}"]))
    return list(dict.fromkeys([f"{value:,.2f}", f"{value:.2f}"]))


def _terms(months: int, blocks: Blocks) -> list[str]:
    in_months = _count(months, blocks.months)
    if months % 12:
        return [in_months]
    in_years = _count(months // 12, blocks.years)
    return [in_years, in_months] if months >= 24 else [in_months, in_years]


def _count(number: int, words: Mapping[str, str]) -> str:
    return words["one"] if number == 1 else words["many"].format(n=number)


def _date(day: date, blocks: Blocks) -> str:
    return blocks.date.format(day=day.day, month=blocks.month_names[day.month - 1], year=day.year)
