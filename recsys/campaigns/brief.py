"""What the marketing team asks for: one YAML file, checked as a whole before anything is computed."""

import hashlib
import json
from collections import Counter
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, AwareDatetime, Field, field_validator, model_validator

from recsys.campaigns.allocation import AllocationLimits, Cell
from recsys.campaigns.audience import AudienceError, parse_audience
from recsys.config import BaseConfig
from recsys.errors import RecsysError
from recsys.schema import EventType

ENGINE = "engine"
Objective = Literal["acquire", "apply", "engage"]
RESPONSES: dict[str, EventType] = {
    "acquire": EventType.CONVERT,
    "apply": EventType.APPLY,
    "engage": EventType.CLICK,
}
"""Which event of a customer is the response that a campaign of an objective wants."""


class BriefError(RecsysError):
    """A brief that is well formed and cannot be planned."""


def _check_audience(value: Any) -> Any:
    try:
        parse_audience(value)
    except AudienceError as error:
        raise ValueError(str(error).removeprefix("audience: ")) from error
    return value


class BriefChannel(BaseConfig):
    """A way to the customer."""

    channel: str = Field(min_length=1)
    cost_per_contact: float = Field(ge=0, allow_inf_nan=False)
    """In the dataset's currency."""
    delivery: Literal["message", "in_app"] | None = None
    """`message`: something is sent there; `in_app`: it waits there, and comes first in the recommendations; None: sent
    where the policy pack says that the bank reaches out, else in the app."""
    capacity: int | None = None
    """Contacts it can carry during the campaign; None: any number."""

    @field_validator("capacity")
    @classmethod
    def _check_capacity(cls, value: int | None) -> int | None:
        if value is not None and value < 1:
            raise ValueError("a channel that can carry nothing is no channel: leave it out, or give it at least 1")
        return value


class BriefLimits(BaseConfig):
    """What the campaign keeps to beside the budget and the channels' capacities; the policy pack's caps hold too."""

    per_customer: int = Field(default=1, ge=1, le=10)
    """Contacts of a customer at most."""
    per_category: int | None = Field(default=1, ge=1)
    """Contacts of a customer about products of one category at most."""
    per_product: dict[str, int] = Field(default_factory=dict)
    """Contacts about a product at most, by product id."""
    in_app_views: int = Field(default=5, ge=1, le=100)
    """How often something in the app is shown to a customer at most."""
    cells: tuple[Cell, ...] = ()
    """Least and most contacts of the customers of a segment on a channel."""

    @field_validator("per_product")
    @classmethod
    def _check_products(cls, value: dict[str, int]) -> dict[str, int]:
        none = sorted(product for product, capacity in value.items() if capacity < 1)
        if none:
            raise ValueError(f"capacity of less than 1 for {', '.join(none)}: leave the product out of the brief")
        return value


class BriefHoldout(BaseConfig):
    """Who is never contacted, so that the effect can be measured."""

    global_share: float = Field(default=0.02, ge=0.02, le=0.05)
    """Of all customers, the same people in every campaign with the same salt."""
    campaign_share: float = Field(default=0.1, ge=0, le=0.5)
    """Of the others, drawn anew for every campaign."""


class Brief(BaseConfig):
    """A campaign as it is asked for."""

    campaign_id: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")
    """Small letters, digits, `-` and `_`: names files and decides the campaign's holdout."""
    name: str = Field(min_length=1, max_length=200)
    objective: Objective = "acquire"
    products: tuple[str, ...] | Literal["engine"]
    """Product ids, or `engine`: whatever suits each customer best."""
    categories: tuple[str, ...] = ()
    """Where the engine chooses: only of these categories; empty: of all."""
    audience: Annotated[Any, AfterValidator(_check_audience)]
    """See `recsys.campaigns.audience`."""
    channels: tuple[BriefChannel, ...] = Field(min_length=1)
    budget: float = Field(gt=0, allow_inf_nan=False)
    """In the dataset's currency."""
    starts: AwareDatetime
    ends: AwareDatetime
    """The first instant at which nothing is sent any more."""
    send_hour: int = Field(default=10, ge=0, le=23)
    """The hour on the customer's own clock at which messages leave."""
    languages: tuple[str, ...] = Field(min_length=1)
    """Of the copy; who speaks none of them gets nothing."""
    tone: str | None = None
    """Of the copy; None: the one that the model expects to work best."""
    limits: BriefLimits = BriefLimits()
    holdout: BriefHoldout = BriefHoldout()
    salt: str = Field(min_length=8)
    """Decides who is held out; the same in all campaigns of a bank, so that the global holdout is."""
    seed: int = Field(default=0, ge=0)

    @field_validator("products", mode="before")
    @classmethod
    def _check_word(cls, value: Any) -> Any:
        """Says it in one sentence, where the type alone would say it in one for each possibility."""
        if value != ENGINE and not (isinstance(value, list | tuple) and all(isinstance(name, str) for name in value)):
            raise ValueError(f"must be `{ENGINE}`, or a list of product ids such as [p0001, p0002]")
        return value

    @model_validator(mode="after")
    def _check_dates(self) -> Self:
        if self.ends <= self.starts:
            raise ValueError(f"ends: {self.ends.isoformat()} is not after starts, {self.starts.isoformat()}")
        return self

    @model_validator(mode="after")
    def _check_products(self) -> Self:
        if self.products == ():
            raise ValueError(f"products: is empty: name at least one, or say `{ENGINE}`")
        if self.products != ENGINE and self.categories:
            raise ValueError(f"categories: is for `products: {ENGINE}` only")
        named = set() if self.products == ENGINE else set(self.limits.per_product) - set(self.products)
        if named:
            raise ValueError(f"limits.per_product: {', '.join(sorted(named))} is not a product of this campaign")
        return self

    @model_validator(mode="after")
    def _check_channels(self) -> Self:
        names = [entry.channel for entry in self.channels]
        twice = sorted(name for name, count in Counter(names).items() if count > 1)
        if twice:
            raise ValueError(f"channels: {', '.join(twice)} is there twice")
        foreign = sorted({cell.channel for cell in self.limits.cells} - set(names))
        if foreign:
            raise ValueError(f"limits.cells: {', '.join(foreign)} is not a channel of this campaign")
        cheapest = min(entry.cost_per_contact for entry in self.channels)
        if self.budget < cheapest:
            raise ValueError(
                f"budget: {self.budget:g} does not pay one contact, the cheapest costs {cheapest:g}: raise the budget"
            )
        return self

    def require_future(self, as_of: datetime) -> None:
        """Refuses a campaign that starts before what is known.

        Raises:
            BriefError: it does.
        """
        if self.starts < as_of:
            raise BriefError(
                f"starts: {self.starts.isoformat()} is in the past: the data end at {as_of.isoformat()}, "
                "and a campaign starts at or after that"
            )

    def allocation_limits(self) -> AllocationLimits:
        """The limits as the allocator takes them."""
        return AllocationLimits(
            per_customer=self.limits.per_customer,
            per_category=self.limits.per_category,
            budget=self.budget,
            channels={entry.channel: entry.capacity for entry in self.channels if entry.capacity is not None},
            products=dict(self.limits.per_product),
            cells=self.limits.cells,
        )

    def hash(self) -> str:
        """sha256 of the canonical JSON."""
        return hashlib.sha256(canonical_json(self.model_dump(mode="json")).encode()).hexdigest()


def canonical_json(value: Any) -> str:
    """The one way to write a value: keys sorted, no spaces, UTF-8."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
