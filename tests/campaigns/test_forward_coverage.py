"""Campaigns run forward in time by the simulator: the reported lift's interval covers the true lift."""

import sys

import numpy as np
import polars as pl
import pytest

from recsys.campaigns.measurement import measure
from recsys.schema import EventType
from recsys.simulator import SimulatorConfig
from recsys.simulator.behaviour import Block
from recsys.simulator.forward import Contacts, block_before, run_forward
from recsys.simulator.journal import EVENT_TYPES, Journal
from recsys.simulator.preference import NO_CONTENT
from recsys.simulator.world import CHANNEL_NAMES, SEGMENTS

DAYS = range(90, 112)
"""A week of sending and a fortnight in which responses still count."""
HELD_OUT = 0.2
_EMAIL, _APP = CHANNEL_NAMES.index("email"), CHANNEL_NAMES.index("app")


@pytest.fixture(scope="module")
def block() -> Block:
    return block_before(
        SimulatorConfig(customers=1200, products=24, days=112, creatives_per_product=(2, 3)), DAYS.start
    )


def reachable(block: Block) -> np.ndarray:
    """Who agrees to both channels and may have anything."""
    everyone = np.arange(block.population.count)
    agrees = [block.consent.marketing_on(DAYS.start, everyone, channel) for channel in (_EMAIL, _APP)]
    return np.flatnonzero(agrees[0] & agrees[1] & block.eligibility.allowed(DAYS.start, everyone).any(axis=1))


def plan_for(block: Block, customers: np.ndarray) -> Contacts:
    """Seven in ten of them hear of what would suit them well, by a model that does not see everything."""
    rng = np.random.default_rng(5)
    seen = block.utility[customers] + rng.normal(0, 0.7, (len(customers), block.utility.shape[1]))
    seen[~block.eligibility.allowed(DAYS.start, customers)] = -np.inf
    product, best = seen.argmax(axis=1), seen.max(axis=1)
    chosen = np.flatnonzero(best >= np.quantile(best, 0.3))
    day = DAYS.start + rng.integers(0, 7, len(chosen))
    channel = np.where(rng.random(len(chosen)) < 0.5, _EMAIL, _APP)
    return Contacts(customers[chosen], product[chosen], np.full(len(chosen), NO_CONTENT), channel, day)


def who(journal: Journal, kind: EventType, customers: np.ndarray, products: np.ndarray) -> np.ndarray:
    """[n] bool: which of the customers did something with one of the products."""
    did = set[int]()
    for part in journal.events:
        if part["kind"] == EVENT_TYPES.index(kind):
            did.update(part["customer"][np.isin(part["product"], products)].tolist())
    return np.isin(customers, sorted(did))


def people_of(block: Block, journal: Journal, customers: np.ndarray, held: np.ndarray, products: np.ndarray):
    """The table that a report reads."""
    before = np.zeros(block.population.count)
    for part in block.journal.events:
        if part["kind"] in [EVENT_TYPES.index(kind) for kind in (EventType.CLICK, EventType.APPLY, EventType.CONVERT)]:
            np.add.at(before, part["customer"], 1.0)
    steps = {
        "viewed": EventType.IMPRESSION,
        "clicked": EventType.CLICK,
        "applied": EventType.APPLY,
        "converted": EventType.CONVERT,
    }
    left = np.concatenate([part[0] for part in journal.opt_outs]) if journal.opt_outs else np.zeros(0, int)
    return pl.DataFrame(
        {
            "customer_id": [f"c{one}" for one in customers],
            "segment": [SEGMENTS[block.population.segment[one]] for one in customers],
            "held_out": held,
            "before": before[customers],
            **{name: who(journal, kind, customers, products) for name, kind in steps.items()},
            "opted_out": np.isin(customers, left),
        }
    )


def run_once(block: Block, plan: Contacts, customers: np.ndarray, repeat: int):
    """A campaign with a holdout of its own."""
    held = np.random.default_rng((9, repeat)).random(len(customers)) < HELD_OUT
    free = plan.take(~np.isin(plan.customer, customers[held]))
    journal = run_forward(block, free, DAYS, seed=1000 + repeat)
    people = people_of(block, journal, customers, held, np.unique(plan.product))
    messages = pl.DataFrame(
        {
            "customer_id": [f"c{one}" for one in free.customer],
            "channel": [CHANNEL_NAMES[one] for one in free.channel],
            "content_id": "a1",
            "cost": 0.05,
        }
    )
    return measure(people, messages, HELD_OUT)


def true_lift(block: Block, plan: Contacts, customers: np.ndarray, repeats: int) -> float:
    """Share of the customers who convert if the whole plan is carried out, less if nothing of it is."""
    nothing, products = plan.take(np.zeros(0, int)), np.unique(plan.product)
    shares = [
        [
            who(run_forward(block, made, DAYS, seed=50_000 + repeat), EventType.CONVERT, customers, products).mean()
            for repeat in range(repeats)
        ]
        for made in (plan, nothing)
    ]
    return float(np.mean(shares[0]) - np.mean(shares[1]))


def test_a_campaign_run_forward_is_measured_and_leaves_the_bank_as_it_was(block: Block) -> None:
    customers = reachable(block)
    plan = plan_for(block, customers)
    before = block.exposure.copy(), block.eligibility.held.copy(), block.population.needs.copy()
    first, again = run_once(block, plan, customers, 0), run_once(block, plan, customers, 0)
    after = block.exposure, block.eligibility.held, block.population.needs
    assert all((one == other).all() for one, other in zip(before, after, strict=True))
    assert first.lift == again.lift
    assert first.funnel["viewed"] > 0.5 * first.funnel["delivered"] > 100
    assert not first.sample_ratio["alarm"]


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_intervals_cover_the_true_lift_in_nine_of_ten_of_200_campaigns(
    block: Block, capsys: pytest.CaptureFixture[str]
) -> None:
    customers = reachable(block)
    plan = plan_for(block, customers)
    truth = true_lift(block, plan, customers, 200)
    reports = [run_once(block, plan, customers, repeat) for repeat in range(200)]
    plain = np.mean([one.lift.low <= truth <= one.lift.high for one in reports])
    adjusted = np.mean([one.cuped.low <= truth <= one.cuped.high for one in reports])
    alarms = np.mean([one.sample_ratio["alarm"] for one in reports])
    width = np.mean([one.lift.high - one.lift.low for one in reports])
    with capsys.disabled():
        sys.stderr.write(
            f"\n{len(customers)} customers, {len(plan.customer)} contacts; true lift {truth:+.3%}, "
            f"covered {plain:.1%}, with CUPED {adjusted:.1%}; mean width {width:.3%}; ratio alarms {alarms:.1%}\n"
        )
    assert truth > 0
    assert plain >= 0.9
    assert adjusted >= 0.9
    assert alarms <= 0.02
