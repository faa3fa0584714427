"""What the log keeps of a ranking, against arrays."""

import numpy as np
import orjson
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from serving.ranked import MOST, pack, unpack

COUNT = st.integers(0, 60)


def through_json(rule: np.ndarray, scores: np.ndarray, most: int = MOST) -> tuple[np.ndarray, np.ndarray]:
    return unpack(orjson.loads(orjson.dumps(pack(rule, scores, most))))


@given(st.data(), COUNT, st.integers(1, 70))
def test_pack_keeps_every_rule_and_the_best_scores(data: st.DataObject, count: int, most: int) -> None:
    rule = data.draw(arrays.arrays(np.int16, count, elements=st.integers(-1, data.draw(st.sampled_from([40, 400])))))
    scores = data.draw(arrays.arrays(np.float32, count, elements=st.integers(-9, 9).map(float) | st.just(float("nan"))))
    rules, kept = through_json(rule, scores, most)
    np.testing.assert_array_equal(rules, rule)
    best = sorted(np.flatnonzero(rule == -1), key=lambda place: (np.isnan(scores[place]), -scores[place], place))[:most]
    expected = np.full(count, np.nan, np.float32)
    expected[best] = scores[best]
    np.testing.assert_array_equal(kept, expected)


def test_pack_scores_bit_by_bit_and_not_a_number() -> None:
    scores = np.array([np.float32(1) / 3, np.nan, -np.inf, 1e-45], np.float32)
    _, kept = through_json(np.full(4, -1, np.int16), scores)
    np.testing.assert_array_equal(kept.view(np.int32), scores.view(np.int32))


def test_unpack_reads_the_lists_of_earlier_releases_without_what_was_removed() -> None:
    rules, scores = unpack({"rule": [-1, 3, -1], "scores": [0.5, 0.25, None]})
    assert rules.tolist() == [-1, 3, -1]
    np.testing.assert_array_equal(scores, np.array([0.5, np.nan, np.nan], np.float32))


def test_pack_of_a_hundred_thousand_candidates_stays_small() -> None:
    random = np.random.default_rng(0)
    rule = np.where(random.random(100_000) < 0.5, -1, 3).astype(np.int16)
    packed = pack(rule, random.normal(size=100_000).astype(np.float32))
    assert np.isfinite(unpack(packed)[1]).sum() == MOST
    assert len(orjson.dumps(packed)) < 150_000
