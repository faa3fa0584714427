"""The arrays that facts are made of, and how the columns of a frame become them.

Times are `datetime64[us]` in UTC with NaT for "not known"; a column that a frame lacks is "not known" for everybody.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]
CodeArray = NDArray[np.int8]
FloatArray = NDArray[np.float64]
TimeArray = NDArray[np.datetime64]
TextArray = NDArray[np.str_]

NO_RATING: Final = 0
"""The code of a missing C-level or R-rating; 1 to 5 are the known ones."""
NOT_A_TIME: Final = np.datetime64("NaT", "us")


@lru_cache(maxsize=4096)
def as_instant(time: datetime) -> np.datetime64:
    """An aware time as `datetime64[us]` in UTC.

    Raises:
        ValueError: `time` has no zone, so it names no instant.
    """
    return np.datetime64(_without_zone(time), "us")


def _without_zone(time: datetime) -> datetime:
    """In UTC, as numpy takes it."""
    if time.tzinfo is UTC:
        return time.replace(tzinfo=None)
    if time.tzinfo is None:
        raise ValueError(f"{time} has no time zone: give an aware time")
    return time.astimezone(UTC).replace(tzinfo=None)


def instants(times: Sequence[datetime | None]) -> TimeArray:
    """Aware times, NaT where there is none."""
    return np.array([None if time is None else _without_zone(time) for time in times], dtype="datetime64[us]")


def primary(tag: str | None) -> str:
    """The primary language of a tag, empty where there is none.

    >>> primary("zh-Hans-CN"), primary(None)
    ('zh', '')
    """
    return (tag or "").replace("_", "-").partition("-")[0].lower()


class Restriction(NamedTuple):
    """Which values of one attribute (a country, a segment, a channel) each of N products is open to."""

    codes: dict[str, int]
    allowed: BoolArray
    """[V + 1, N]: the last row is for a value that no product names, and for an unknown one."""

    @classmethod
    def of(cls, lists: Sequence[Sequence[str] | None]) -> "Restriction | None":
        """From what each product is open to; none or an empty list: to every value. None where none is restricted."""
        codes: dict[str, int] = {}
        for value in (value for values in lists for value in values or ()):
            codes.setdefault(value, len(codes))
        if not codes:
            return None
        allowed = np.zeros((len(codes) + 1, len(lists)), dtype=bool)
        for position, values in enumerate(lists):
            allowed[[codes[value] for value in values] if values else slice(None), position] = True
        return cls(codes, allowed)

    def closed_to(self, values: Sequence[str | None]) -> BoolArray:
        """[B, N]: the products that are closed to each of B values."""
        unknown = len(self.codes)
        rows = [unknown if value is None else self.codes.get(value, unknown) for value in values]
        return ~self.allowed[rows]


def texts(values: Sequence[str | None]) -> TextArray:
    """Strings, empty where there is none."""
    return np.array([value or "" for value in values], dtype=np.str_)


def values_of(frame: pl.DataFrame, column: str) -> list[Any]:
    """A column's values; None for everybody where the frame lacks it."""
    return frame[column].to_list() if column in frame.columns else [None] * len(frame)


def codes_of(frame: pl.DataFrame, column: str, scale: Sequence[str]) -> CodeArray:
    """1 to 5 by the place in `scale`; a value outside the scale is no rating (validation refuses it earlier)."""
    code = {name: position + 1 for position, name in enumerate(scale)}
    return np.array([code.get(value, NO_RATING) for value in values_of(frame, column)], dtype=np.int8)


def numbers_of(frame: pl.DataFrame, column: str) -> FloatArray:
    """Numbers, NaN where there is none."""
    return np.array([np.nan if value is None else value for value in values_of(frame, column)], dtype=np.float64)


def flags_of(frame: pl.DataFrame, column: str) -> BoolArray:
    """True only where the column says so."""
    return np.array([value is True for value in values_of(frame, column)], dtype=bool)


def times_of(frame: pl.DataFrame, column: str) -> TimeArray:
    """Instants, NaT where there is none."""
    if column not in frame.columns or frame.schema[column] == pl.Null:
        return np.full(len(frame), NOT_A_TIME)
    return frame[column].dt.convert_time_zone("UTC").dt.replace_time_zone(None).cast(pl.Datetime("us")).to_numpy()
