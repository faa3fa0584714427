"""The numbers that a creative states: percentages and amounts of money, with as many decimals as it gives them."""

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

_START: Final = r"(?<![0-9A-Za-z.,])"
_NUMBER: Final = r"(\d{1,3}(?:[ ,.'\u00a0]\d{3})+(?:[.,]\d{1,2})?|\d+(?:[.,]\d+)?)"
_PERCENT: Final = re.compile(_START + _NUMBER + r"\s*(?:%|\uff05|per ?cent\b|percent\b)", re.IGNORECASE)
_CODES: Final = r"(?:EUR|USD|GBP|CHF|CNY|RMB|JPY)"
_SIGNS: Final = "[\u20ac$\u00a3\u00a5\uffe5]"
_MONEY_AFTER: Final = re.compile(_START + _NUMBER + rf"\s*(?:{_CODES}\b|{_SIGNS}|元|欧元|美元)")
_MONEY_BEFORE: Final = re.compile(rf"(?:\b{_CODES}|{_SIGNS})\s*" + _NUMBER)


class Number(NamedTuple):
    """A number as it is written."""

    value: float
    decimals: int

    def states(self, fact: float) -> bool:
        """Whether it is `fact`, rounded to its own decimals; NaN is stated by nothing."""
        return abs(self.value - fact) <= 0.5 * 10.0**-self.decimals + 1e-9


class Claims(NamedTuple):
    """What a creative states."""

    percentages: tuple[Number, ...]
    amounts: tuple[Number, ...]


def read_claims(texts: Iterable[str | None]) -> Claims:
    """All numbers in a creative's texts that are a percentage or an amount of money.

    >>> read_claims(["From 4,90 % a year", "EUR 1,000 is enough, 24/7"])
    Claims(percentages=(Number(value=4.9, decimals=2),), amounts=(Number(value=1000.0, decimals=0),))
    """
    text = "\n".join(text for text in texts if text)
    money = [match[1] for pattern in (_MONEY_AFTER, _MONEY_BEFORE) for match in pattern.finditer(text)]
    return Claims(
        tuple(_number(match[1]) for match in _PERCENT.finditer(text)),
        tuple(_number(written) for written in money),
    )


def _number(written: str) -> Number:
    """Reads `1,234.50`, `1.234,50`, `1 234` and `4,9`: a last group of three digits after a mark is thousands."""
    whole, mark, last = _split(written)
    digits = re.sub(r"\D", "", whole)
    if mark and len(last) != 3:
        return Number(float(f"{digits}.{last}"), len(last))
    return Number(float(digits + last), 0)


def _split(written: str) -> tuple[str, str, str]:
    """Before the last mark, the mark, after it; all before where there is none."""
    found = re.search(r"^(.*)([ ,.'\u00a0])(\d+)$", written)
    return (found[1], found[2], found[3]) if found else (written, "", "")
