"""CONTACT_*: when, and how often, the bank may reach out of its own accord. A screen that was opened is no contact."""

from datetime import UTC, time
from functools import lru_cache
from typing import Any, ClassVar, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
from pydantic import Field, field_validator, model_validator

from recsys.policy.facts import BoolArray, IntArray
from recsys.policy.rules.base import Rule, RuleContext, days


class ContactRule(Rule):
    """The base of the rules about contact."""

    decides_eligibility: ClassVar[bool] = False

    def removes(self, context: RuleContext) -> BoolArray | None:
        """Broadcastable to [B, N]."""
        return self._removes_pushed(context) if context.pushed else None

    def _removes_pushed(self, context: RuleContext) -> BoolArray | None:
        return None


class QuietHoursRule(ContactRule):
    """Nobody is disturbed at night, by the clock on his own wall, whatever clock changes do."""

    id: Literal["CONTACT_QUIET"]
    start: time = time(21)
    end: time = time(8)
    """The first minute after the quiet hours; before `start`: they last over midnight."""
    assumed_time_zone: str | None = None
    """The zone of a customer whose zone is not known; None: it is always night where he is."""

    @field_validator("start", "end", mode="before")
    @classmethod
    def _refuse_numbers(cls, value: Any) -> Any:
        """YAML reads an unquoted 21:00 as the number 1260."""
        if isinstance(value, int | float):
            raise ValueError('must be a time in quotes such as "21:00", is a number')
        return value

    @field_validator("assumed_time_zone")
    @classmethod
    def _check_zone(cls, value: str | None) -> str | None:
        if value is not None and _zone(value) is None:
            raise ValueError("is no time zone such as Europe/Dublin")
        return value

    @model_validator(mode="after")
    def _check_span(self) -> Self:
        if self.start == self.end or self.start.tzinfo or self.end.tzinfo:
            raise ValueError("start and end must be two different times of day, without a zone")
        return self

    def quiet(self, zone: str | None, now: np.datetime64) -> bool:
        """Whether it is night in a zone."""
        name = zone if zone is not None and _zone(zone) else self.assumed_time_zone
        place = None if name is None else _zone(name)
        if place is None:
            return True
        wall = now.astype("datetime64[us]").item().replace(tzinfo=UTC).astimezone(place).time()
        if self.start < self.end:
            return bool(self.start <= wall < self.end)
        return bool(wall >= self.start or wall < self.end)

    def _removes_pushed(self, context: RuleContext) -> BoolArray | None:
        """[B, 1]."""
        zones = context.customers.time_zone
        quiet = {zone: self.quiet(zone, context.now) for zone in set(zones)}
        return np.array([quiet[zone] for zone in zones], dtype=bool)[:, None]


class ContactCapRule(ContactRule):
    """So many messages in so many days and no more: in total, through a channel, about a category."""

    id: Literal["CONTACT_CAP"]
    window_days: int = Field(ge=1, le=366)
    total: int | None = Field(default=None, ge=0)
    per_channel: dict[str, int] = Field(default_factory=dict)
    per_category: dict[str, int] = Field(default_factory=dict)
    default_category: int | None = Field(default=None, ge=0)
    """The cap of a category that `per_category` does not name."""

    def _removes_pushed(self, context: RuleContext) -> BoolArray | None:
        """[B, N]."""
        contacts = context.customers.contacts
        recent = contacts.within(self.window_days, context.now)
        full = np.zeros(len(context.customers), dtype=bool)
        if self.total is not None:
            full |= contacts.tally(recent) >= self.total
        channel_cap = self.per_channel.get(context.channel or "")
        if channel_cap is not None:
            full |= contacts.tally(recent & (contacts.channel == context.channel)) >= channel_cap
        categories, codes = context.groups.once("categories", lambda: _coded(context))
        caps = [self.per_category.get(name, self.default_category) for name in categories]
        filled = [self._filled(context, recent, name, cap) for name, cap in zip(categories, caps, strict=True)]
        return full[:, None] | np.array(filled, dtype=bool).T[:, codes]

    @staticmethod
    def _filled(context: RuleContext, recent: BoolArray, category: str, cap: int | None) -> BoolArray:
        """[B]: who has had enough about a category; products of no category are under the other caps only."""
        contacts = context.customers.contacts
        if cap is None or not category:
            return np.zeros(len(context.customers), dtype=bool)
        return contacts.tally(recent & (contacts.category == category)) >= cap


class CoolOffRule(ContactRule):
    """After a refusal the bank does not reach out about the whole category for a while."""

    id: Literal["CONTACT_COOLOFF"]
    cool_off_days: int = Field(ge=1, le=3650)

    def _removes_pushed(self, context: RuleContext) -> BoolArray | None:
        """[B, N]."""
        declined = context.customers.declined
        if not len(declined.products):
            return None
        recent = (declined.since > context.now - days(self.cool_off_days)) & (declined.since <= context.now)
        categories, codes = context.groups.once("categories", lambda: _coded(context))
        refused = np.zeros((len(context.customers), len(categories)), dtype=bool)
        mask = declined.mask(recent, len(context.products))
        for code, name in enumerate(categories):
            if name:
                refused[:, code] = mask[:, codes == code].any(axis=1)
        return refused[:, codes] | mask


def _coded(context: RuleContext) -> tuple[list[str], IntArray]:
    """The catalogue's categories, and each product's place among them."""
    names, codes = np.unique(context.products.category, return_inverse=True)
    return [str(name) for name in names], codes


@lru_cache(maxsize=1024)
def _zone(name: str) -> ZoneInfo | None:
    """A zone by its name; None where there is none of that name."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # ValueError: a name that is a path; OSError: a folder's
        return None
