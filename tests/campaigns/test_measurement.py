"""Reports: intervals that hold what they promise, and alarms that ring when groups are not alike."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy import stats

from recsys.campaigns.measurement import by_segment, cuped, difference, holm, measure, sample_ratio
from recsys.campaigns.report_files import write_report

REPEATS = 200


def _forward(rng: np.random.Generator, n: int = 4000) -> tuple[pl.DataFrame, float]:
    """A campaign run once: contact helps some and puts others off; returns who did what, and the true lift."""
    taste = rng.normal(size=n)
    without = 1 / (1 + np.exp(-(-3 + taste)))
    gain = np.where(rng.random(n) < 0.6, 0.08, -0.02) * without / without.mean()
    contacted = taste > -0.5  # the plan chooses; the holdout is drawn before
    held = rng.random(n) < 0.15
    chance = np.clip(without + gain * (contacted & ~held), 0, 1)
    converted = rng.random(n) < chance
    truth = float((np.clip(without + gain * contacted, 0, 1) - without).mean())
    people = pl.DataFrame(
        {
            "customer_id": [f"c{place}" for place in range(n)],
            "segment": np.where(taste > 0, "keen", "cool"),
            "held_out": held,
            "before": rng.poisson(np.exp(taste)).astype(float),
            "viewed": converted,
            "clicked": converted,
            "applied": converted,
            "converted": converted,
            "opted_out": np.zeros(n, bool),
        }
    )
    return people, truth


def test_intervals_cover_the_true_lift_in_nine_of_ten_campaigns_run_forward() -> None:
    rng = np.random.default_rng(0)
    plain = adjusted = 0
    narrower = []
    for _ in range(REPEATS):
        people, truth = _forward(rng)
        held = people["held_out"].to_numpy()
        outcome = people["converted"].to_numpy().astype(float)
        one = difference(outcome, held)
        other, _ = cuped(outcome, people["before"].to_numpy(), held)
        plain += one.low <= truth <= one.high
        adjusted += other.low <= truth <= other.high
        narrower.append((other.high - other.low) / (one.high - one.low))
    assert plain >= 0.9 * REPEATS
    assert adjusted >= 0.9 * REPEATS
    assert np.mean(narrower) < 1


def test_no_lift_is_found_where_there_is_none_in_about_one_of_twenty() -> None:
    rng = np.random.default_rng(1)
    alarms = sum(
        difference(rng.random(2000) < 0.1, rng.random(2000) < 0.2).p < 0.05  # type: ignore[arg-type]
        for _ in range(400)
    )
    assert stats.binomtest(alarms, 400, 0.05).pvalue > 0.001


def test_difference_is_welchs() -> None:
    rng = np.random.default_rng(2)
    outcome, held = rng.random(500), rng.random(500) < 0.3
    found = difference(outcome, held)
    reference = stats.ttest_ind(outcome[~held], outcome[held], equal_var=False)
    spread = (found.high - found.low) / 2 / stats.norm.ppf(0.975)
    assert found.lift / spread == pytest.approx(reference.statistic)


def test_nobody_converted_yet_is_not_known_to_be_nobody() -> None:
    held = np.arange(300) < 60
    found = difference(np.zeros(300), held)
    assert found.lift == 0
    assert found.low < 0 < found.high
    assert cuped(np.zeros(300), np.arange(300.0), held)[0].high > 0


def test_report_of_a_campaign_adds_up(tmp_path: Path) -> None:
    people, truth = _forward(np.random.default_rng(3), 20_000)
    sent = people.filter(~pl.col("held_out")).head(300)
    messages = sent.select("customer_id", channel=pl.lit("email"), content_id=pl.lit("a1"), cost=pl.lit(0.5))
    report = measure(people, messages, 0.15)
    assert report.funnel["delivered"] == 300
    assert report.cost == 150.0
    assert report.lift.low < truth < report.lift.high
    assert report.incremental[0] == pytest.approx(report.cuped.lift * (~people["held_out"]).sum())
    assert report.cost_per_incremental[0] == pytest.approx(150.0 / report.incremental[0])
    assert not report.sample_ratio["alarm"]
    (channel,) = report.responses["channel"]
    assert channel["customers"] == 300
    assert channel["clicked"]["low"] <= channel["clicked"]["mean"] <= channel["clicked"]["high"]
    assert [row["segment"] for row in report.segments] == ["cool", "keen"]
    assert all(row["p_holm"] >= row["p"] for row in report.segments)
    assert "beside" not in channel  # there is no other
    write_report(report, "A $campaign$", tmp_path / "out")
    assert (tmp_path / "out" / "answers.png").stat().st_size > 10_000
    assert (tmp_path / "out" / "lift.png").stat().st_size > 10_000


def test_channels_are_compared_with_the_others_and_the_note_says_how() -> None:
    people, _ = _forward(np.random.default_rng(6), 8000)
    sent = people.filter(~pl.col("held_out")).with_row_index("place")
    good = pl.col("converted") | (pl.col("place") % 20 == 0)
    messages = sent.select(
        "customer_id",
        channel=pl.when(good).then(pl.lit("email")).otherwise(pl.lit("app")),
        content_id=pl.format("a{}", pl.col("place") % 3),
        cost=pl.lit(0.1),
    )
    report = measure(people, messages, 0.15)
    app, email = report.responses["channel"]
    assert email["beside"]["low"] > 0 > app["beside"]["high"]
    assert email["beside"]["p_holm"] < 1e-6
    assert [one["content_id"] for one in report.responses["content_id"]] == ["a0", "a1", "a2"]
    assert all(one["beside"]["p_holm"] >= one["beside"]["p"] for one in report.responses["content_id"])
    assert "not what they caused" in report.note


def test_groups_of_another_size_than_drawn_ring_the_alarm() -> None:
    assert sample_ratio(1500, 10_000, 0.15)["alarm"] is False
    assert sample_ratio(1200, 10_000, 0.15)["alarm"] is True


def test_a_campaign_without_a_holdout_cannot_be_measured() -> None:
    people, _ = _forward(np.random.default_rng(4), 100)
    messages = pl.DataFrame(
        schema={"customer_id": pl.String, "channel": pl.String, "content_id": pl.String, "cost": pl.Float64}
    )
    with pytest.raises(ValueError, match="without a holdout"):
        measure(people.with_columns(held_out=pl.lit(value=False)), messages, 0.0)


def test_small_segments_are_not_shown() -> None:
    people, _ = _forward(np.random.default_rng(5), 400)
    few = people.with_columns(
        pl.when(pl.int_range(pl.len()) < 9).then(pl.lit("few")).otherwise("segment").alias("segment")
    )
    assert "few" not in [row["segment"] for row in by_segment(few)]


def test_holm_is_the_textbooks() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
