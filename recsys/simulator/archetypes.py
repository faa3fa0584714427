"""The kinds of product a bank sells, read from `data/archetypes.yaml`, and which of them a bank of n products has."""

from itertools import zip_longest
from typing import Literal, NamedTuple

from recsys.config import BaseConfig, read_yaml
from recsys.simulator.lexicon import DATA

Family = Literal[
    "savings", "term_deposit", "card", "personal_loan", "mortgage", "fund", "insurance", "pension", "fx", "wealth"
]
Tier = Literal["standard", "plus", "premier"]


class Archetype(BaseConfig):
    """One kind of product: what it does for whom, and the ranges of its facts."""

    family: Family
    needs: dict[str, float]
    """How well it serves each hidden need, 0..1."""
    scenes: tuple[str, ...]
    """Pictures that suit it."""
    rate: tuple[float, float] | None = None
    """Lowest and highest rate, % a year."""
    fee: tuple[float, float] | None = None
    """Lowest and highest fee: currency a year, or % a year for fund, wealth and pension."""
    minimum: float = 0.0
    """Smallest amount in base currency."""
    terms: tuple[int, ...] = ()
    """Months; one product each."""
    tiers: tuple[Tier, ...] = ()
    """One product each, where there are no terms."""
    risk: tuple[int, ...] = ()
    """Risk class 1..5 of each variant in turn; empty: not an investment."""
    value: float
    """Expected margin of a conversion in base currency."""
    ease: float
    status: float
    credit: bool = False
    repeatable: bool = False
    limited: bool = False
    """Sold in a limited amount for a limited time."""
    segments: tuple[str, ...] | None = None
    requires: str | None = None
    """Archetype of which the customer must hold a product."""
    benefits: tuple[str, ...]

    @property
    def variants(self) -> int:
        """How many products it gives before it repeats itself."""
        return max(len(self.terms), len(self.tiers), 1)


class Variant(NamedTuple):
    """One product to be: an archetype, which of its variants, and how often that one was taken before."""

    key: str
    archetype: Archetype
    number: int
    series: int


def read_archetypes() -> dict[str, Archetype]:
    """All archetypes, in file order.

    Raises:
        ConfigError: the packaged file is damaged.
    """
    path = DATA / "archetypes.yaml"
    return {key: Archetype.parse(values, f"{path}: {key}") for key, values in read_yaml(path).items()}


def choose_variants(count: int) -> list[Variant]:
    """The `count` products of a bank: every family in turn, new archetypes before further variants of old ones."""
    archetypes = read_archetypes()
    most = max(archetype.variants for archetype in archetypes.values())
    chosen: list[Variant] = []
    for series in range(2):  # the second series only when the first is used up
        families: dict[str, list[Variant]] = {}
        for number in range(most):
            for key, archetype in archetypes.items():
                if number < archetype.variants:
                    families.setdefault(archetype.family, []).append(Variant(key, archetype, number, series))
        chosen += [variant for row in zip_longest(*families.values()) for variant in row if variant is not None]
    return chosen[:count]
