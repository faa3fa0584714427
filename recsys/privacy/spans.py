"""Places in a text that name a person, and what stands there instead."""

from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from typing import NamedTuple


class Placeholder(StrEnum):
    """What a redacted value was; the text then reads `[CARD]`."""

    CARD = "CARD"
    IBAN = "IBAN"
    ACCOUNT = "ACCOUNT"
    ID = "ID"
    PHONE = "PHONE"
    EMAIL = "EMAIL"
    URL = "URL"
    NAME = "NAME"
    ADDRESS = "ADDRESS"


class Span(NamedTuple):
    """Characters `start` (included) to `end` (excluded) of a text."""

    start: int
    end: int
    placeholder: Placeholder


Detector = Callable[[str], Iterator[Span]]
"""Finds spans in a text whose digits are ASCII."""


def replace_spans(text: str, spans: Iterable[Span]) -> str:
    """The text with each span replaced; of spans that overlap the one named first stands.

    >>> replace_spans("to 123 or 1234", [Span(3, 6, Placeholder.ID), Span(5, 6, Placeholder.CARD)])
    'to [ID] or 1234'
    """
    kept: list[Span] = []
    for span in spans:
        if all(span.end <= other.start or span.start >= other.end for other in kept):
            kept.append(span)
    pieces, end = [], 0
    for span in sorted(kept):
        pieces += [text[end : span.start], f"[{span.placeholder}]"]
        end = span.end
    return "".join([*pieces, text[end:]])
