"""How well scores tell two groups apart: the area under the ROC curve, with its interval."""

import numpy as np

from recsys.metrics.bootstrap import Interval

_NORMAL_95 = 1.959963984540054


def auc(scores: np.ndarray, positive: np.ndarray) -> Interval:
    """P(score of a member > score of another), ties counting half, with its 95 % interval of DeLong et al. 1988.

    >>> auc(np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True])).mean
    0.75

    Args:
        scores: [n] finite numbers.
        positive: [n] bool: who belongs to the group.

    Raises:
        ValueError: shapes differ, or fewer than two on one side.
    """
    from scipy.stats import rankdata

    scores, positive = np.asarray(scores, np.float64), np.asarray(positive, bool)
    inside, outside = scores[positive], scores[~positive]
    if scores.shape != positive.shape or min(len(inside), len(outside)) < 2:
        raise ValueError(f"at least two on either side are needed, are {len(inside)} and {len(outside)}")
    ranks = rankdata(scores)
    above = (ranks[positive] - rankdata(inside)) / len(outside)
    """Of each member, the share of the others whom he is above."""
    below = 1 - (ranks[~positive] - rankdata(outside)) / len(inside)
    area = float(above.mean())
    error = float(np.sqrt(above.var(ddof=1) / len(inside) + below.var(ddof=1) / len(outside)))
    return Interval(
        area, max(0.0, area - _NORMAL_95 * error), min(1.0, area + _NORMAL_95 * error), len(inside) + len(outside)
    )
