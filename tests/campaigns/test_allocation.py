"""The allocator against every subset of small problems, and its promises on random ones."""

from itertools import product

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from recsys.campaigns.allocation import AllocationLimits, Cell, allocate
from recsys.errors import InfeasibleError

CHANNELS, CATEGORIES, SEGMENTS = ("email", "app"), ("card", "loan"), ("young", "old")


def make_options(customers: int, each: int, seed: int) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    rows = []
    for customer in range(customers):
        for number in rng.permutation(12)[:each]:
            rows.append(
                {
                    "customer_id": f"c{customer:06d}",
                    "product_id": f"p{number % 6}",
                    "content_id": f"a{number}",
                    "channel": CHANNELS[number // 6],
                    "slot": 0,
                    "category": CATEGORIES[number % 2],
                    "segment": SEGMENTS[customer % 2],
                    "value": float(np.round(rng.normal(2, 2), 3)),
                    "cost": float(np.round(rng.uniform(0.1, 1.0), 3)),
                }
            )
    return pl.DataFrame(rows)


def broken(chosen: pl.DataFrame, limits: AllocationLimits) -> list[str]:
    """Which limits a choice breaks, counted the plain way."""
    found = []
    if chosen.height and chosen["customer_id"].value_counts()["count"].max() > limits.per_customer:
        found.append("customer")
    if limits.per_category and chosen.height:
        found += ["category"] * (chosen.group_by("customer_id", "category").len()["len"].max() > limits.per_category)
    if limits.budget is not None and chosen["cost"].sum() > limits.budget + 1e-6:
        found.append("budget")
    for name, capacity in limits.channels.items():
        found += [name] * (chosen.filter(pl.col("channel") == name).height > capacity)
    for name, capacity in limits.products.items():
        found += [name] * (chosen.filter(pl.col("product_id") == name).height > capacity)
    for cell in limits.cells:
        size = chosen.filter(pl.col("segment") == cell.segment, pl.col("channel") == cell.channel).height
        found += [cell.name] * (size < cell.minimum or (cell.maximum is not None and size > cell.maximum))
    return found


def best_by_hand(options: pl.DataFrame, limits: AllocationLimits) -> float | None:
    best = None
    for mask in product([False, True], repeat=options.height):
        chosen = options.filter(pl.Series(mask))
        if not broken(chosen, limits):
            best = max(best if best is not None else -np.inf, chosen["value"].sum())
    return best


LIMITS = [
    AllocationLimits(),
    AllocationLimits(per_customer=2, per_category=1),
    AllocationLimits(per_customer=2, budget=1.0),
    AllocationLimits(channels={"email": 1, "app": 1}),
    AllocationLimits(per_customer=3, products={"p0": 1, "p1": 0}, budget=2.0),
    AllocationLimits(cells=(Cell(segment="young", channel="email", minimum=1, maximum=1),)),
    AllocationLimits(per_customer=2, budget=1.6, cells=(Cell(segment="old", channel="app", minimum=1),)),
]


@pytest.mark.parametrize("limits", LIMITS)
@pytest.mark.parametrize("seed", range(3))
def test_allocate_exact_equals_the_best_of_all_subsets(limits: AllocationLimits, seed: int) -> None:
    options = make_options(3, 3, seed)
    best = best_by_hand(options, limits)
    if best is None:
        with pytest.raises(InfeasibleError):
            allocate(options, limits)
        return
    found = allocate(options, limits)
    assert not broken(found.assignments, limits)
    assert found.objective == pytest.approx(best, rel=2e-3)
    assert found.bound >= best - 1e-6


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    per_customer=st.integers(1, 3),
    per_category=st.none() | st.integers(1, 2),
    budget=st.none() | st.floats(0, 30),
    email=st.none() | st.integers(0, 40),
)
def test_allocate_by_prices_breaks_no_limit_and_stays_below_its_bound(
    seed: int, per_customer: int, per_category: int | None, budget: float | None, email: int | None
) -> None:
    limits = AllocationLimits(
        per_customer=per_customer, per_category=per_category, budget=budget,
        channels={} if email is None else {"email": email}, products={"p2": 5},
    )  # fmt: skip
    options = make_options(40, 5, seed)
    found = allocate(options, limits, exact_up_to=0)
    assert found.method == "lagrangian"
    assert not broken(found.assignments, limits)
    assert found.objective <= found.bound + 1e-6
    assert found.bound >= allocate(options, limits).objective - 1e-6


def test_allocate_by_prices_is_within_one_percent_of_the_bound_where_there_are_many() -> None:
    limits = AllocationLimits(
        per_customer=2, per_category=1, budget=500.0, channels={"email": 900, "app": 800}, products={"p1": 150},
        cells=(Cell(segment="old", channel="email", minimum=450, maximum=600),),
    )  # fmt: skip
    options = make_options(2000, 6, 5)
    found = allocate(options, limits, exact_up_to=0)
    assert not broken(found.assignments, limits)
    assert found.gap <= 0.01
    assert {price.name for price in found.prices if price.binding} >= {"budget"}
    again = allocate(options.sample(fraction=1.0, shuffle=True, seed=1), limits, exact_up_to=0)
    assert again.assignments.equals(found.assignments)


def test_price_of_the_budget_is_what_one_more_unit_is_worth() -> None:
    options = make_options(60, 4, 2)
    less, more = (allocate(options, AllocationLimits(budget=budget)) for budget in (10.0, 11.0))
    price = next(price for price in less.prices if price.name == "budget")
    assert price.used <= price.limit
    assert more.bound - less.bound == pytest.approx(price.price, rel=0.2)


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (AllocationLimits(cells=(Cell(segment="young", channel="email", minimum=99),)), "99 wanted"),
        (AllocationLimits(cells=(Cell(segment="nobody", channel="email", minimum=1),)), "nobody × email"),
        (AllocationLimits(budget=0.01, cells=(Cell(segment="young", channel="email", minimum=2),)), "cost at least"),
        (
            AllocationLimits(channels={"email": 0}, cells=(Cell(segment="young", channel="email", minimum=1),)),
            "it carries 0",
        ),
    ],
)
@pytest.mark.parametrize("exact_up_to", [0, 10_000])
def test_allocate_that_cannot_be_says_why(limits: AllocationLimits, words: str, exact_up_to: int) -> None:
    with pytest.raises(InfeasibleError, match=words):
        allocate(make_options(20, 4, 0), limits, exact_up_to=exact_up_to)


def test_allocate_nothing_to_choose_from_is_an_empty_plan() -> None:
    empty = make_options(1, 1, 0).clear()
    found = allocate(empty, AllocationLimits(budget=5))
    assert (found.assignments.height, found.objective, found.gap) == (0, 0.0, 0.0)


def test_limits_that_contradict_themselves_are_refused() -> None:
    with pytest.raises(ValidationError, match="below minimum"):
        Cell(segment="a", channel="b", minimum=3, maximum=2)
    with pytest.raises(ValidationError, match="below zero"):
        AllocationLimits(channels={"email": -1})
    with pytest.raises(ValidationError, match="twice"):
        AllocationLimits(cells=(Cell(segment="a", channel="b"), Cell(segment="a", channel="b")))
    with pytest.raises(ValueError, match="twice"):
        allocate(pl.concat([make_options(1, 1, 0)] * 2), AllocationLimits())
