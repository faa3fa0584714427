"""Telephone numbers, e-mail addresses, web addresses and postal addresses."""

import re
from collections.abc import Iterator
from typing import Final

from phonenumbers import PhoneNumberMatcher

from recsys.privacy.spans import Placeholder, Span

FLAG: Final = (
    r"@|\(at\)|\[at\]|(?i:https?:|www\.)"
    r"|(?i:\b(?:street|road|avenue|lane|drive|boulevard|terrace|crescent|close|rue|calle|via|piazza|plaza|address)\b)"
    r"|(?i:stra(?:ß|ss)e|str\.|weg |allee|platz |gasse)|[路街道巷弄]\s?\p{Nd}"
)
"""Finds every text that could hold one (for polars: no lookaround); telephone numbers are found by their digits."""
_PHONE_DIGITS: Final = re.compile(r"(?:\d[\s./()-]{0,2}){7,}")
_PHONE: Final = re.compile(
    r"(?<![\w+])(?:\+|00)[1-9 ](?:[ ./()-]{0,2}\d){6,14}(?!\d)"
    r"|(?<![\w+])\+\d(?:[ ./()-]{0,2}\d){6,14}(?!\d)"
    r"|(?<!\w)\(\d{2,5}\)[ -]?\d{3,4}[ -]?\d{3,5}(?!\d)"
    r"|(?<![\w.,-])0\d{2,4}[ /-]\d{3,4}[ -]?\d{3,5}(?!\d)"
    r"|(?<![\w.,-])0\d(?: \d{2}){4}(?!\d)"
    r"|(?<![\w.,-])\d{3}([-. ])\d{3}\1\d{4}(?!\d)"
    r"|(?<!\d)1[3-9]\d[ -]?\d{4}[ -]?\d{4}(?!\d)"
)
_PHONE_WORD: Final = re.compile(
    r"(?:\b(?:call|ring|phone|mobile|cell|text|reach|tel|telephone|whatsapp|sms|handy)\b|电话|手机)"
    r"(?:\s*(?:me|us|number|no|on|at|is|under|[:：.]|号码|号|是)){0,4}"
    r"\s*(?P<value>\(?\+?\d(?:[ ./()-]{0,2}\d){5,14})(?!\d)",
    re.IGNORECASE,
)
_EMAIL: Final = re.compile(r"[\w.+%'-]+\s?(?:@|\(at\)|\[at\])\s?[\w-]+(?:\.[\w-]+)+", re.IGNORECASE)
_URL: Final = re.compile(r"(?:https?://|www\.)[^\s<>\"'，。）)]+", re.IGNORECASE)

_HOUSE: Final = r"\d{1,5}[A-Za-z]?"
_WORD: Final = r"[^\W\d_][\w'’.-]*"
_PROPER: Final = r"[A-ZÀ-Þ][\w'’.-]*"
_CODE: Final = r"(?:[A-Z]{1,2}\d[A-Z\d]? ?\d[A-Z]{2}|[A-Z]{2} \d{5}|\d{4,5})"
_TOWN: Final = rf"(?:,\s*{_PROPER}(?: [A-ZÀ-Þ][a-zà-ÿ'’-]+\b)?)?(?:,?\s*{_CODE}\b)?"
_STREETS: Final = (
    rf"(?<![\w.,]){_HOUSE},? (?:{_PROPER} ){{1,3}}(?:Street|St|Road|Rd|Avenue|Ave|Lane|Ln|Drive|Boulevard|Blvd|Terrace|"
    rf"Crescent|Close|Court|Square|Way)\b\.?{_TOWN}",
    rf"(?<![\w.,]){_HOUSE} {_WORD} (?:street|road|avenue|lane|boulevard|crescent)\b{_TOWN}",
    rf"\b{_PROPER}(?:straße|strasse|str\.|weg|allee|platz|gasse) {_HOUSE}\b(?:,? \d{{5}} {_PROPER})?",
    rf"(?<!\w){_HOUSE},? (?:rue|avenue|boulevard|place) (?:de la |de l'|du |des |de )?{_WORD}(?: {_PROPER})*",
    rf"\b(?:[Cc]alle|[Vv]ia|[Pp]iazza|[Pp]laza|[Rr]ua|[Aa]venida) (?:de la |de |del |della |di )?{_PROPER}"
    rf"(?: {_PROPER})*,? {_HOUSE}\b",
    r"(?:[\u4e00-\u9fff]{2,3}[省市区县])*[\u4e00-\u9fff]{1,6}[路街道巷弄]\s?\d{1,5}\s?[号弄](?:[\w]{0,12}?[室楼栋])?",
)
_ADDRESS: Final = re.compile("|".join(_STREETS))
_POSTCODE: Final = re.compile(r"(?<!\w)[A-Z]{1,2}\d[A-Z\d]? \d[ABD-HJLNP-UW-Z]{2}(?!\w)")
_ADDRESS_WORD: Final = re.compile(
    r"\b(?:my|home|new|our) address(?: is| was|:)\s*(?P<value>[^.;!?\n]*\d[^.;!?\n]*)", re.I
)


def find_links(text: str) -> Iterator[Span]:
    """E-mail and web addresses."""
    for pattern, placeholder in ((_EMAIL, Placeholder.EMAIL), (_URL, Placeholder.URL)):
        for match in pattern.finditer(text):
            yield Span(match.start(), match.start() + len(match[0].rstrip(".,;:!?")), placeholder)


def find_phones(text: str, regions: tuple[str, ...]) -> Iterator[Span]:
    """Telephone numbers: international ones, those of `regions` (ISO 3166 codes), and what is announced as one."""
    if not _PHONE_DIGITS.search(text) and not _PHONE_WORD.search(text):
        return
    for match in _PHONE_WORD.finditer(text):
        yield Span(match.start("value"), match.end("value"), Placeholder.PHONE)
    for match in _PHONE.finditer(text):
        yield Span(match.start(), match.end(), Placeholder.PHONE)
    for region in regions:
        for found in PhoneNumberMatcher(text, region):
            yield Span(found.start, found.end, Placeholder.PHONE)


def find_addresses(text: str) -> Iterator[Span]:
    """Streets with a house number, British postcodes, and what follows "my address is"."""
    for match in _ADDRESS_WORD.finditer(text):
        yield Span(match.start("value"), match.end("value"), Placeholder.ADDRESS)
    for pattern in (_ADDRESS, _POSTCODE):
        for match in pattern.finditer(text):
            yield Span(match.start(), match.end(), Placeholder.ADDRESS)
