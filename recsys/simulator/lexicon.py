"""Words of one language: the grammars that names, copy and messages are expanded from."""

import random
import re
from pathlib import Path
from typing import Any

from recsys.config import BaseConfig, read_yaml
from recsys.simulator.config import Language

DATA = Path(__file__).parent / "data"
_CHOICE = re.compile(r"\[([^\[\]]*)\]")


class Country(BaseConfig):
    """A country the bank serves."""

    share: float
    """Share of the customers who live there."""
    time_zone: str
    regions: tuple[str, ...]


class CopyGrammar(BaseConfig):
    """What marketing copy is made of; keys are needs, tones, angles and families."""

    goals: dict[str, tuple[str, ...]]
    acts: dict[str, tuple[str, ...]]
    headlines: dict[str, tuple[str, ...]]
    bodies: dict[str, tuple[str, ...]]
    benefit: tuple[str, ...]
    calls: dict[str, tuple[str, ...]]
    disclaimers: dict[str, str]
    opt_out: str


class MessageGrammar(BaseConfig):
    """What customers write; `needs` is need → source → templates."""

    openers: tuple[str, ...]
    closers: tuple[str, ...]
    callback: tuple[str, ...]
    needs: dict[str, dict[str, tuple[str, ...]]]
    smalltalk: tuple[str, ...]
    captions: tuple[str, ...]
    canaries: dict[str, tuple[str, ...]]
    """Sentences that hold a value that nobody may ever see again, by kind (canaries.py)."""


class ProductWords(BaseConfig):
    """Name and description of an archetype."""

    name: str
    about: str


class DescriptionGrammar(BaseConfig):
    """The sentences that follow a product's `about`."""

    facts: dict[str, tuple[str, ...]]
    benefits: tuple[str, ...]


class Lexicon(BaseConfig):
    """All words of one language, read from `data/lexicon_<language>.yaml`."""

    bank: str
    currency: str
    scale: float
    """Currency units per unit of `archetypes.yaml`."""
    rounding: int
    """Amounts are rounded to a multiple of this."""
    gap: str
    """Stands between two sentences."""
    comma: str
    """Stands between a greeting and what follows."""
    countries: dict[str, Country]
    tiers: dict[str, str]
    series: str
    months: str
    years: str
    term_name: str
    month_count: str
    year_count: str
    facts: dict[str, str]
    benefits: dict[str, str]
    products: dict[str, ProductWords]
    descriptions: DescriptionGrammar
    copy_grammar: CopyGrammar
    messages: MessageGrammar
    merchants: dict[str, tuple[str, ...]]

    @classmethod
    def load(cls, language: Language) -> "Lexicon":
        """Reads the lexicon of `language`.

        Raises:
            ConfigError: the packaged file is damaged.
        """
        path = DATA / f"lexicon_{language}.yaml"
        values: dict[str, Any] = read_yaml(path)
        values["copy_grammar"] = values.pop("copy", None)  # `copy` is a method of pydantic models
        return cls.parse(values, source=str(path))


def expand(template: str, rng: random.Random, slots: dict[str, str] | None = None) -> str:
    """Draws one sentence of a grammar: `[a|b]` is a choice (innermost first), `{x}` a slot.

    >>> expand("[Hi|Hi] {name}", random.Random(0), {"name": "Ann"})
    'Hi Ann'
    """
    text = template
    while (match := _CHOICE.search(text)) is not None:
        options = match.group(1).split("|")
        text = f"{text[: match.start()]}{options[int(rng.random() * len(options))]}{text[match.end() :]}"
    return text.format_map(slots) if slots is not None else text


def draw(templates: tuple[str, ...], rng: random.Random, slots: dict[str, str] | None = None) -> str:
    """One sentence of one of `templates`."""
    return expand(templates[int(rng.random() * len(templates))], rng, slots)


def capitalise(text: str) -> str:
    """First letter in upper case, the rest untouched."""
    return text[:1].upper() + text[1:]


def decapitalise(text: str) -> str:
    """First letter in lower case, as after a greeting, unless it is a word of its own such as `I`."""
    return text[:1].lower() + text[1:] if text[1:2].islower() else text


def misspell(text: str, rng: random.Random) -> str:
    """Makes one slip of the finger: two letters swapped, one dropped or one doubled."""
    if len(text) < 4:
        return text
    at = 1 + int(rng.random() * (len(text) - 2))
    slip = rng.random()
    if slip < 0.4:
        return text[:at] + text[at + 1] + text[at] + text[at + 2 :]
    if slip < 0.8:
        return text[:at] + text[at + 1 :]
    return text[:at] + text[at] + text[at:]
