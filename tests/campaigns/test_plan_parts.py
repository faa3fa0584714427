"""Holdouts, waterfall, response curve, power, slots and the fairness table, each against what is known of it."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from scipy.stats import binomtest, spearmanr

from recsys.campaigns.fairness import fairness_table
from recsys.campaigns.holdouts import CAMPAIGN, GLOBAL, hold_out
from recsys.campaigns.power import power_of, two_proportions
from recsys.campaigns.response import ResponseCurve, incremental_share
from recsys.campaigns.slots import slot_times
from recsys.campaigns.source import Groups
from recsys.campaigns.waterfall import OTHER, STAYED, Waterfall, last_rule
from recsys.errors import RecsysError
from tests.campaigns.briefs import make_brief

IDS = [f"c{number:05}" for number in range(20_000)]


def test_holdouts_have_the_shares_of_the_brief() -> None:
    groups = hold_out(IDS, make_brief(holdout={"global_share": 0.03, "campaign_share": 0.2}))
    everywhere, here = int((groups == GLOBAL).sum()), int((groups == CAMPAIGN).sum())
    assert binomtest(everywhere, len(IDS), 0.03).pvalue > 1e-4
    assert binomtest(here, len(IDS) - everywhere, 0.2).pvalue > 1e-4


def test_holdouts_depend_on_nothing_but_id_salt_and_campaign() -> None:
    first = hold_out(IDS, make_brief())
    order = np.random.default_rng(0).permutation(len(IDS))
    assert (hold_out([IDS[i] for i in order], make_brief(budget=99, seed=5)) == first[order]).all()


def test_holdouts_of_another_campaign_share_the_global_ones_and_draw_their_own() -> None:
    first, second = hold_out(IDS, make_brief()), hold_out(IDS, make_brief(campaign_id="autumn"))
    assert ((first == GLOBAL) == (second == GLOBAL)).all()
    both = ((first == CAMPAIGN) & (second == CAMPAIGN)).sum()
    assert binomtest(int(both), len(IDS), 0.01 * 0.98).pvalue > 1e-4
    other_salt = hold_out(IDS, make_brief(salt="another long salt"))
    assert ((first == GLOBAL) & (other_salt == GLOBAL)).sum() < 40


def test_last_rule_names_the_rule_that_took_the_last_option() -> None:
    removed_by = np.array([[0, 2, 1], [-1, 2, 2], [1, 1, 1]])
    assert last_rule(removed_by, ("A", "B", "C")).tolist() == ["C", STAYED, "B"]


def test_waterfall_counts_add_up_and_hide_small_rules() -> None:
    waterfall = Waterfall(100, ("VULN_MINOR", "SUIT_RISK", "CONSENT_MARKETING"))
    waterfall.remove(np.array(["VULN_MINOR"] * 3 + ["SUIT_RISK"] * 20 + [STAYED] * 77, dtype=object))
    waterfall.remove_count("HOLDOUT_GLOBAL", 2)
    waterfall.remove_count("CAP_BUDGET", 50)
    rows = waterfall.steps(everybody=140)
    assert [(row.step, row.rule, row.removed, row.left) for row in rows if row.removed] == [
        ("start", "audience", 40, 100),
        ("eligible", OTHER, 3, 97),
        ("suitable", "SUIT_RISK", 20, 77),
        ("holdout", "HOLDOUT_GLOBAL", 2, 75),
        ("capacity", "CAP_BUDGET", 50, 25),
    ]
    assert rows[-1] == ("chosen", "", 0, 25)


def test_response_curve_is_monotone_and_recovers_the_rates() -> None:
    rng = np.random.default_rng(1)
    scores = rng.normal(size=20_000)
    chance = 0.3 / (1 + np.exp(-2 * scores))
    responded = rng.random(len(scores)) < chance
    curve = ResponseCurve.fit(scores, responded, ["email"] * len(scores))
    grid = np.linspace(-3, 3, 200)
    assert (np.diff(curve(grid)) >= 0).all()
    assert np.abs(curve(grid, "email") - 0.3 / (1 + np.exp(-2 * grid))).mean() < 0.02
    assert spearmanr(curve(scores), chance).statistic > 0.95
    assert curve(scores).sum() == pytest.approx(responded.sum(), rel=0.02)


def test_response_curve_knows_that_a_channel_answers_more() -> None:
    rng = np.random.default_rng(2)
    scores, here = rng.normal(size=20_000), rng.random(20_000) < 0.5
    responded = rng.random(20_000) < np.where(here, 0.15, 0.05)
    curve = ResponseCurve.fit(scores, responded, ["app" if flag else "email" for flag in here])
    assert curve(scores, "app").mean() == pytest.approx(0.15, abs=0.01)
    assert curve(scores, "email").mean() == pytest.approx(0.05, abs=0.01)
    assert (curve(scores, "letter") == curve(scores)).all()


def test_response_curve_without_responses_says_so() -> None:
    with pytest.raises(RecsysError, match="9 responses to 100 logged impressions"):
        ResponseCurve.fit(np.arange(100.0), np.arange(100) < 9, [None] * 100)


def test_expected_responses_interval_covers_what_comes_in_nineteen_of_twenty() -> None:
    rng, covered, repeats = np.random.default_rng(3), 0, 400
    chance = rng.uniform(0.01, 0.1, 3000)
    for _ in range(repeats):
        responses = rng.poisson(150)  # the history tells the height of the curve with Poisson noise
        curve = ResponseCurve(np.zeros(1), np.zeros(1), {}, 3000, max(responses, 1))
        expected = curve.expected(np.clip(chance * responses / 150, 0, 1))
        came = (rng.random(3000) < chance).sum()
        covered += expected.low <= came <= expected.high
    assert binomtest(int(covered), repeats, 0.95).pvalue > 1e-3


def test_incremental_share_interval_covers_the_truth() -> None:
    rng, covered, repeats = np.random.default_rng(4), 0, 400
    for _ in range(repeats):
        share = incremental_share((int(rng.binomial(4000, 0.06)), 4000), (int(rng.binomial(2000, 0.04)), 2000))
        assert share is not None
        covered += share.low <= 1 / 3 <= share.high
    assert binomtest(int(covered), repeats, 0.95).pvalue > 1e-3
    assert incremental_share((10, 100), (0, 100)) is None


def test_power_is_what_simulation_finds() -> None:
    rng = np.random.default_rng(5)
    p1, p0, n1, n0 = 0.06, 0.04, 3000, 800
    a, b = rng.binomial(n1, p1, 20_000) / n1, rng.binomial(n0, p0, 20_000) / n0
    pooled = (a * n1 + b * n0) / (n1 + n0)
    z = (a - b) / np.sqrt(pooled * (1 - pooled) * (1 / n1 + 1 / n0))
    assert two_proportions(p1, p0, n1, n0) == pytest.approx((np.abs(z) > 1.959964).mean(), abs=0.02)


def test_power_of_the_detectable_lift_is_eighty_percent() -> None:
    power = power_of(5000, 500, 0.05, None)
    assert power.power is None
    assert power.detectable_lift is not None
    assert two_proportions(0.05 + power.detectable_lift, 0.05, 5000, 500) == pytest.approx(0.8, abs=1e-6)
    assert power_of(5000, 0, 0.05, 0.01).power is None


def test_slots_keep_the_customers_hour_over_a_clock_change() -> None:
    brief = make_brief(starts="2026-10-23T00:00:00Z", ends="2026-10-28T00:00:00Z", send_hour=10)
    slots = slot_times(brief, "Europe/Dublin")
    assert len(slots) == 5
    assert {moment.astimezone(ZoneInfo("Europe/Dublin")).hour for moment in slots} == {10}
    assert {moment.hour for moment in slots} == {9, 10}
    assert slot_times(brief, None) == [datetime(2026, 10, 23, tzinfo=UTC)]


def test_slots_of_a_campaign_between_two_hours_are_its_start() -> None:
    brief = make_brief(starts="2026-07-02T12:00:00Z", ends="2026-07-02T15:00:00Z", send_hour=10)
    assert slot_times(brief, "Europe/Dublin") == [brief.starts]


def test_fairness_table_masks_small_groups_and_finds_a_planted_gap() -> None:
    labels = np.array(["a"] * 1000 + ["b"] * 600 + ["c"] * 9 + [None] * 20, dtype=object)
    rng = np.random.default_rng(6)
    chosen = rng.random(len(labels)) < np.where(labels == "b", 0.3, 0.6)
    table = fairness_table([Groups("region", "proxy", labels)], np.ones(len(labels), bool), chosen)
    rows = {row["group"]: row for row in table["attributes"]["region"]}
    assert rows["c"] == {"group": "c", "kind": "proxy", "masked": True}
    assert rows["a"]["reference"]
    a, b = int(chosen[:1000].sum()), int(chosen[1000:1600].sum())
    spread = 1.96 * np.sqrt(1 / a - 1 / 1000 + 1 / b - 1 / 600)  # Katz et al. 1978
    ratio = (b / 600) / (a / 1000)
    assert rows["b"]["ratio"]["mean"] == pytest.approx(ratio)
    assert rows["b"]["ratio"]["low"] == pytest.approx(ratio * np.exp(-spread), rel=0.03)
    assert rows["b"]["ratio"]["high"] == pytest.approx(ratio * np.exp(spread), rel=0.03)
    assert [(alarm["group"], alarm["certain"]) for alarm in table["alarms"]] == [("b", True)]


def test_fairness_table_of_equal_groups_has_no_certain_alarm() -> None:
    labels = np.array(["a", "b"] * 800, dtype=object)
    chosen = np.random.default_rng(7).random(1600) < 0.4
    table = fairness_table([Groups("sex", "protected", labels)], np.ones(1600, bool), chosen)
    assert not [alarm for alarm in table["alarms"] if alarm["certain"]]
