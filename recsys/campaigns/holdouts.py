"""Who is left alone so that the effect of contact can be measured: by salted hash, before anything is scored."""

import hashlib
from collections.abc import Sequence
from typing import Final, Literal

import numpy as np

from recsys.campaigns.brief import Brief

HoldoutGroup = Literal["global", "campaign", "none"]
GLOBAL: Final = "global"
CAMPAIGN: Final = "campaign"
NONE: Final = "none"
_SPAN: Final = float(2**64)


def hold_out(customers: Sequence[str], brief: Brief) -> np.ndarray:
    """[B] object: each customer's group; it depends on his id, the salt and the campaign's id, and on nothing else.

    The global holdout is the same in every campaign with the same salt; the campaign's own is drawn among the others.
    """
    shares = brief.holdout
    everywhere = draws(brief.salt, GLOBAL, customers) < shares.global_share
    here = draws(brief.salt, f"campaign:{brief.campaign_id}", customers) < shares.campaign_share
    return np.where(everywhere, GLOBAL, np.where(here, CAMPAIGN, NONE)).astype(object)


def draw(salt: str, scope: str, customer: str) -> float:
    """A number in [0, 1): the first 64 bits of sha256 over the three, each with its length before it.

    >>> draw("pepper", "global", "c1") == draw("pepper", "global", "c1")
    True
    """
    return float(draws(salt, scope, [customer])[0])


def draws(salt: str, scope: str, customers: Sequence[str]) -> np.ndarray:
    """[B] float64: as `draw`, of each customer."""
    begun = hashlib.sha256(f"{len(salt)}:{salt}{len(scope)}:{scope}".encode())
    bits = np.empty(len(customers), np.uint64)
    for place, customer in enumerate(customers):
        mine = begun.copy()
        mine.update(f"{len(customer)}:{customer}".encode())
        bits[place] = int.from_bytes(mine.digest()[:8], "big")
    return bits / _SPAN
