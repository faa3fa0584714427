"""The champion's response model, as the planner of campaigns asks it about contacts."""

import numpy as np

from recsys.decisions.scoring import Understanding
from recsys.ranking.heads import HEADS
from recsys.ranking.response import FIRST_PLACE
from recsys.ranking.response_features import Exposed
from recsys.recommender import Recommender
from recsys.schema import PRODUCT_ID, Kind


class Responses:
    """Answers about the customers of one batch.

    Args:
        recommender: with a response model.
        known: what the model knows of the B customers.
        ranked: [B, P] its scores of the products.
    """

    def __init__(self, recommender: Recommender, known: Understanding, ranked: np.ndarray) -> None:
        self._recommender = recommender
        self._known = known
        self._ranked = ranked if known.known.all() else ranked[known.known]
        self._place = np.cumsum(known.known) - 1  # of each customer among those whom the model knows
        self._owner = np.array(
            [recommender.product_ids.index(name) for name in recommender.bundle.contents[PRODUCT_ID].to_list()]
            if recommender.bundle.contents is not None
            else [],
            np.int64,
        )

    @property
    def orders(self) -> bool:
        """Whether creatives are compared by these rather than by the towers."""
        return self._recommender.reorders(Kind.CONTENTS)

    def logits(self, row: np.ndarray, content: np.ndarray, channel: str) -> np.ndarray:
        """[n, 3] log-odds of a click, and of each outcome after it; NaN where nothing is known."""
        found = np.full((len(row), len(HEADS)), np.nan, np.float32)
        here = self._known.known[row]
        if here.any():
            exposed = self._exposed(row[here], content[here], channel)
            found[here] = self._recommender.response_logits(self._known.states, exposed)  # type: ignore[arg-type]
        return found

    def chances(self, row: np.ndarray, content: np.ndarray, channel: str, logits: np.ndarray) -> np.ndarray:
        """[n, 3] probabilities of a click, an application and a conversion; NaN where nothing is known."""
        found = np.full((len(row), len(HEADS)), np.nan)
        here = self._known.known[row]
        if here.any():
            exposed = self._exposed(row[here], content[here], channel)
            found[here] = self._recommender.chances(self._known.states, exposed, logits[here], self._ranked)  # type: ignore[arg-type]
        return found

    def _exposed(self, row: np.ndarray, content: np.ndarray, channel: str) -> Exposed:
        number = self._recommender.reader.channel_index(channel)
        return Exposed(
            self._place[row],
            self._owner[content],
            content,
            np.full(len(row), number, np.int64),
            np.full(len(row), FIRST_PLACE, np.float32),
        )
