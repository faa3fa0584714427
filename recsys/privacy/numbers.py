"""Cards, IBANs, identity numbers and accounts: by checksum where there is one, by shape or by the words before it.

What people type is often wrong by a digit, and a wrong card number is still nearly a card number: a checksum decides
what to call a number, never whether a long one may stay. Amounts, rates, terms and dates stay.
"""

import re
from collections.abc import Callable, Iterator
from datetime import date
from functools import cache
from importlib import import_module
from typing import Final

from stdnum import iban, luhn
from stdnum.cn import ric

from recsys.privacy.spans import Placeholder, Span

FLAG: Final = (
    r"\p{Nd}(?:[\s\p{Pd}./()]{0,2}\p{Nd}){4,}|[A-Za-z]\p{Nd}|\p{Nd}[A-Za-z]"
    r"|(?i:\b(?:pin|cvv|cvc|otp|passcode|tan|security code)\b)|密码|验证码"
)
"""Finds every text that could hold a number to redact (for polars: no lookaround)."""
_DIGITS: Final = re.compile(r"(?<![\d.,])\d(?:[ .-]?\d){7,}(?![\d])")
_PLAIN: Final = re.compile(r"(?<!\d)\d{8,}(?!\d)")
_CARD_SHAPE: Final = re.compile(
    r"(?<!\d)(?:\d{4}([ .-]?)\d{4}\1\d{4}\1\d{4}(?:\1\d{1,3})?|3\d{3}([ .-])\d{6}\2\d{5})(?![\d])"
)
_IBAN: Final = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}\d{2}(?:[ -]?[A-Za-z0-9]){11,30}")
_IBAN_SHAPE: Final = re.compile(
    r"[A-Za-z]{2}\d{2}[ -]?(?:[A-Za-z]{4}[ -]?)?(?:\d{4}[ -]?){2,7}(?:\d{1,4}(?![A-Za-z0-9]))?"
)
_IBAN_LENGTHS: Final = range(15, 35)
_CARD_LENGTHS: Final = range(13, 20)
_LONG: Final = 12
"""Digits from which on a number with gaps is taken for an account even if nothing else knows it."""

_CURRENCY: Final = (
    r"(?:[$€£¥₹]|\b(?:USD|EUR|GBP|CHF|CNY|RMB|JPY|HKD|AUD|CAD|INR|SEK|NOK|DKK|PLN)\b|\b(?:euros?|dollars?|pounds?|"
    r"francs?|yuan|million|mio|thousand)\b|元|万|块|欧元|美元)"
)
_GROUPED: Final = r"\d{1,3}(?:[ .,'’]\d{3})+(?:[.,]\d{1,2})?|\d{1,15}(?:[.,]\d{1,2})?"
_AMOUNT: Final = re.compile(
    rf"{_CURRENCY}\s?(?:{_GROUPED})(?![\d])|(?<![\d.,-])(?<!\d )(?:{_GROUPED})\s?{_CURRENCY}", re.IGNORECASE
)
_RESIDENT: Final = re.compile(r"(?<![A-Za-z\d])\d{17}[\dXx](?![A-Za-z\d])")
_ROUND: Final = re.compile(r"\d{1,3}0{6,}")
_SUM: Final = re.compile(r"\d{1,4}0{3}")
"""What stands after "account" and ends in three zeros is what is on it."""
_DATE: Final = re.compile(
    r"(?<!\d)(?:(?:19|20)\d{2}([-./])(?:0?[1-9]|1[0-2])\1(?:0?[1-9]|[12]\d|3[01])"
    r"|(?:0?[1-9]|[12]\d|3[01])([-./])(?:0?[1-9]|[12]\d|3[01])\2(?:(?:19|20)\d{2}|\d{2}))(?!\d)"
    r"|(?<!\d)\d{1,2}:\d{2}(?::\d{2})?(?!\d)"
)

_LINK: Final = r"(?i:\s*(?:number|no|nr|num|code|card|holder|is|was|are|ends?|[:：#=.]|号码|号|是|为)){0,4}\s*"
_ACCOUNT_WORD: Final = re.compile(
    r"(?:\b(?:accounts?|acct|a/c|konto(?:nummer)?|compte|cuenta|conto|rekening|iban|sort|customer|client|reference|ref)"
    rf"|账号|账户|帐号|户号){_LINK}(?P<value>(?=[A-Z]{{0,3}}\d)[A-Z]{{0,3}}\d(?:[ -]?\d){{4,}})",
    re.IGNORECASE,
)
_CARD_WORD: Final = re.compile(rf"(?:\bcard|卡号|银行卡){_LINK}(?P<value>\d(?:[ .-]?\d){{7,}})", re.IGNORECASE)
_ID_WORD: Final = re.compile(
    r"(?i:\b(?:passport|ssn|social security|nino|national insurance|national id|id card|identity|tax id|tin|driving "
    r"licen[cs]e|driver'?s licen[cs]e|steuer-?id|personalausweis|dni|nie|codice fiscale|nir|bsn|pps)"
    rf"|身份证|护照){_LINK}"
    r"(?P<value>[A-Za-z]{0,3}[ -]?\d[A-Za-z\d]*(?:[ ./-]?[A-Za-z]*\d[A-Za-z\d]*)*(?: ?[A-Z]\b)?)"
)
_SECRET_WORD: Final = re.compile(
    r"(?:\b(?:pin|cvv2?|cvc2?|otp|passcode|tan|security code)|验证码|密码)"
    r"(?:\s*(?:number|code|is|was|[:：=]|是|为)){0,3}\s*(?P<value>\d{3,8})(?!\d)",
    re.IGNORECASE,
)

_IDENTITY: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    (r"\d{3}-\d{2}-\d{4}", ()),  # US SSN and ITIN: the dashes are theirs alone
    (r"[A-Z]{2} ?\d{2} ?\d{2} ?\d{2} ?[A-D]", ()),  # UK national insurance
    (r"\d{17}[\dX]", ()),  # CN resident identity card
    (r"[A-Z]{6}\d{2}[A-EHLMPRST]\d{2}[A-Z]\d{3}[A-Z]", ()),  # IT codice fiscale
    (r"[A-Z]{4}\d{6}[HM][A-Z]{5}[A-Z\d]\d", ()),  # MX CURP
    (r"[XYZ]-?\d{7}-?[A-Z]", ()),  # ES NIE
    (r"\d{8}-?[A-Z]", ("es.dni",)),
    (r"\d{6}[-+A]\d{3}[A-Z\d]", ("fi.hetu", "se.personnummer")),
    (r"\d{7}[A-W][A-IW]?", ("ie.pps",)),
    (r"[A-Z]{5}\d{4}[A-Z]", ("in_.pan",)),
    (r"[A-Z]{2}\d{6}[A-Z\d]?|[A-Z]\d{8}|[A-Z]\d{2}[A-Z\d]{6}\d", ()),  # passports: CN, US, DE, UK, NL
    (r"[12] ?\d{2} ?(?:0[1-9]|1[0-2]|[2-9]\d) ?(?:\d{2}|2[AB]) ?\d{3} ?\d{3} ?\d{2}", ("fr.nir",)),
    (r"756\.?\d{4}\.?\d{4}\.?\d{2}", ("ch.ssn",)),
    (r"\d{3}\.\d{3}\.\d{3}-\d{2}", ()),  # BR CPF
    (r"\d{6}-\d{4}", ("dk.cpr", "se.personnummer")),
    (r"\d{6}-\d{7}", ("kr.rrn",)),
    (r"\d{2}\.?\d{2}\.?\d{2}-?\d{3}\.?\d{2}", ("be.nn",)),
    (r"\d{2} ?\d{3} ?\d{3} ?\d{3}", ("de.idnr",)),
    (r"\d{4} ?\d{4} ?\d{4}", ("in_.aadhaar",)),
    (r"\d{3} \d{3} \d{4}", ("gb.nhs",)),
    (r"\d{3}[ -]\d{3}[ -]\d{3}", ("ca.sin", "au.tfn")),
    (r"\d{6}/\d{3,4}", ("cz.rc",)),
    (r"\d{9,13}", ("us.ssn", "nl.bsn", "pl.pesel", "za.idnr", "no.fodselsnummer", "br.cpf", "tr.tckimlik", "ro.cnp")),
)
"""Shapes of identity numbers, and the python-stdnum modules that must confirm one; none: the shape says enough."""
_IDENTITY_SHAPES: Final = tuple(
    (re.compile(rf"(?<![A-Za-z\d])(?:{shape})(?![A-Za-z\d])", re.IGNORECASE), names) for shape, names in _IDENTITY
)


def find_numbers(text: str) -> Iterator[Span]:
    """Every number that identifies somebody, the surest first.

    >>> [text[:4] for text in ("4000 0012 3456 7899",) if next(find_numbers(text)).placeholder is Placeholder.CARD]
    ['4000']
    """
    yield from _ibans(text)
    yield from _after(_ID_WORD, text, Placeholder.ID)
    yield from _cards(text)
    stays = _staying(text)
    for span in _after(_ACCOUNT_WORD, text, Placeholder.ACCOUNT):
        if not (_covered(span, stays) or _SUM.fullmatch(text, span.start, span.end)):
            yield span
    yield from _after(_SECRET_WORD, text, Placeholder.ID)
    yield from (span for span in _identities(text) if not _covered(span, stays))


def find_accounts(text: str) -> Iterator[Span]:
    """Long numbers that nothing else recognised; ask last."""
    stays = _staying(text)
    for match in _PLAIN.finditer(text):
        span = Span(match.start(), match.end(), Placeholder.ACCOUNT)
        if not (_covered(span, stays) or _ROUND.fullmatch(match[0]) or _is_date(match[0])):
            yield span
    for match in _DIGITS.finditer(text):
        span = Span(match.start(), match.end(), Placeholder.ACCOUNT)
        digits = sum(character.isdigit() for character in match[0])
        if digits >= _LONG and not any(place.start < span.end and span.start < place.end for place in stays):
            yield span


def _ibans(text: str) -> Iterator[Span]:
    for match in _IBAN.finditer(text):
        end = _end_of_iban(match[0])
        if end is None and (shape := _IBAN_SHAPE.match(match[0])):
            end = len(shape[0].rstrip(" -"))
        if end is not None:
            yield Span(match.start(), match.start() + end, Placeholder.IBAN)


def _end_of_iban(candidate: str) -> int | None:
    """How many characters of it are an IBAN: what follows may be the next word."""
    places = [place for place, character in enumerate(candidate, start=1) if character.isalnum()]
    for length in _IBAN_LENGTHS:
        if length <= len(places) and iban.is_valid(candidate[: places[length - 1]]):
            return places[length - 1]
    return None


def _cards(text: str) -> Iterator[Span]:
    for match in _RESIDENT.finditer(text):  # as long as a card number, and one in ten passes for one
        if ric.is_valid(match[0]):
            yield Span(match.start(), match.end(), Placeholder.ID)
    for match in _CARD_SHAPE.finditer(text):
        yield Span(match.start(), match.end(), Placeholder.CARD)
    for match in _DIGITS.finditer(text):
        digits = re.sub(r"\D", "", match[0])
        if len(digits) in _CARD_LENGTHS and luhn.is_valid(digits):
            yield Span(match.start(), match.end(), Placeholder.CARD)
    yield from _after(_CARD_WORD, text, Placeholder.CARD)


def _after(words: re.Pattern[str], text: str, placeholder: Placeholder) -> Iterator[Span]:
    """The values that stand after words that announce them."""
    for match in words.finditer(text):
        yield Span(match.start("value"), match.end("value"), placeholder)


def _identities(text: str) -> Iterator[Span]:
    for shape, names in _IDENTITY_SHAPES:
        for match in shape.finditer(text):
            if not names or any(_validator(name)(match[0]) for name in names):
                yield Span(match.start(), match.end(), Placeholder.ID)


@cache
def _validator(name: str) -> Callable[[str], bool]:
    """`is_valid` of a python-stdnum module."""
    is_valid: Callable[[str], bool] = import_module(f"stdnum.{name}").is_valid
    return is_valid


def _staying(text: str) -> list[Span]:
    """Amounts and dates: never redacted by shape alone."""
    matches = [*_AMOUNT.finditer(text), *_DATE.finditer(text)]
    return [Span(match.start(), match.end(), Placeholder.ACCOUNT) for match in matches]


def _covered(span: Span, places: list[Span]) -> bool:
    return any(place.start <= span.start and span.end <= place.end for place in places)


def _is_date(digits: str) -> bool:
    """20260131 and 31012026 are days."""
    for year, month, day in ((digits[:4], digits[4:6], digits[6:8]), (digits[4:8], digits[2:4], digits[:2])):
        if len(digits) == len("YYYYMMDD") and year[:2] in ("19", "20"):
            try:
                date(int(year), int(month), int(day))
            except ValueError:
                continue
            return True
    return False
