"""Numbers as bars and intervals: where they lie between 0 and 100. Drawing is the templates' affair."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import polars as pl

from recsys.campaigns.waterfall import SMALL, WaterfallStep, masked

SPAN = 100.0


class Bar(NamedTuple):
    """One bar."""

    label: str
    text: str
    """The number, in words."""
    width: float
    """0 to 100."""
    note: str = ""


class Interval(NamedTuple):
    """One interval on a scale that several share."""

    label: str
    text: str
    low: float
    mean: float
    high: float
    """0 to 100."""
    sure: bool
    """Whether zero is outside."""


class Forest(NamedTuple):
    """Intervals on one scale."""

    rows: list[Interval]
    zero: float
    """Where nothing is, 0 to 100."""


def waterfall_bars(steps: Sequence[Mapping[str, Any]]) -> list[tuple[WaterfallStep, Bar]]:
    """What is left after each rule, as parts of the first step's; small counts are masked."""
    read = [WaterfallStep(**{name: step[name] for name in WaterfallStep._fields}) for step in steps]
    most = max([step.left for step in read], default=0) or 1
    found = []
    for step in read:
        removed, left = masked(step)
        width = SPAN * step.left / most if left and not left.startswith("<") else 0.0
        found.append((step, Bar(step.rule, left, round(width, 2), removed)))
    return found


def count_bars(counts: Mapping[str, int], keep_small: bool = False) -> list[Bar]:
    """Counts by name, the largest first; those below 10 are masked."""
    most = max(counts.values(), default=0) or 1
    rows = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    found = []
    for name, count in rows:
        hidden = 0 < count < SMALL and not keep_small
        found.append(
            Bar(name, f"<{SMALL}" if hidden else f"{count:,}", 0.0 if hidden else round(SPAN * count / most, 2))
        )
    return found


def steps_bars(counts: Mapping[str, int]) -> list[Bar]:
    """A funnel in its own order."""
    most = max(counts.values(), default=0) or 1
    return [Bar(name, f"{count:,}", round(SPAN * count / most, 2)) for name, count in counts.items()]


def forest(rows: Iterable[tuple[str, Mapping[str, float]]], percent: bool = True) -> Forest:
    """Intervals with `low`, `high` and `lift` or `mean`, on a scale that holds zero."""
    read = [(label, row["low"], row.get("lift", row.get("mean", 0.0)), row["high"]) for label, row in rows]
    least, most = min([0.0, *(low for _, low, _, _ in read)]), max([0.0, *(high for *_, high in read)])
    span = (most - least) or 1.0

    def place(value: float) -> float:
        return round(SPAN * (value - least) / span, 2)

    def said(value: float, sign: bool) -> str:
        return f"{value:{'+' if sign else ''}.2%}" if percent else f"{value:{'+' if sign else ''},.1f}"

    signed = least < 0
    found = [
        Interval(
            label,
            f"{said(mean, signed)} ({said(low, signed)} … {said(high, signed)})",
            place(low),
            place(mean),
            place(high),
            low > 0 or high < 0,
        )
        for label, low, mean, high in read
    ]
    return Forest(found, place(0.0))


def contacts_by(assignments: pl.DataFrame, column: str) -> dict[str, int]:
    """Contacts of a plan by a column."""
    counted = assignments.group_by(pl.col(column).cast(pl.String).fill_null("")).len()
    return {str(name): int(count) for name, count in counted.iter_rows()}


def contacts_by_day(assignments: pl.DataFrame) -> dict[str, int]:
    """Contacts by the day (UTC) on which they leave, in order."""
    counted = assignments.group_by(pl.col("send_at").dt.date()).len().sort("send_at")
    return {str(day): int(count) for day, count in counted.iter_rows()}
