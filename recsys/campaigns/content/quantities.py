"""Takes the approved statements of fact out of a text, and finds what numbers, money and dates are left."""

import itertools
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Final

from recsys.campaigns.content.folding import fold
from recsys.campaigns.content.rulebook import Rulebook, word_pattern

_NAME: Final = "\ue000"
_KINDS: Final = ("rate", "fee", "minimum", "term", "until")
_MARKS: Final = {kind: chr(0xE001 + number) for number, kind in enumerate(_KINDS)}
_ANY_MARK: Final = "[\ue000-\ue00f]"
_CLAUSE: Final = re.compile(r"[.;:!?。；：！？\n]")
_EDGE: Final = r"[\w.,%+~–—/-]"


class FactMasker:
    """Replaces a product's name and the approved statements of its facts by one private character each."""

    def __init__(self, name: str, phrases: Mapping[str, Sequence[str]], rules: Rulebook) -> None:
        self.name = name
        self._rules = rules
        ways = sorted(((text, kind) for kind in _KINDS for text in phrases.get(kind, ())), key=lambda way: -len(way[0]))
        self._patterns = [(self._compile(text), _MARKS[kind]) for text, kind in ways]

    def mask(self, text: str) -> str:
        """`text` with marks; private characters of its own become a circled digit, which nothing accepts."""
        clean = re.sub("[\ue000-\uf8ff]", "\u2460", text)
        clean = re.sub(self._bounded(re.escape(self.name)), _NAME, clean) if self.name else clean
        for pattern, mark in self._patterns:
            clean = pattern.sub(mark, clean)
        return clean

    def misused(self, masked: str) -> list[tuple[str, str]]:
        """Words beside a fact, in its clause, that would turn it into another one."""
        beside, language, found = self._rules.words.beside_facts, self._rules.language, []
        for clause in _CLAUSE.split(masked):
            for kind, mark in _MARKS.items():
                if mark not in _marks_of(clause):
                    continue
                hit = word_pattern([*beside["any"], *beside[kind]], language).search(_fold_kept(clause))
                if hit:
                    found.append(("fact_context", f"`{hit.group()}` beside the {kind}"))
        if re.search(f"[\ue001-\ue00f]\\s*[\ue001-\ue00f]|[+×x*]\\s*{_ANY_MARK}|{_ANY_MARK}\\s*[+×*]", masked):
            found.append(("fact_context", "two facts run into each other"))
        if re.search("[月日周天季半返奖降减免非负][\ue001-\ue00f]", masked):  # 月 + 利率3%: no border parts the words
            found.append(("fact_context", "a character before a fact changes it"))
        return found

    def extended(self, masked: str) -> bool:
        """Whether the name goes on: `Green Deposit Gold`, `绿色存款尊享版`."""
        if self._rules.language == "zh":
            return re.search(f"{_NAME}\\s*(版|款|升级|尊享|优享|至尊|系列|加强|[A-Za-z0-9])", masked) is not None
        return re.search(f"{_NAME}[ -]+(?!I\\b)[A-Z]|[A-Za-z]-{_NAME}|{_NAME}-", masked) is not None

    def remainder(self, masked: str) -> str:
        """The text without names and facts."""
        return re.sub(_ANY_MARK, " ", masked)

    def _compile(self, phrase: str) -> re.Pattern[str]:
        return re.compile(self._bounded(re.escape(phrase)), re.IGNORECASE)

    def _bounded(self, pattern: str) -> str:
        if self._rules.language == "zh":
            numerals = "".join(word for word in self._rules.words.number_words if len(word) == 1)
            return rf"(?<![0-9A-Za-z.,%％+~–—/{numerals}-]){pattern}(?![0-9A-Za-z%％{numerals}~–—/-]|[.,][0-9])"
        return rf"(?<!{_EDGE}){pattern}(?![\w%+~–—/]|-|[.,]\d)"


def _marks_of(clause: str) -> str:
    """The marks of a clause alone."""
    return "".join(re.findall(_ANY_MARK, clause))


def find_quantities(masked: str, rules: Rulebook) -> list[tuple[str, str]]:
    """Digits, number words, percentages, currencies and dates that stand outside the approved statements."""
    words, folded = rules.words, _fold_kept(masked)
    found = [("number", character) for character in masked if _is_number(character)][:3]
    found += [("rate", word) for word in words.percents if _holds(folded, word, rules)]
    found += [("currency", word) for word in words.currencies if _holds(folded, word, rules)]
    found += [("date", word) for word in words.dates if _holds(folded, word, rules)]
    if rules.language == "en" and re.search(r"(?<![.!?:]\s)(?<!^)\bMay\b", masked):
        found.append(("date", "May"))
    return found + _number_words(folded, rules)


def _number_words(folded: str, rules: Rulebook) -> list[tuple[str, str]]:
    words = rules.words
    if rules.language == "zh":
        numerals = "".join(words.number_words)
        for harmless in sorted(words.harmless_numbers, key=len, reverse=True):
            folded = re.sub(rf"(?<![{numerals}分之]){harmless}(?![{numerals}])", "", folded)
        return [("number", character) for character in sorted(set(folded)) if character in words.number_words]
    found, previous = [], ""
    tokens = re.findall(r"[a-z]+", folded)
    for token, following in itertools.zip_longest(tokens, tokens[1:], fillvalue=""):
        is_harmless = token in words.harmless_numbers and following not in words.units
        if token in words.number_words and (not is_harmless or previous in words.number_words):
            found.append(("number", token))
        previous = token
    return found


def _holds(folded: str, word: str, rules: Rulebook) -> bool:
    if not word.isascii() or not word[0].isalpha():
        return word in folded
    return re.search(rf"(?<![a-z]){re.escape(word)}(?![a-z])", folded) is not None


def _is_number(character: str) -> bool:
    is_han = "\u4e00" <= character <= "\u9fff"
    return not is_han and (character.isdigit() or unicodedata.numeric(character, None) is not None)


def _fold_kept(masked: str) -> str:
    """Folded text with the marks left in, as spaces."""
    return fold(re.sub(_ANY_MARK, " ", masked))
