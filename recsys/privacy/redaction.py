"""Text in, the same text without what names a person out: `[CARD]`, `[IBAN]`, `[PHONE]`, `[NAME]` and the like.

What customers write is redacted before anything is computed of it, the key of the encoding cache included: the raw
text is stored and hashed nowhere. Libraries first: python-stdnum for cards, IBANs and identity numbers, phonenumbers
for telephone numbers; then shapes, the words that announce a value, and the bank's own patterns.

A column is worked on in three steps: the bank's patterns and a cheap flag for all rows at once (polars, Rust's regular
expressions: linear in time whatever the pattern), then the detectors for the distinct texts that were flagged.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Final, Self

import polars as pl
from polars.exceptions import PolarsError
from pydantic import Field, field_validator, model_validator

from recsys.config import BaseConfig
from recsys.privacy import contacts, names, numbers
from recsys.privacy.spans import Span, replace_spans

_FLAG: Final = "|".join((numbers.FLAG, contacts.FLAG, names.FLAG))
_HIDING: Final = r"[\u00ad\u200b\u2060\ufeff]"
"""Characters that nobody sees, and that would split a number."""
_MAX_PASSES: Final = 5
"""A placeholder can uncover what its text announced ('I am [NAME]'): so it passes until nothing is found."""
_NORMAL: Final = str.maketrans(
    {
        **{chr(0xFF10 + digit): str(digit) for digit in range(10)},
        **{chr(0x0660 + digit): str(digit) for digit in range(10)},
        **{chr(0x06F0 + digit): str(digit) for digit in range(10)},
        **dict.fromkeys("\u00a0\u2002\u2003\u2007\u2009\u202f\u3000", " "),
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2212\uff0d", "-"),
        "\uff0b": "+",
        "\uff20": "@",
        "\u2019": "'",
    }
)
"""One character for one: what is found in the normal text has the same place in the original."""


class BankPattern(BaseConfig):
    """Something that only this bank writes in this way."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,30}$")
    """What it is; `loan` stands as `[LOAN]` in the text."""
    regex: str = Field(min_length=1)
    """In the syntax of Rust's regex crate: no lookaround and no backreference, so that no text can stall it."""

    @field_validator("regex")
    @classmethod
    def _check_regex(cls, regex: str) -> str:
        try:
            finds_nothing = pl.Series([""]).str.contains(regex).item()
        except PolarsError as error:
            raise ValueError(f"is no regular expression without lookaround: {' '.join(str(error).split())}") from error
        if finds_nothing:
            raise ValueError("matches the empty text, and so would stand between all letters")
        return regex

    @property
    def placeholder(self) -> str:
        """What stands in its place."""
        return f"[{self.name.upper()}]"


class RedactionConfig(BaseConfig):
    """What is taken out of texts that customers wrote."""

    patterns: tuple[BankPattern, ...] = ()
    """The bank's own, applied first."""
    names: tuple[str, ...] = ()
    """Names beside the packaged ones, of up to three words, found where they are written with a capital."""
    common_names: bool = True
    """Whether the packaged given names are taken out where nothing announces them as names."""
    regions: tuple[str, ...] = Field(default=(), max_length=5)
    """ISO 3166 codes whose national telephone numbers are known where the customer has no country."""

    @field_validator("regions")
    @classmethod
    def _check_regions(cls, regions: tuple[str, ...]) -> tuple[str, ...]:
        from phonenumbers import SUPPORTED_REGIONS

        unknown = [region for region in regions if region not in SUPPORTED_REGIONS]
        if unknown:
            raise ValueError(f"{', '.join(unknown)}: no ISO 3166 code with telephone numbers, such as IE or CN")
        return regions

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        doubled = {pattern.name for pattern in self.patterns if [p.name for p in self.patterns].count(pattern.name) > 1}
        if doubled:
            raise ValueError(f"patterns: {', '.join(sorted(doubled))} is there twice")
        return self


class Redactor:
    """Redacts texts by one config; safe to apply twice."""

    def __init__(self, config: RedactionConfig) -> None:
        self._config = config

    def redact(self, texts: pl.Series, countries: pl.Series | None = None) -> pl.Series:
        """Redacts a column.

        Args:
            texts: [N] strings, null where there is none.
            countries: [N] ISO 3166 codes of the writers, null where unknown; whose telephone numbers to look for.

        Returns:
            [N] strings; a text with nothing to redact is unchanged, invisible characters aside.
        """
        country = pl.lit(None, pl.String) if countries is None else countries
        frame = pl.DataFrame({"text": texts.cast(pl.String)}).with_columns(country=country)
        cleaned = frame.with_columns(self._by_patterns(pl.col("text").str.replace_all(_HIDING, "")))
        distinct = cleaned.filter(self._flag()).unique()
        if distinct.is_empty():
            return cleaned["text"].rename(texts.name)
        redacted = [self.redact_text(text, country) for text, country in distinct.iter_rows()]
        replaced = distinct.with_columns(redacted=pl.Series(redacted, dtype=pl.String))
        joined = cleaned.join(replaced, on=["text", "country"], how="left", nulls_equal=True, maintain_order="left")
        return joined.select(pl.coalesce("redacted", "text")).to_series().rename(texts.name)

    def redact_text(self, text: str, country: str | None = None) -> str:
        """Redacts one text by the detectors, without the bank's patterns.

        >>> Redactor(RedactionConfig()).redact_text("Call +44 7700 900123, my name is Ada Byron. 5000 EUR at 4.5 %")
        'Call [PHONE], my name is [NAME]. 5000 EUR at 4.5 %'
        """
        regions = self._regions(country)
        for _ in range(_MAX_PASSES):
            redacted = replace_spans(text, self._find(text.translate(_NORMAL), regions))
            if redacted == text:
                break
            text = redacted
        return text

    def _find(self, text: str, regions: tuple[str, ...]) -> Iterator[Span]:
        """The surest first: where two overlap, the first stands."""
        yield from contacts.find_links(text)
        yield from numbers.find_numbers(text)
        yield from contacts.find_phones(text, regions)
        yield from contacts.find_addresses(text)
        yield from names.find_names(text)
        yield from names.find_listed_names(text, self._names)
        yield from names.find_unspaced_names(text, self._unspaced_names)
        yield from numbers.find_accounts(text)

    def _regions(self, country: str | None) -> tuple[str, ...]:
        return self._config.regions if country is None else (country.upper(),)

    @cached_property
    def _names(self) -> frozenset[str]:
        common: Sequence[str] = names.common_names() if self._config.common_names else ()
        return names.written_forms((*self._config.names, *common))

    @cached_property
    def _unspaced_names(self) -> tuple[str, ...]:
        return tuple(name for name in self._config.names if names.is_unspaced(name))

    def _by_patterns(self, text: pl.Expr) -> pl.Expr:
        for pattern in self._config.patterns:
            text = text.str.replace_all(pattern.regex, pattern.placeholder)
        return text

    def _flag(self) -> pl.Expr:
        """Whether a text can hold anything to redact."""
        flag = pl.col("text").str.contains(_FLAG)
        if self._names:
            flag |= pl.col("text").str.contains_any(sorted(self._names))
        return flag.fill_null(value=False)
