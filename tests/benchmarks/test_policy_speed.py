"""How fast the rules are: many customers at once, and one customer at a time."""

import sys
from datetime import UTC, datetime
from time import perf_counter

import numpy as np
import pytest

from recsys.policy.engine import PolicyEngine
from recsys.policy.facts import CustomerFacts, ProductFacts
from recsys.policy.pack import load_pack
from recsys.policy.rules import RequestContext
from recsys.schema import PolicyName
from tests.policy.worlds import World, draw_world

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
PRODUCTS = 500


def _world(customers: int) -> tuple[World, CustomerFacts, ProductFacts]:
    world = draw_world(np.random.default_rng(0), customers, PRODUCTS, NOW)
    world.kept, world.consents_kept = set(world.customers[0]) - {"as_of"}, True
    return world, world.customer_facts(), world.product_facts()


@pytest.mark.benchmark
@pytest.mark.parametrize("channel", ["app", "email"])
def test_policy_hundred_thousand_customers_by_five_hundred_products(
    channel: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _, facts, products = _world(100_000)
    engine = PolicyEngine(load_pack(PolicyName.BANK))
    started = perf_counter()
    outcome = engine.evaluate(facts, products, NOW, RequestContext(channel=channel))
    seconds = perf_counter() - started
    with capsys.disabled():
        sys.stdout.write(f"\n100,000 x {PRODUCTS}, {len(engine.rule_ids)} rules, {channel}: {seconds:.2f} s" + "\n")
    assert outcome.allowed.shape == (100_000, PRODUCTS)


@pytest.mark.benchmark
@pytest.mark.parametrize("channel", ["app", "email"])
def test_policy_one_customer_by_five_hundred_products(channel: str, capsys: pytest.CaptureFixture[str]) -> None:
    _, facts, products = _world(200)
    engine = PolicyEngine(load_pack(PolicyName.BANK))
    people = [facts.slice(row, row + 1) for row in range(len(facts))]
    times = []
    for person in people * 5:
        started = perf_counter()
        engine.evaluate(person, products, NOW, RequestContext(channel=channel))
        times.append(1000 * (perf_counter() - started))
    p50, p99 = np.percentile(times[len(people) :], [50, 99])
    with capsys.disabled():
        sys.stdout.write(
            f"\n1 x {PRODUCTS}, {len(engine.rule_ids)} rules, {channel}: p50 {p50:.3f} ms, p99 {p99:.3f} ms" + "\n"
        )
