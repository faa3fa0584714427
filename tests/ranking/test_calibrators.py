"""Calibration: the map is monotone, undoes a known distortion, and small families borrow from all."""

import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression

from recsys.metrics.calibration import expected_calibration_error
from recsys.ranking.calibrators import METHODS, Calibration, Curve, Method


def _distorted(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Over-confident probabilities and outcomes of the true ones."""
    rng = np.random.default_rng(seed)
    logit = rng.normal(-2, 1, n)
    return 1 / (1 + np.exp(-(2 * logit + 0.5))), rng.random(n) < 1 / (1 + np.exp(-logit))


@pytest.mark.parametrize("method", METHODS)
def test_curve_undoes_a_distortion_and_never_falls(method: Method) -> None:
    probability, outcome = _distorted(40_000)
    fresh, came = _distorted(40_000, seed=1)
    curve = Curve.fit(probability, outcome, method)
    assert expected_calibration_error(curve(fresh), came) < 0.01 < expected_calibration_error(fresh, came)
    assert (np.diff(curve(np.linspace(0, 1, 999))) >= 0).all()
    assert ((curve(np.array([0.0, 1.0])) > 0) & (curve(np.array([0.0, 1.0])) < 1)).all()


def test_beta_recovers_the_slopes_of_a_beta_distortion() -> None:
    probability, outcome = _distorted(200_000)
    asked = np.array([0.01, 0.1, 0.5, 0.9])
    logit = (np.log(asked / (1 - asked)) - 0.5) / 2
    assert Curve.fit(probability, outcome, "beta")(asked) == pytest.approx(1 / (1 + np.exp(-logit)), rel=0.05)


def test_isotonic_is_the_librarys() -> None:
    probability, outcome = _distorted(3000)
    reference = IsotonicRegression(out_of_bounds="clip").fit(probability, outcome)
    asked = np.linspace(0.01, 0.9, 50)
    assert Curve.fit(probability, outcome, "isotonic")(asked) == pytest.approx(
        np.clip(reference.predict(asked), 1e-6, 1 - 1e-6)
    )


@pytest.mark.parametrize("method", METHODS)
def test_curve_of_one_kind_of_outcome_is_flat_and_inside(method: Method) -> None:
    curve = Curve.fit(np.array([0.1, 0.2, 0.9]), np.zeros(3, bool), method)
    found = curve(np.array([0.1, 0.5, 0.9]))
    assert np.ptp(found) < 1e-9
    assert (found < 0.3).all()


def test_calibration_of_a_small_family_is_the_pools_and_survives_the_file() -> None:
    probability, outcome = _distorted(6000)
    family = np.array(["large"] * 5900 + ["small"] * 100)
    made = Calibration.fit(probability, outcome, family, "beta", fewest=100)
    assert set(made.families) == {"large"}
    again = Calibration.from_arrays("head", made.to_arrays("head"))
    asked, names = np.array([0.05, 0.3, 0.05]), np.array(["small", "large", "unseen"])
    found = again(asked, names)
    assert found == pytest.approx(made(asked, names))
    assert found[0] == found[2] == pytest.approx(made.pool(asked[:1])[0])
    assert found[1] == pytest.approx(made.families["large"](asked[1:2])[0])
