"""What an allocation may not exceed, and what it must reach."""

from typing import Self

from pydantic import Field, model_validator

from recsys.config import BaseConfig


class Cell(BaseConfig):
    """How many contacts the customers of a segment get on a channel."""

    segment: str
    channel: str
    minimum: int = Field(default=0, ge=0)
    maximum: int | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.maximum is not None and self.maximum < self.minimum:
            raise ValueError(f"cell {self.name}: maximum {self.maximum} is below minimum {self.minimum}")
        return self

    @property
    def name(self) -> str:
        """`segment × channel`."""
        return f"{self.segment} × {self.channel}"


class AllocationLimits(BaseConfig):
    """The limits of one campaign; what is not named is not limited."""

    per_customer: int = Field(default=1, ge=1)
    """Contacts of a customer."""
    per_category: int | None = Field(default=None, ge=1)
    """Contacts of a customer about products of one category."""
    budget: float | None = Field(default=None, ge=0)
    """In money."""
    channels: dict[str, int] = Field(default_factory=dict)
    """Contacts that a channel can carry."""
    products: dict[str, int] = Field(default_factory=dict)
    """Contacts about a product."""
    cells: tuple[Cell, ...] = ()

    @model_validator(mode="after")
    def _check(self) -> Self:
        negative = [name for name, limit in {**self.channels, **self.products}.items() if limit < 0]
        if negative:
            raise ValueError(f"capacity below zero: {', '.join(negative)}")
        names = [cell.name for cell in self.cells]
        doubled = sorted({name for name in names if names.count(name) > 1})
        if doubled:
            raise ValueError(f"cell twice: {', '.join(doubled)}")
        return self
