"""Heads that are asked about parts say what they say of whole rows."""

from types import SimpleNamespace

import numpy as np
import pytest

from recsys.ranking.boosted import BoostedConfig
from recsys.ranking.heads import BoostedHeads, HeadRows, TastefulClick
from recsys.ranking.response import _Lean
from recsys.ranking.response_features import ExposureParts

CUSTOMER, PRODUCT, CREATIVE = ("c.age", "c.rich"), ("p.rate",), ("x.tone", "x.size")
OWN = ("near", "creative_rate", "creative_taste_text", "channel", "never_asked")
FEATURES = (*CUSTOMER, *PRODUCT, "near", *CREATIVE, "creative_rate", "creative_taste_text", "channel", "never_asked")
TREES = BoostedConfig(leaves=7, rounds=30, min_rows_in_leaf=20)
TABLES = SimpleNamespace(
    interest=SimpleNamespace(customer_names=list(CUSTOMER), product_names=list(PRODUCT)),
    creatives=SimpleNamespace(names=list(CREATIVE)),
)


def exposures(rng: np.random.Generator, count: int) -> ExposureParts:
    customers = rng.standard_normal((40, len(CUSTOMER))).astype(np.float32)
    customers[rng.random(customers.shape) < 0.2] = np.nan
    creatives = rng.standard_normal((12, len(PRODUCT) + len(CREATIVE))).astype(np.float32)
    pairs = {name: rng.standard_normal(count).astype(np.float32) for name in OWN}
    pairs["never_asked"][:] = 0
    return ExposureParts(customers, creatives, pairs, np.sort(rng.integers(0, 40, count)), rng.integers(0, 12, count))


def rows(parts: ExposureParts) -> np.ndarray:
    """The same as whole rows, in the order of FEATURES."""
    columns = {name: parts.customers[parts.customer, place] for place, name in enumerate(CUSTOMER)}
    columns |= {name: parts.creatives[parts.creative, place] for place, name in enumerate((*PRODUCT, *CREATIVE))}
    columns |= parts.pairs
    return np.stack([columns[name] for name in FEATURES], axis=1)


def fitted(tasteful: bool) -> BoostedHeads:
    rng = np.random.default_rng(0)
    features = rows(exposures(rng, 4000))
    signal = np.nan_to_num(features[:, 0]) + features[:, 3] + features[:, 4] * features[:, 6] + features[:, 7]
    clicked = signal + rng.standard_normal(4000) > 0.5
    outcomes = np.stack([clicked, clicked & (features[:, 2] > 0), clicked & (features[:, 2] > 1)], axis=1)
    counts = np.stack([np.ones(4000, bool), clicked, outcomes[:, 1]], axis=1)
    learned = HeadRows(features, outcomes, counts, np.ones(4000, np.float32))
    heads = BoostedHeads.fit(learned, [TREES, TREES, None], 0, 1)
    if tasteful:
        weights = np.zeros(len(FEATURES), np.float32)
        weights[[6, 7]] = 0.4, -0.3
        heads.taste = TastefulClick.fit(learned, weights, weights != 0, TREES, 0, 1)
    return heads


@pytest.mark.parametrize("tasteful", [False, True])
@pytest.mark.parametrize("count", [1, 5, 900])
def test_heads_say_of_parts_what_they_say_of_rows(tasteful: bool, count: int) -> None:
    heads, parts = fitted(tasteful), exposures(np.random.default_rng(count), count)
    lean = _Lean.of(heads, TABLES, FEATURES)  # type: ignore[arg-type]
    assert lean is not None
    assert "never_asked" not in lean.own
    found, wanted = lean.predict(parts.parts(lean.own), range(3)), heads.predict(rows(parts))
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(lean.predict(parts.parts(lean.own), range(1)), found[:, :1])
    np.testing.assert_array_equal(lean.predict(parts.parts(lean.own), range(1, 3)), found[:, 1:])
    some = np.flatnonzero(np.arange(count) % 3 == 0)
    np.testing.assert_array_equal(lean.predict(parts.parts(lean.own).take(some), range(3)), found[some])


def test_heads_of_which_a_weight_lies_on_a_customers_column_are_asked_about_rows() -> None:
    heads = fitted(tasteful=True)
    assert heads.taste is not None
    heads.taste.weights[0] = 1.0
    assert _Lean.of(heads, TABLES, FEATURES) is None  # type: ignore[arg-type]
