"""What the fact guard refuses in a language (guard_<language>.yaml), made ready for matching."""

import functools
import re
from pathlib import Path
from typing import NamedTuple

from recsys.campaigns.content.blocks import LANGUAGES, Blocks, load_blocks
from recsys.campaigns.content.folding import skeleton
from recsys.config import BaseConfig

_WORD = re.compile(r"[a-z]+")


class GuardWords(BaseConfig):
    """The lists of one language; their meaning is written in the files."""

    letters: str
    claims: list[str]
    contacts: list[str]
    instructions: list[str]
    percents: list[str]
    currencies: list[str]
    number_words: list[str]
    harmless_numbers: list[str]
    units: list[str]
    dates: list[str]
    beside_facts: dict[str, list[str]]
    vocabulary: str


class Rulebook(NamedTuple):
    """A language's rules, compiled."""

    language: str
    words: GuardWords
    blocks: Blocks
    claims: dict[str, str]
    """By skeleton: the claim, over all languages."""
    instructions: dict[str, str]
    contacts: re.Pattern[str]
    vocabulary: frozenset[str]
    """Words in English, characters in Chinese."""


@functools.cache
def load_rulebook(language: str) -> Rulebook:
    """The rules for copy in `language`; claims and instructions of every language count in each.

    Raises:
        ConfigError: the package has no blocks of that language.
    """
    blocks, every = load_blocks(language), {name: _read(name) for name in LANGUAGES}
    name = "zh" if language.lower().startswith("zh") else "en"
    words = every[name]
    return Rulebook(
        language=name,
        words=words,
        blocks=blocks,
        claims={skeleton(claim): claim for each in every.values() for claim in each.claims},
        instructions={skeleton(text): text for each in every.values() for text in each.instructions},
        contacts=re.compile("|".join(pattern for each in every.values() for pattern in each.contacts)),
        vocabulary=_vocabulary(words, blocks, name),
    )


def word_pattern(words: list[str], language: str) -> re.Pattern[str]:
    """Matches any of `words`: whole words in English, anywhere in Chinese, where words have no borders."""
    choice = "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))
    if language == "zh":
        return re.compile(choice or r"(?!)")
    return re.compile(rf"(?<![a-z])(?:{choice})(?![a-z])" if choice else r"(?!)")


def _read(language: str) -> GuardWords:
    return GuardWords.from_yaml(Path(__file__).parent / f"guard_{language}.yaml")


def _vocabulary(words: GuardWords, blocks: Blocks, language: str) -> frozenset[str]:
    texts = [words.vocabulary]
    for group in (blocks.headlines, blocks.openers, blocks.calls):
        texts += [text for some in group.values() for text in some]
    for category in blocks.categories.values():
        texts += [*category.goals, *category.details]
    joined = re.sub(r"\{\w+\}", " ", " ".join(texts)).lower()
    if language == "zh":
        return frozenset(character for character in joined if "\u4e00" <= character <= "\u9fff")
    return frozenset(_WORD.findall(joined))
