"""Uplift from the drawn part of a history: fair trials, and a learner is used only where it is surely better."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recsys.campaigns.uplift import HistoryConfig, check_randomisation, choose_learner, trials, with_features
from recsys.data.contract import Dataset
from recsys.policy.pack import load_pack
from recsys.schema import PolicyName
from recsys.simulator import SimulatorConfig, simulate
from training.campaign_uplift import learn_uplift

START = datetime(2026, 1, 1, tzinfo=UTC)
MIDDLE = START + timedelta(days=60)
FEATURES = ["keen", "swayed"]


def drawn(effect: bool, n: int = 24_000, seed: int = 0) -> pl.DataFrame:
    """A fair trial: `keen` decides who responds anyway, `swayed` whom contact moves; a feature is missing at times."""
    rng = np.random.default_rng(seed)
    keen, swayed = rng.normal(size=n), rng.normal(size=n)
    treated = rng.random(n) < 0.4
    chance = 0.05 + 0.4 * (keen > 0) + (0.2 * (swayed > 0.5) * treated if effect else 0)
    return pl.DataFrame(
        {
            "customer_id": [f"c{place % (n // 3)}" for place in range(n)],
            "product_id": "p1",
            "at": [START + timedelta(days=100) * (place / n) for place in range(n)],
            "treated": treated,
            "outcome": (rng.random(n) < chance).astype(float),
            "propensity": 0.4,
            "keen": keen,
            "swayed": np.where(rng.random(n) < 0.05, np.nan, swayed),
        }
    )


def test_learner_is_chosen_where_it_surely_beats_propensity() -> None:
    choice = choose_learner(drawn(effect=True), FEATURES, MIDDLE, horizon_days=5)
    assert choice.method == "uplift"
    assert set(choice.qini) == {"t", "x", "dr", "propensity"}
    best = choice.qini[choice.learner]
    assert best.low > choice.qini["propensity"].mean
    moved = pl.DataFrame({"keen": [0.0, 0.0], "swayed": [2.0, -2.0]})
    helped, left = choice.predict(moved)
    assert helped > 0.1 > left


def test_propensity_stays_where_contact_does_nothing_and_the_reason_says_so() -> None:
    choice = choose_learner(drawn(effect=False), FEATURES, MIDDLE, horizon_days=5)
    assert choice.method == "propensity"
    assert "no learner surely beats propensity" in choice.reason


def test_history_that_was_not_drawn_is_refused() -> None:
    rows = drawn(effect=True).with_columns(treated=pl.col("keen") > 0)
    choice = choose_learner(rows, FEATURES, MIDDLE, horizon_days=5)
    assert choice.method == "propensity"
    assert "out of balance: keen" in choice.reason
    nobody = choose_learner(rows.with_columns(treated=pl.lit(value=False)), FEATURES, MIDDLE, horizon_days=5)
    assert nobody.model is None
    assert "no randomised contacts" in nobody.reason


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bank") / "data"
    simulate(SimulatorConfig(customers=800, products=20, days=120, creatives_per_product=(2, 3), sent_pictures=24), out)
    return out


def test_trials_of_a_simulated_bank_are_as_many_as_their_propensities_promise(bank: Path) -> None:
    events = pl.read_parquet(bank / "events.parquet")
    customers = pl.read_parquet(bank / "customers.parquet").sort("event_timestamp").group_by("customer_id").last()
    products = pl.read_parquet(bank / "products.parquet").sort("event_timestamp").group_by("product_id").last()
    found = trials(events, customers, HistoryConfig())
    wide, names = with_features(found, events, customers.select("customer_id", "segment"), products)
    matrix = wide.select(pl.col(names).cast(pl.Float64).fill_null(float("nan"))).to_numpy()
    sides = (wide[name].to_numpy() for name in ("treated", "outcome", "propensity"))
    check = check_randomisation(matrix, names, *sides)
    assert abs(check.ratio_z) < 3.89
    assert check.treated > 1000
    refused = events.filter(pl.col("event_type").is_in(["dismiss", "apply"]))
    before = found.join(refused, on=["customer_id", "product_id"]).filter(pl.col("event_timestamp") < pl.col("at"))
    assert before.is_empty()


def test_uplift_of_a_dataset_names_its_reason_and_its_qini(bank: Path) -> None:
    dataset = Dataset.open(bank)
    credit = load_pack(PolicyName.BANK).credit
    found = learn_uplift(dataset, dataset.end(), credit)
    assert found.method in ("uplift", "propensity")
    assert (found.predict is not None) == (found.method == "uplift")
    assert found.reason
    for interval in found.qini.values():
        assert interval["low"] <= interval["mean"] <= interval["high"]


def test_thinning_keeps_the_same_share_of_every_product(bank: Path) -> None:
    """By their weights both sides of each product are as many: else its attributes are out of balance."""
    events = pl.read_parquet(bank / "events.parquet")
    customers = pl.read_parquet(bank / "customers.parquet").sort("event_timestamp").group_by("customer_id").last()
    found = trials(events, customers, HistoryConfig(controls_per_treated=0.5))
    weight = pl.when("treated").then(1 / pl.col("propensity")).otherwise(1 / (1 - pl.col("propensity")))
    sides = found.group_by("product_id").agg(
        weight.filter("treated").sum().alias("treated"),
        weight.filter(~pl.col("treated")).sum().alias("others"),
        (weight.filter(~pl.col("treated")) ** 2).sum().sqrt().alias("error"),
    )
    assert len(sides) > 10
    assert (abs(sides["treated"] - sides["others"]) < 5 * sides["error"]).all()


def test_period_ends_where_the_trials_are_cut(bank: Path) -> None:
    events = pl.read_parquet(bank / "events.parquet")
    customers = pl.read_parquet(bank / "customers.parquet").sort("event_timestamp").group_by("customer_id").last()
    cut = events["event_timestamp"].min() + timedelta(days=70)
    found = trials(events, customers, HistoryConfig(cuts=(cut,)))
    before = set(found.filter(pl.col("at") < cut)["period"])
    assert before
    assert not before & set(found.filter(pl.col("at") >= cut)["period"])
