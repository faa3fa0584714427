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
    everywhere = np.array([draw(brief.salt, GLOBAL, customer) < shares.global_share for customer in customers], bool)
    here = np.array(
        [draw(brief.salt, f"campaign:{brief.campaign_id}", customer) < shares.campaign_share for customer in customers],
        bool,
    )
    return np.where(everywhere, GLOBAL, np.where(here, CAMPAIGN, NONE)).astype(object)


def draw(salt: str, scope: str, customer: str) -> float:
    """A number in [0, 1): the first 64 bits of sha256 over the three, each with its length before it.

    >>> draw("pepper", "global", "c1") == draw("pepper", "global", "c1")
    True
    """
    text = "".join(f"{len(part)}:{part}" for part in (salt, scope, customer))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / _SPAN
