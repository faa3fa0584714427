"""What a contact is expected to add, in conversions: by uplift, by the response model, or by the curve and the arms.

A learner of uplift is asked where it surely ranks better than propensity does. Else the response model, with the
champion's ranking where that helps, says how likely it is that a conversion follows from the contact itself. Where the
champion has no such model, or knows nothing of the customer, it is the chance of any response after an impression,
times the share of responses that the arms say contact brings.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from recsys.campaigns.source import Contacts, History, Scores

_CONVERSION = 2


class Valued(NamedTuple):
    """n possible contacts with what is known of them."""

    contacts: Contacts
    customers: Sequence[str]
    """[n] ids."""
    products: Sequence[str]
    """[n] ids."""
    chance: np.ndarray
    """[n] float64: of a response, by the curve."""
    logits: np.ndarray | None
    """[n, 3]: what the response model said of them; None: there is none."""


def added_conversions(valued: Valued, scores: Scores, history: History) -> np.ndarray:
    """[n] float64: what each contact is expected to add."""
    by_curve = valued.chance * effect_of(history) * history.worth
    if history.uplift is not None and history.uplift.predict is not None:
        applications = history.uplift.predict(valued.customers, valued.products)
        return applications * history.conversions_per_application
    if scores.respond is None or valued.logits is None:
        return by_curve
    follows = scores.respond.chances(valued.contacts, valued.logits)[:, _CONVERSION]
    return np.where(np.isnan(follows), by_curve, follows)


def effect_of(history: History) -> float:
    """What a response counts: the share that contact brings, where that share is surely above zero; else all of it."""
    share = history.share
    return share.mean if share is not None and share.low > 0 else 1.0
