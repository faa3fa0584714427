"""Trying something out: some places are filled by a draw, and with which probability is known exactly.

Every place is filled from the top by a mixture: with probability 1 - rate by the best item that is left, else by one
of the n items that are left and with which something may be tried out, all equally likely. So an item's probability,
given what stands above it, is 1 - rate if it is the best, plus rate / n if it is one of the n: in closed form, also
where no product may be shown twice. Only items that the policy allows are ever left; which of them may be drawn is the
pack's business (`PolicyEngine.explorable`: by default no investment and no credit).

Sources: Sutton and Barto 2018, section 2.2 (epsilon-greedy); Swaminathan et al. 2017 (what propensities are for).
"""

from random import Random
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recsys.decisions.scoring import ScoreArray
from recsys.decisions.selection import top_k_distinct
from recsys.policy.facts import BoolArray, IntArray


class Places(NamedTuple):
    """What stands at the k places of a placement, from the top."""

    items: IntArray
    """[k] positions."""
    propensities: NDArray[np.float64]
    """[k]: the probability with which each item got its place, given what stands above it; 1 where nothing is drawn."""
    explored: BoolArray
    """[k]: whether a draw put the item there, in the place of a better one."""

    def below(self, item: int) -> "Places":
        """The same places one further down, with an item above them that nobody drew."""
        return Places(
            np.concatenate([[item], self.items]),
            np.concatenate([[1.0], self.propensities]),
            np.concatenate([[False], self.explored]),
        )


class Explorer:
    """Fills the placements of one decision, one after the other, with draws that its seed determines.

    Args:
        rate: the probability with which a place is filled by a draw, 0 up to 1.
        seed: of the draws: the same seed makes the same decision again, on every machine.
    """

    def __init__(self, rate: float, seed: str) -> None:
        self._rate = rate
        self._random = Random(seed)

    def fill(
        self, scores: ScoreArray, allowed: BoolArray, explorable: BoolArray, groups: IntArray, limit: int
    ) -> Places:
        """Fills one placement, with at most one item of each group (one creative of each product).

        Args:
            scores: [N].
            allowed: [N]: the only items that may stand anywhere.
            explorable: [N]: with which something may be tried out; what is not allowed is not tried out.
            groups: [N], the group of each item.
            limit: how many places there are.
        """
        # At most `limit` groups are shown before the last place, so that its best item is one of these too.
        ranked = top_k_distinct(scores, allowed, groups, limit)
        group_of = dict(zip(ranked.tolist(), groups[ranked].tolist(), strict=True))
        left, shown = allowed & explorable, set[int]()
        places: list[tuple[int, float, bool]] = []
        for _ in range(min(limit, len(ranked))):
            best = next(item for item, group in group_of.items() if group not in shown)
            item, propensity = self._draw(best, left)
            places.append((item, propensity, item != best))
            shown.add(int(groups[item]))
            left &= groups != groups[item]
        items, propensities, explored = zip(*places, strict=True) if places else ((), (), ())
        return Places(np.array(items, np.int64), np.array(propensities, np.float64), np.array(explored, bool))

    def _draw(self, best: int, left: BoolArray) -> tuple[int, float]:
        """The item of one place, and its probability; both numbers are drawn always, so that draws stay in step."""
        coin, number = self._random.random(), self._random.random()
        others = np.flatnonzero(left)
        if not len(others):
            return best, 1.0
        item = int(others[int(number * len(others))]) if coin < self._rate else best
        return item, (1 - self._rate) * (item == best) + self._rate / len(others) * bool(left[item])


def best_places(scores: ScoreArray, allowed: BoolArray, groups: IntArray, limit: int) -> Places:
    """As `Explorer.fill` where nothing is tried out."""
    items = top_k_distinct(scores, allowed, groups, limit)
    return Places(items, np.ones(len(items)), np.zeros(len(items), bool))
