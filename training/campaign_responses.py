"""The champion's response model, as the planner of campaigns asks it about contacts."""

import numpy as np

from recsys.campaigns.source import Contacts
from recsys.decisions.scoring import Understanding
from recsys.modeling.groups import best_of_groups
from recsys.ranking.heads import HEADS
from recsys.ranking.response import FIRST_PLACE
from recsys.ranking.response_features import Exposed
from recsys.recommender import CustomerStates, Recommender
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

    def choose(self, contacts: Contacts, liking: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of each group the contact with the best creative, and its log-odds; see `Responder`."""
        known = self._known.known[contacts.row]
        if not self._recommender.reorders(Kind.CONTENTS):  # the towers order creatives better: it is asked of few
            best = best_of_groups(liking, contacts.group)
            logits = np.full((len(best), len(HEADS)), np.nan, np.float32)
            here = known[best]
            if here.any():
                logits[here] = self._recommender.response_logits(*self._asked(contacts.take(best[here])))
            return best, logits
        others = np.flatnonzero(~known)
        best = others[best_of_groups(liking[others], contacts.group[others])]
        logits = np.full((len(best), len(HEADS)), np.nan, np.float32)
        if known.any():
            theirs = contacts.take(known)
            chosen, said = self._recommender.choose_creatives(*self._asked(theirs), theirs.group)
            best, logits = np.append(best, np.flatnonzero(known)[chosen]), np.concatenate([logits, said])
        order = np.argsort(best)
        return best[order], logits[order]

    def chances(self, contacts: Contacts, logits: np.ndarray) -> np.ndarray:
        """[n, 3] probabilities of a click, an application and a conversion; NaN where nothing is known."""
        found = np.full((len(contacts.row), len(HEADS)), np.nan)
        here = self._known.known[contacts.row]
        if here.any():
            found[here] = self._recommender.chances(*self._asked(contacts.take(here)), logits[here], self._ranked)
        return found

    def _asked(self, contacts: Contacts) -> tuple[CustomerStates, Exposed]:
        """What the model is asked, of customers whom it knows."""
        numbers = np.array([self._recommender.reader.channel_index(name) for name in contacts.channels], np.int64)
        count = len(contacts.row)
        return self._known.states, Exposed(  # type: ignore[return-value]
            self._place[contacts.row],
            self._owner[contacts.content],
            contacts.content,
            numbers[contacts.channel],
            np.full(count, FIRST_PLACE, np.float32),
        )
