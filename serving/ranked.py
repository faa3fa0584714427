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
from recsys.policy.facts import IntArray

MOST: Final = 10_000
"""The scores that are kept of one placement."""
_FASTEST: Final = 1
_RULE, _SHORT_RULE, _SCORE, _PLACE = "<i2", "<i1", "<f4", "<i4"


def pack(rule: RuleArray, scores: ScoreArray, most: int = MOST) -> dict[str, Any]:
    """As JSON values.

    Args:
        rule: [N]: the rule that removed each candidate; -1: none.
        scores: [N]: what each was ranked by.
        most: how many scores are kept.
    """
    kind = _RULE if rule.max(initial=ALLOWED) > np.iinfo(_SHORT_RULE).max else _SHORT_RULE
    packed: dict[str, Any] = {"rules": _text(zlib.compress(rule.astype(kind).tobytes(), _FASTEST)), "kind": kind}
    left = np.flatnonzero(rule == ALLOWED)
    if len(left) > most:
        left = left[_best(scores[left], most)]
        packed["places"] = _text(left.astype(_PLACE).tobytes())
    packed["scores"] = _text(scores[left].astype(_SCORE).tobytes())
    return packed


def unpack(packed: Mapping[str, Any]) -> tuple[RuleArray, ScoreArray]:
    """The rules [N], and the scores [N]: NaN where none was kept. Lists are read too: so it was kept once."""
    if "rules" not in packed:
        rule = np.array(packed["rule"], np.int16)
        return rule, np.where(rule == ALLOWED, np.array(packed["scores"], np.float32), np.float32("nan"))
    rule = np.frombuffer(zlib.decompress(b64decode(packed["rules"])), packed["kind"]).astype(np.int16)
    kept = b64decode(packed["places"]) if "places" in packed else None
    places = np.flatnonzero(rule == ALLOWED) if kept is None else np.frombuffer(kept, _PLACE)
    scores = np.full(len(rule), np.nan, np.float32)
    scores[places] = np.frombuffer(b64decode(packed["scores"]), _SCORE)
    return rule, scores


def _best(scores: ScoreArray, count: int) -> IntArray:
    """[count] rising places of the highest of more scores; of equal ones the earlier, as everywhere."""
    scores = np.where(np.isnan(scores), -np.inf, scores)
    border = np.partition(scores, len(scores) - count)[len(scores) - count]
    kept = scores > border
    kept[np.flatnonzero(scores == border)[: count - kept.sum()]] = True
    return np.flatnonzero(kept)


def _text(values: bytes) -> str:
    return b64encode(values).decode("ascii")
