"""The linear part of a click, read from the columns of taste alone; and which of two models of it is preferred."""

from typing import NamedTuple

import numpy as np
import polars as pl

from recsys.ranking.heads import HeadRows
from training.exposures import Exposures
from training.response_choice import Read, _as_good, linear_taste

NAMES = ("age", "creative_rate", "creative_taste_labels", "creative_taste_pictures", "position")


def _rows(n: int) -> HeadRows:
    """Clicks follow the rate, the taste in pictures and the place, and the better creatives stand higher up."""
    rng = np.random.default_rng(5)
    features = rng.normal(size=(n, len(NAMES))).astype(np.float32)
    features[:, 1] = 0.5 * features[:, 1] - 2
    features[:, 4] = np.clip(np.round(3 - 3 * (features[:, 1] + 2) + rng.normal(size=n)), 1, 8)
    logit = features[:, 1] + 0.7 * features[:, 3] - np.log(features[:, 4])
    clicked = rng.random(n) < 1 / (1 + np.exp(-logit))
    outcomes = np.stack([clicked, clicked, clicked], axis=1)
    return HeadRows(features, outcomes, np.ones((n, 3), bool), np.ones(n, np.float32))


def test_linear_taste_finds_the_weights_and_holds_the_place_fixed() -> None:
    weights = linear_taste(NAMES, _rows(60_000))
    assert weights[[0, 4]].tolist() == [0, 0]
    np.testing.assert_allclose(weights[1:4], [1, 0, 0.7], atol=0.1)


def test_linear_taste_reads_only_rows_that_count_and_bears_a_place_that_was_not_logged() -> None:
    rows = _rows(60_000)
    rows.outcomes[30_000:, 0] = True  # did not count
    rows.counts[30_000:, 0] = False
    rows.features[:100, 4] = np.nan
    np.testing.assert_allclose(linear_taste(NAMES, rows)[1:4], [1, 0, 0.7], atol=0.15)


class Fixed(NamedTuple):
    """Heads that say the same whatever they are asked."""

    click: np.ndarray

    def predict(self, features: np.ndarray) -> np.ndarray:
        return np.repeat(self.click[:, None], 3, axis=1)


def test_as_good_is_within_the_standard_error_of_the_difference() -> None:
    n = 20_000
    rng = np.random.default_rng(2)
    truth = rng.normal(-2, 1, n)
    clicked = rng.random(n) < 1 / (1 + np.exp(-truth))
    outcomes = np.stack([clicked, clicked, clicked], axis=1)
    nothing = np.zeros(n, np.int64)
    every = np.ones((n, 3), bool)
    exposures = Exposures(
        request=nothing,
        now=nothing,
        columns=pl.DataFrame(),
        channel=[],
        product=nothing,
        content=nothing,
        position=np.ones(n),
        propensity=np.full(n, np.nan),
        outcomes=outcomes,
        settled=every,
        drawn=every[:, 0],
    )
    read = Read(exposures, NAMES, np.zeros((n, 5), np.float32), np.zeros(5, bool))
    best, near, far = Fixed(truth), Fixed(truth + rng.normal(0, 0.02, n)), Fixed(truth + rng.normal(0, 0.6, n))
    assert _as_good(near, best, read, "input")
    assert not _as_good(far, best, read, "input")
    assert _as_good(best, far, read, "input")
