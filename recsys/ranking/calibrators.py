"""Calibration: scores become probabilities that mean what they say, in each product family."""

from typing import Literal, NamedTuple

import numpy as np

from recsys.ranking.profiles import Arrays

Method = Literal["isotonic", "beta"]
METHODS: tuple[Method, ...] = ("isotonic", "beta")
_LEAST, _MOST = 1e-6, 1 - 1e-6


class Curve(NamedTuple):
    """A monotone map of probabilities: straight lines between points."""

    x: np.ndarray
    """[K] float64, rising."""
    y: np.ndarray
    """[K] float64 in (0, 1)."""

    @classmethod
    def fit(cls, probability: np.ndarray, outcome: np.ndarray, method: Method) -> "Curve":
        """Fits [E] probabilities to [E] outcomes.

        Isotonic: Zadrozny and Elkan 2002. Beta: Kull, Silva Filho and Flach 2017, a logistic regression on log p and
        -log(1 - p), here with slopes that cannot be negative.
        """
        probability = np.clip(probability.astype(np.float64), _LEAST, _MOST)
        return _isotonic(probability, outcome) if method == "isotonic" else _beta(probability, outcome)

    def __call__(self, probability: np.ndarray) -> np.ndarray:
        """[...] float64."""
        return np.interp(np.clip(probability, _LEAST, _MOST), self.x, self.y)


class Calibration(NamedTuple):
    """One curve for each family that has enough outcomes, and one for all others."""

    pool: Curve
    families: dict[str, Curve]

    @classmethod
    def fit(
        cls, probability: np.ndarray, outcome: np.ndarray, family: np.ndarray, method: Method, fewest: int
    ) -> "Calibration":
        """Fits the pool, and each of the [E] families with at least `fewest` outcomes of either kind."""
        curves: dict[str, Curve] = {}
        for name in np.unique(family).tolist():
            mine = family == name
            rarer = min(int(outcome[mine].sum()), int((~outcome[mine]).sum()))
            if rarer >= fewest:
                curves[name] = Curve.fit(probability[mine], outcome[mine], method)
        return cls(Curve.fit(probability, outcome, method), curves)

    def __call__(self, probability: np.ndarray, family: np.ndarray) -> np.ndarray:
        """[E] float64."""
        out = self.pool(probability)
        for name, curve in self.families.items():
            mine = family == name
            out[mine] = curve(probability[mine])
        return out

    def to_arrays(self, prefix: str) -> Arrays:
        """Flat arrays for a safetensors file."""
        curves = {"": self.pool, **{f":{name}": curve for name, curve in self.families.items()}}
        return {f"{prefix}{name}": np.stack([curve.x, curve.y]) for name, curve in curves.items()}

    @classmethod
    def from_arrays(cls, prefix: str, arrays: Arrays) -> "Calibration":
        """The inverse of `to_arrays`."""
        start = f"{prefix}:"
        families = {key.removeprefix(start): Curve(*values) for key, values in arrays.items() if key.startswith(start)}
        return cls(Curve(*arrays[prefix]), families)


def _isotonic(probability: np.ndarray, outcome: np.ndarray) -> Curve:
    from sklearn.isotonic import IsotonicRegression

    model = IsotonicRegression(y_min=_LEAST, y_max=_MOST, out_of_bounds="clip").fit(probability, outcome)
    return Curve(np.asarray(model.X_thresholds_, np.float64), np.asarray(model.y_thresholds_, np.float64))


def _beta(probability: np.ndarray, outcome: np.ndarray) -> Curve:
    """As points of its curve: one way to store and to apply either method."""
    from sklearn.linear_model import LogisticRegression

    terms = np.stack([np.log(probability), -np.log1p(-probability)], axis=1)
    kept = [0, 1]
    slopes, intercept = np.zeros(2), 0.0
    while kept and len(np.unique(outcome)) == 2:
        model = LogisticRegression(C=1e6, max_iter=500).fit(terms[:, kept], outcome)
        if (model.coef_[0] >= 0).all():
            slopes[kept], intercept = model.coef_[0], float(model.intercept_[0])
            break
        kept = [kept[int(np.argmax(model.coef_[0]))]] if len(kept) == 2 else []
    else:
        share = (outcome.sum() + 0.5) / (len(outcome) + 1)
        intercept = float(np.log(share / (1 - share)))
    grid = 1 / (1 + np.exp(-np.linspace(np.log(_LEAST), -np.log(_LEAST), 1001)))
    logit = slopes[0] * np.log(grid) - slopes[1] * np.log1p(-grid) + intercept
    return Curve(grid, np.clip(1 / (1 + np.exp(-logit)), _LEAST, _MOST))
