"""Losses against closed forms and slow references."""

import math

import numpy as np
import torch

from recsys.modeling.losses import full_softmax, info_nce, sampled_softmax


def reference_softmax(logits: list[float], target: int, excluded: set[int]) -> float:
    kept = [value for item, value in enumerate(logits) if item == target or item not in excluded]
    return math.log(sum(math.exp(value) for value in kept)) - logits[target]


def test_full_softmax_with_weights_and_exclusions_equals_the_slow_reference() -> None:
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(5, 7))
    targets, weights = generator.integers(0, 7, 5), generator.uniform(0.5, 2, 5)
    excluded = generator.random((5, 7)) < 0.3
    expected = (
        sum(
            weights[row] * reference_softmax(logits[row].tolist(), targets[row], set(np.flatnonzero(excluded[row])))
            for row in range(5)
        )
        / weights.sum()
    )
    actual = full_softmax(
        torch.from_numpy(logits), torch.from_numpy(targets), torch.from_numpy(weights), torch.from_numpy(excluded)
    )
    assert math.isclose(float(actual), expected, rel_tol=1e-9)


def test_full_softmax_where_the_target_is_excluded_still_counts_it() -> None:
    logits = torch.zeros(1, 3, dtype=torch.float64)
    everything = torch.ones(1, 3, dtype=torch.bool)
    assert float(full_softmax(logits, torch.tensor([1]), torch.ones(1), everything)) == 0.0


def test_sampled_softmax_with_logq_estimates_the_full_softmax() -> None:
    """With many draws from any distribution, the corrected loss converges to the full one; the uncorrected does not."""
    generator = np.random.default_rng(1)
    items, draws = 40, 200_000
    logits = generator.normal(size=items)
    q = generator.dirichlet(np.full(items, 0.7)) * 0.9 + 0.1 / items
    target = int(np.argmax(q))  # often sampled: the positive's own probability matters
    sample = generator.choice(items, draws, p=q)
    full = reference_softmax(logits.tolist(), target, set())
    arguments = (
        torch.tensor([logits[target]]),
        torch.from_numpy(logits[sample])[None],
    )
    log_q = (torch.tensor([math.log(q[target])]), torch.from_numpy(np.log(q[sample])))
    hits = torch.from_numpy(sample == target)[None]
    corrected = sampled_softmax(*arguments, log_q, torch.ones(1), hits)
    plain = sampled_softmax(*arguments, None, torch.ones(1), hits)
    assert math.isclose(float(corrected), full, rel_tol=0.01)
    assert abs(float(plain) - full) > 1


def test_sampled_softmax_that_excludes_all_samples_is_zero() -> None:
    loss = sampled_softmax(torch.ones(2), torch.ones(2, 3), None, torch.ones(2), torch.ones(2, 3, dtype=torch.bool))
    assert float(loss) == 0.0


def test_info_nce_of_orthogonal_pairs_has_the_closed_form() -> None:
    """Equal pairs score 1 / t and all others 0: loss = log(1 + (M - 1) exp(-1 / t))."""
    eye, temperature = torch.eye(4, dtype=torch.float64), 0.5
    expected = math.log(1 + 3 * math.exp(-1 / temperature))
    assert math.isclose(float(info_nce(eye, eye, temperature)), expected, rel_tol=1e-9)


def test_info_nce_of_fewer_than_two_pairs_is_zero_and_differentiable() -> None:
    single = torch.ones(1, 3, requires_grad=True)
    loss = info_nce(single, single, 0.1)
    loss.backward()
    assert float(loss) == 0.0
