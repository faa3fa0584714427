"""What a decision said of every candidate, as the log keeps it: short, however large the catalogue is.

Numbers are kept as bytes (little-endian, base64): the rules deflated, for long runs of them are alike; the scores of
those that no rule removed, of the others there is no use. Of a large catalogue only the best are kept with their
scores, and a ranking ends with them.
"""

import zlib
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from recsys.decisions.scoring import ScoreArray
from recsys.policy.engine import ALLOWED, RuleArray

MOST: Final = 10_000
"""The scores that are kept of one placement."""
_FASTEST: Final = 1
_RULE, _SCORE, _PLACE = "<i2", "<f4", "<i4"


def pack(rule: RuleArray, scores: ScoreArray, most: int = MOST) -> dict[str, Any]:
    """As JSON values.

    Args:
        rule: [N]: the rule that removed each candidate; -1: none.
        scores: [N]: what each was ranked by.
        most: how many scores are kept.
    """
    packed: dict[str, Any] = {"rules": _text(zlib.compress(rule.astype(_RULE).tobytes(), _FASTEST))}
    left = np.flatnonzero(rule == ALLOWED)
    if len(left) > most:
        order = np.argsort(-scores[left], kind="stable")  # of equal ones the earlier, as everywhere
        left = np.sort(left[order[:most]])
        packed["places"] = _text(left.astype(_PLACE).tobytes())
    packed["scores"] = _text(scores[left].astype(_SCORE).tobytes())
    return packed


def unpack(packed: Mapping[str, Any]) -> tuple[RuleArray, ScoreArray]:
    """The rules [N], and the scores [N]: NaN where none was kept. Lists are read too: so it was kept once."""
    if "rules" not in packed:
        rule = np.array(packed["rule"], np.int16)
        return rule, np.where(rule == ALLOWED, np.array(packed["scores"], np.float32), np.float32("nan"))
    rule = np.frombuffer(zlib.decompress(b64decode(packed["rules"])), _RULE).astype(np.int16)
    kept = b64decode(packed["places"]) if "places" in packed else None
    places = np.flatnonzero(rule == ALLOWED) if kept is None else np.frombuffer(kept, _PLACE)
    scores = np.full(len(rule), np.nan, np.float32)
    scores[places] = np.frombuffer(b64decode(packed["scores"]), _SCORE)
    return rule, scores


def _text(values: bytes) -> str:
    return b64encode(values).decode("ascii")
