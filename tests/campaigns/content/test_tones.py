"""Tone lifts: shrinkage with a known answer, weights that undo the logging policy, and the order they give."""

import polars as pl
import pytest

from recsys.campaigns.content.tones import ToneConfig, estimate_tone_lifts, rank_tones
from recsys.errors import FeatureError


def responses(counts: dict[tuple[str, str], tuple[int, int]]) -> pl.DataFrame:
    rows = [(*cell, int(n < hits)) for cell, (shown, hits) in counts.items() for n in range(shown)]
    return pl.DataFrame(rows, schema=["segment", "tone", "response"], orient="row")


def test_estimate_tone_lifts_much_evidence_reaches_the_raw_lift():
    lifts = estimate_tone_lifts(responses({("s", "warm"): (20_000, 3000), ("s", "factual"): (20_000, 1000)}))
    assert dict(lifts.select("tone", "lift").iter_rows()) == pytest.approx({"warm": 1.5, "factual": 0.5}, abs=0.03)


def test_estimate_tone_lifts_one_lucky_response_stays_near_one():
    lifts = estimate_tone_lifts(responses({("s", "warm"): (2, 1), ("s", "factual"): (2000, 100)}), ToneConfig())
    assert lifts.filter(pl.col("tone") == "warm")["lift"].item() == pytest.approx(1.0, abs=0.12)


def test_estimate_tone_lifts_no_response_at_all_says_nothing():
    assert estimate_tone_lifts(responses({("s", "warm"): (50, 0), ("s", "factual"): (50, 0)}))["lift"].to_list() == [
        1,
        1,
    ]


def test_estimate_tone_lifts_missing_column_is_named():
    with pytest.raises(FeatureError, match="response"):
        estimate_tone_lifts(pl.DataFrame({"segment": ["s"], "tone": ["warm"]}))


def test_rank_tones_orders_by_lift_and_keeps_unknown_at_one():
    lifts = pl.DataFrame({"segment": ["s", "s"], "tone": ["a", "b"], "lift": [0.9, 1.2]})
    assert rank_tones(lifts, "s", ["a", "c", "b"]) == ["b", "c", "a"]
