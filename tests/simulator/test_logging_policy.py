"""The propensities are exact: they sum to one, follow a closed form, and are met by frequencies."""

from itertools import permutations

import numpy as np
import pytest

from recsys.simulator.bank import Bank
from recsys.simulator.config import SimulatorConfig
from recsys.simulator.logging_policy import LoggingPolicy

APP = 0


@pytest.fixture(scope="module")
def bank_alone() -> Bank:
    return Bank.found(SimulatorConfig(customers=10, products=12, creatives_per_product=(2, 3)))


def draw(policy: LoggingPolicy, allowed: np.ndarray, arm: int, slots: int, seed: int = 1):
    count = len(allowed)
    who = (np.ones(count, np.int64), np.ones(count, bool), np.full(count, arm))
    return policy.draw(allowed, who, (APP, slots, 5), np.random.default_rng(seed))


def test_draw_frequencies_meet_the_logged_propensities(bank_alone: Bank) -> None:
    allowed = np.zeros((40_000, 12), bool)
    allowed[:, bank_alone.catalogue.channels[:, APP]] = True
    slate = draw(bank_alone.policy, allowed, arm=0, slots=1)
    for product in np.unique(slate.product):
        rows = slate.product[:, 0] == product
        chance = slate.product_propensity[rows, 0]
        assert np.ptp(chance) < 1e-12
        assert rows.mean() == pytest.approx(chance[0], abs=4 * (chance[0] / len(rows)) ** 0.5)


def test_draw_second_slot_has_the_propensity_given_the_first(bank_alone: Bank) -> None:
    policy = bank_alone.policy
    some = np.flatnonzero(bank_alone.catalogue.channels[:, APP])[:4]
    allowed = np.zeros((2_000, 12), bool)
    allowed[:, some] = True
    slate = draw(policy, allowed, arm=0, slots=2)
    one = allowed[:1]
    weights, uniform = policy.weights(one, np.array([1]), np.array([True]), np.array([0]))
    total = 0.0
    for first, second in permutations(some, 2):
        left = weights.copy()
        chance = policy.product_propensity(left, uniform)[0, first]
        left[0, first] = 0
        expected = policy.product_propensity(left, uniform)[0, second]
        total += chance * expected
        rows = (slate.product == [first, second]).all(axis=1)
        assert slate.product_propensity[rows] == pytest.approx(np.tile([chance, expected], (rows.sum(), 1)))
    assert total == pytest.approx(1)


def test_explore_arm_draws_uniformly_and_treatment_does_not(bank_alone: Bank) -> None:
    allowed = np.tile(bank_alone.catalogue.channels[:, APP], (500, 1))
    explore = draw(bank_alone.policy, allowed, arm=1, slots=1)
    assert explore.product_propensity == pytest.approx(np.full((500, 1), 1 / allowed[0].sum()))
    treatment = draw(bank_alone.policy, allowed, arm=0, slots=1)
    assert np.ptp(treatment.product_propensity) > 0.05


def test_draw_shows_only_what_is_allowed_and_never_twice(bank_alone: Bank) -> None:
    rng = np.random.default_rng(0)
    allowed = rng.random((3_000, 12)) < 0.25
    slate = draw(bank_alone.policy, allowed, arm=0, slots=3)
    for slot in range(3):
        filled = slate.product[:, slot] >= 0
        assert allowed[filled, slate.product[filled, slot]].all()
    for row in slate.product:
        shown = row[row >= 0]
        assert len(set(shown)) == len(shown)
    usable = (allowed & bank_alone.catalogue.channels[:, APP]).sum(axis=1)
    assert ((slate.product >= 0).sum(axis=1) == np.minimum(usable, 3)).all()


def test_draw_creative_propensity_is_one_over_the_creatives_of_the_shelf(bank_alone: Bank) -> None:
    allowed = np.tile(bank_alone.catalogue.channels[:, APP], (500, 1))
    slate = draw(bank_alone.policy, allowed, arm=0, slots=2)
    _, sizes = bank_alone.policy.shelf(APP, 5)
    ratio = slate.propensity / slate.product_propensity
    assert ratio == pytest.approx(1 / np.maximum(sizes[slate.product], 1))
    with_content = slate.content >= 0
    owner = bank_alone.creatives.product[slate.content[with_content]]
    assert (owner == slate.product[with_content]).all()
