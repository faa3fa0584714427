"""A month of campaigns, as a calendar shows it."""

import calendar
from collections.abc import Sequence
from datetime import UTC, date, timedelta
from typing import NamedTuple

from serving.store.campaigns import Campaign


class Day(NamedTuple):
    """One day."""

    date: date
    inside: bool
    """Of the month that is shown."""
    campaigns: list[Campaign]


class Month(NamedTuple):
    """Weeks of days, Monday first."""

    first: date
    weeks: list[list[Day]]

    @property
    def before(self) -> str:
        """The month before, as an address says it."""
        return f"{self.first - timedelta(days=1):%Y-%m}"

    @property
    def after(self) -> str:
        """The month after."""
        return f"{self.first + timedelta(days=31):%Y-%m}"


def month_of(campaigns: Sequence[Campaign], first: date) -> Month:
    """The month of `first`, a first day."""
    weeks = calendar.Calendar().monthdatescalendar(first.year, first.month)
    days = [[Day(day, day.month == first.month, _on(campaigns, day)) for day in week] for week in weeks]
    return Month(first, days)


def chosen_month(text: str, campaigns: Sequence[Campaign], today: date) -> date:
    """The first day of the month that an address names; else of the campaign that starts next, or last.

    >>> chosen_month("2026-07", [], date(2026, 1, 5)), chosen_month("2026-99", [], date(2026, 1, 5))
    (datetime.date(2026, 7, 1), datetime.date(2026, 1, 1))
    """
    try:
        year, month = (int(part) for part in text.split("-"))
        return date(year, month, 1) if 1900 <= year <= 9000 else today.replace(day=1)
    except ValueError:
        starts = sorted(one.starts_at.astimezone(UTC).date() for one in campaigns if one.starts_at is not None)
        ahead = [day for day in starts if day >= today]
        return (ahead or starts[-1:] or [today])[0].replace(day=1)


def _on(campaigns: Sequence[Campaign], day: date) -> list[Campaign]:
    return [
        one
        for one in campaigns
        if one.starts_at is not None
        and one.starts_at.astimezone(UTC).date() <= day <= (one.ends_at.astimezone(UTC) - timedelta(seconds=1)).date()
    ]
