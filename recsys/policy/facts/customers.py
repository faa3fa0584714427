"""The customers as the rules see them. What is not known is the most restricted value.

Two things look alike and are not: a value that is not known of one customer is the most restricted one; a column that
the bank does not keep at all (`kept`) says nothing about anybody, and rules about it remove nothing.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any, Final, Self

import numpy as np
import polars as pl

from recsys.policy.facts.arrays import (
    NO_RATING,
    NOT_A_TIME,
    BoolArray,
    CodeArray,
    FloatArray,
    TimeArray,
    as_instant,
    codes_of,
    numbers_of,
    times_of,
    values_of,
)
from recsys.policy.facts.consents import Consents
from recsys.policy.facts.contacts import Contacts
from recsys.policy.facts.relations import Relations
from recsys.schema import RISK_LEVELS

AGE: Final = "age"
MINOR: Final = "is_minor"
ADULT_AGE: Final = 18
FLAGS: Final = (MINOR, "in_arrears", "bereaved", "fraud_victim", "open_complaint")
"""The vulnerability flags. They decide, and never appear in a reason (domain.md, Credit and fairness)."""
FACT_COLUMNS: Final = (
    "segment",
    "country",
    "language",
    "time_zone",
    "income_band",
    "kyc_status",
    "risk_level",
    "risk_assessed_at",
    "liquid_amount",
    "horizon_months",
    "knowledge_level",
    *FLAGS,
    AGE,
)
"""The columns of customers.parquet that rules read; `age` only where dataset.yaml declares it as a number."""
Texts = tuple[str | None, ...]


@dataclass(frozen=True, eq=False)
class CustomerFacts:
    """B customers."""

    kept: frozenset[str]
    """Which of FACT_COLUMNS the bank keeps."""
    risk_level: CodeArray
    risk_assessed_at: TimeArray
    age: FloatArray
    """Years that he is known to have reached; NaN where nothing is known of it."""
    segment: Texts
    country: Texts
    language: Texts
    time_zone: Texts
    income_band: Texts
    kyc_status: Texts
    knowledge_level: Texts
    liquid_amount: FloatArray
    horizon_months: FloatArray
    """NaN where it is not known."""
    flags: Mapping[str, BoolArray]
    """Of FLAGS: [B], true where it is set, or kept and not known of him."""
    held: Relations
    declined: Relations
    pending: Relations
    """Applications that led to nothing yet; `since` is the last one's time."""
    consents: Consents | None
    """None where the bank keeps no consents (public data): everything is allowed."""
    contacts: Contacts
    as_of: TimeArray | None = None
    """When the facts were last confirmed; None: they are those of the very instant that is asked about."""

    @classmethod
    def unknown(cls, customers: int) -> Self:
        """Customers of whom nothing is known, and who agreed to nothing: the most restricted there are."""
        nothing, numbers = (None,) * customers, np.full(customers, np.nan)
        return cls(
            kept=frozenset(FACT_COLUMNS),
            risk_level=np.zeros(customers, dtype=np.int8),
            risk_assessed_at=np.full(customers, NOT_A_TIME),
            age=numbers,
            segment=nothing,
            country=nothing,
            language=nothing,
            time_zone=nothing,
            income_band=nothing,
            kyc_status=nothing,
            knowledge_level=nothing,
            liquid_amount=numbers,
            horizon_months=numbers,
            flags={name: np.ones(customers, dtype=bool) for name in FLAGS},
            held=Relations.empty(customers),
            declined=Relations.empty(customers),
            pending=Relations.empty(customers),
            consents=Consents.none(customers),
            contacts=Contacts.empty(customers),
        )

    @classmethod
    def from_frame(cls, customers: pl.DataFrame) -> Self:
        """From one row a customer, in the order of the rows; the columns that are there are those that are kept.

        Nothing is held, declined or pending yet, and consents are not kept, until `with_relations` and
        `with_consents` say otherwise.
        """
        kept, count = frozenset(customers.columns) & frozenset(FACT_COLUMNS), len(customers)
        flags = {name: values_of(customers, name) for name in FLAGS}
        age = _known_ages(numbers_of(customers, AGE), flags[MINOR])
        return cls(
            kept=kept,
            risk_level=codes_of(customers, "risk_level", RISK_LEVELS),
            risk_assessed_at=times_of(customers, "risk_assessed_at"),
            age=age,
            segment=tuple(values_of(customers, "segment")),
            country=tuple(values_of(customers, "country")),
            language=tuple(values_of(customers, "language")),
            time_zone=tuple(values_of(customers, "time_zone")),
            income_band=tuple(values_of(customers, "income_band")),
            kyc_status=tuple(values_of(customers, "kyc_status")),
            knowledge_level=tuple(values_of(customers, "knowledge_level")),
            liquid_amount=numbers_of(customers, "liquid_amount"),
            horizon_months=numbers_of(customers, "horizon_months"),
            flags=_flags(flags, kept, age),
            held=Relations.empty(count),
            declined=Relations.empty(count),
            pending=Relations.empty(count),
            consents=None,
            contacts=Contacts.empty(count),
            as_of=times_of(customers, "as_of") if "as_of" in customers.columns else None,
        )

    @classmethod
    def single(cls, row: Mapping[str, Any], kept: Collection[str] | None = None, as_of: datetime | None = None) -> Self:
        """As `from_frame` for one customer, without the cost of a frame: the path of a request.

        Args:
            row: FACT_COLUMNS to values; other keys are not looked at. A customer of whom there is no row is
                `unknown(1)`.
            kept: which of FACT_COLUMNS the bank keeps; None: the keys of `row`.
            as_of: when the row was last confirmed; None: now.
        """
        level, assessed_at = row.get("risk_level"), row.get("risk_assessed_at")
        code = RISK_LEVELS.index(level) + 1 if level in RISK_LEVELS else NO_RATING
        known = frozenset(FACT_COLUMNS).intersection(row if kept is None else kept)
        age = _known_ages(_number(row, AGE), [row.get(MINOR)])
        return cls(
            kept=known,
            risk_level=np.array([code], dtype=np.int8),
            risk_assessed_at=np.array([NOT_A_TIME if assessed_at is None else as_instant(assessed_at)]),
            age=age,
            segment=(row.get("segment"),),
            country=(row.get("country"),),
            language=(row.get("language"),),
            time_zone=(row.get("time_zone"),),
            income_band=(row.get("income_band"),),
            kyc_status=(row.get("kyc_status"),),
            knowledge_level=(row.get("knowledge_level"),),
            liquid_amount=_number(row, "liquid_amount"),
            horizon_months=_number(row, "horizon_months"),
            flags=_flags({name: [row.get(name)] for name in FLAGS}, known, age),
            held=Relations.empty(1),
            declined=Relations.empty(1),
            pending=Relations.empty(1),
            consents=None,
            contacts=Contacts.empty(1),
            as_of=None if as_of is None else np.array([as_instant(as_of)]),
        )

    def __len__(self) -> int:
        return len(self.risk_level)

    def with_relations(self, held: Relations, declined: Relations, pending: Relations | None = None) -> Self:
        """The same customers, with what they have, declined and applied for."""
        return replace(self, held=held, declined=declined, pending=pending or Relations.empty(len(self)))

    def with_consents(self, consents: Consents | None) -> Self:
        """The same customers, with what they agreed to; None: the bank keeps no consents."""
        return replace(self, consents=consents)

    def with_contacts(self, contacts: Contacts) -> Self:
        """The same customers, with the recent messages to them."""
        return replace(self, contacts=contacts)

    def slice(self, start: int, stop: int) -> Self:
        """The customers from `start` up to `stop`."""
        parts = {field.name: _part(getattr(self, field.name), start, stop) for field in fields(self)}
        return type(self)(**parts)


def _part(value: Any, start: int, stop: int) -> Any:
    """The share of the customers from `start` up to `stop` in one field."""
    if value is None or isinstance(value, frozenset):
        return value
    if isinstance(value, Relations | Consents | Contacts):
        return value.slice(start, stop)
    if isinstance(value, Mapping):
        return {name: array[start:stop] for name, array in value.items()}
    return value[start:stop]


def _number(row: Mapping[str, Any], column: str) -> FloatArray:
    value = row.get(column)
    return np.array([np.nan if value is None else value], dtype=np.float64)


def _known_ages(age: FloatArray, minor: list[bool | None]) -> FloatArray:
    """The age, where a dataset declares one; else what `is_minor` says of it."""
    adult = np.array([value is False for value in minor], dtype=bool)
    child = np.array([value is True for value in minor], dtype=bool)
    age = np.where(np.isnan(age) & adult, ADULT_AGE, age)
    return np.where(child, np.minimum(age, ADULT_AGE - 1), age)  # a minor of unknown age stays unknown


def _flags(values: Mapping[str, list[bool | None]], kept: frozenset[str], age: FloatArray) -> dict[str, BoolArray]:
    """Set, or not known where the flag is kept; a known age answers for `is_minor`."""
    flags = {
        name: np.array([value is True or (value is None and name in kept) for value in column], dtype=bool)
        for name, column in values.items()
    }
    said = np.array([value is True for value in values[MINOR]], dtype=bool)
    flags[MINOR] = np.where(np.isnan(age), flags[MINOR], said | (age < ADULT_AGE))
    return flags
