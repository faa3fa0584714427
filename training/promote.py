"""The gate: a challenger becomes champion if it beats popularity and is not worse than the present champion."""

from typing import Any, NamedTuple

import numpy as np

from recsys.metrics.bootstrap import bootstrap_difference
from training.config import EvaluationConfig
from training.evaluate import interval_json


class GateDecision(NamedTuple):
    """Whether a challenger is promoted, and why."""

    passed: bool
    reasons: list[str]
    differences: dict[str, Any]
    """Name of the opponent to the paired difference in NDCG with its interval."""


def decide_promotion(
    challenger: np.ndarray, baselines: dict[str, np.ndarray], champion: np.ndarray | None, config: EvaluationConfig
) -> GateDecision:
    """Compares the challenger with each opponent on the same questions of the frozen split.

    It passes if its mean is above every baseline's, and if the 95 % interval of its difference to the champion does
    not lie wholly below zero. Where it is right about every question, as with a single product, nothing can be above
    it, and a baseline's equal passes too.

    Args:
        challenger: [Q] NDCG of each question.
        baselines: name to [Q].
        champion: [Q], or None where there is none (or none that the present features fit).
        config: how intervals are made.
    """
    reasons, differences, passed = [], {}, True
    flawless = bool((challenger >= 1).all())
    for name, values in baselines.items():
        difference = bootstrap_difference(challenger, values, config.bootstrap_samples)
        differences[name] = interval_json(difference)
        better = difference.mean > 0
        passed &= better or flawless
        verb = "beats" if better else "is right about every question, as is" if flawless else "does not beat"
        reasons.append(f"{verb} {name}: {difference.mean:+.4f} [{difference.low:+.4f}, {difference.high:+.4f}]")
    if champion is not None:
        difference = bootstrap_difference(challenger, champion, config.bootstrap_samples)
        differences["champion"] = interval_json(difference)
        worse = difference.high < 0
        passed &= not worse
        verb = "is worse than" if worse else "is not worse than"
        reasons.append(f"{verb} the champion: {difference.mean:+.4f} [{difference.low:+.4f}, {difference.high:+.4f}]")
    return GateDecision(bool(passed), reasons, differences)
