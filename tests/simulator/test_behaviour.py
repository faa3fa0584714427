"""What the written events obey: suitability, life cycle, consent, the arms, and the truth beside them."""

from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
import yaml

from recsys.simulator import SimulatorConfig


@pytest.fixture(scope="module")
def events(bank: Path) -> pl.DataFrame:
    return pl.read_parquet(bank / "events.parquet")


@pytest.fixture(scope="module")
def impressions(bank: Path, events: pl.DataFrame) -> pl.DataFrame:
    """Impressions with the customer and product rows that were true at that moment."""
    shown = events.filter(pl.col("event_type") == "impression").sort("event_timestamp")
    for table, key in (("customers", "customer_id"), ("products", "product_id")):
        facts = pl.read_parquet(bank / f"{table}.parquet").sort("event_timestamp")
        shown = shown.join_asof(facts, on="event_timestamp", by=key, check_sortedness=False)
    return shown


def test_impressions_show_live_products_to_customers_whom_they_suit(impressions: pl.DataFrame) -> None:
    assert impressions["status"].unique().to_list() == ["live"]
    assert (impressions["available_from"] <= impressions["event_timestamp"]).all()
    invest = impressions.filter(pl.col("category").is_in(["fund", "pension", "wealth"]))
    product_risk = pl.max_horizontal("issuer_risk", "bank_risk").str.slice(1)
    assert invest.height > 1000
    assert invest.select((product_risk <= pl.col("risk_level").str.slice(1)).fill_null(value=False).all()).item()
    age = invest["event_timestamp"] - invest["risk_assessed_at"]
    assert age.max() <= timedelta(days=365)
    assert age.min() >= timedelta(0)
    segments = impressions.filter(pl.col("segments").is_not_null())
    assert segments.select(pl.col("segments").list.contains(pl.col("segment")).all()).item()
    assert impressions.select(pl.col("channels").list.contains(pl.col("channel")).all()).item()
    assert not impressions.filter(pl.col("is_credit"))["in_arrears"].any()


def test_impressions_show_nothing_that_is_held(bank: Path, impressions: pl.DataFrame) -> None:
    held = pl.read_parquet(bank / "holdings.parquet")
    once = impressions.filter(~pl.col("repeatable")).join(held, on=["customer_id", "product_id"])
    open_then = (pl.col("opened_at") <= pl.col("event_timestamp")) & (
        pl.col("closed_at").is_null() | (pl.col("closed_at") > pl.col("event_timestamp"))
    )
    assert once.filter(open_then).height == 0
    assert once.height > 0  # bought after it was shown: the rule had something to say


def test_impressions_reach_only_those_who_agree_to_marketing_in_the_channel(
    bank: Path, impressions: pl.DataFrame
) -> None:
    rows = pl.read_parquet(bank / "consents.parquet").filter(pl.col("purpose") == "marketing").sort("event_timestamp")
    general = rows.filter(pl.col("channel").is_null()).select("customer_id", "event_timestamp", "granted")
    special = rows.filter(pl.col("channel").is_not_null()).select(
        "customer_id", "event_timestamp", "channel", pl.col("granted").alias("in_channel")
    )
    shown = impressions.select("customer_id", "event_timestamp", "channel").sort("event_timestamp")
    shown = shown.join_asof(general, on="event_timestamp", by="customer_id", check_sortedness=False)
    shown = shown.join_asof(special, on="event_timestamp", by=["customer_id", "channel"], check_sortedness=False)
    assert shown["granted"].fill_null(value=False).all()
    assert shown["in_channel"].fill_null(value=True).all()


def test_creatives_are_shown_while_approved_and_for_their_own_product(bank: Path, impressions: pl.DataFrame) -> None:
    contents = pl.read_parquet(bank / "contents.parquet").sort("event_timestamp")
    contents = contents.rename({"product_id": "owner", "status": "state", "channel": "only"})
    shown = impressions.filter(pl.col("content_id").is_not_null()).select(
        "content_id", "product_id", "channel", "event_timestamp"
    )
    shown = shown.join_asof(contents, on="event_timestamp", by="content_id", check_sortedness=False)
    assert (shown["owner"] == shown["product_id"]).all()
    assert (shown["state"] == "approved").all()
    assert (shown["content_hash"] == shown["approved_hash"]).all()
    assert (shown["valid_from"] <= shown["event_timestamp"]).all()
    assert (shown["valid_to"] > shown["event_timestamp"]).fill_null(value=True).all()
    assert (shown["only"] == shown["channel"]).fill_null(value=True).all()


def test_control_arm_is_never_contacted_and_still_acquires(events: pl.DataFrame) -> None:
    control = events.filter(pl.col("arm") == "control")
    assert set(control["event_type"]) <= {"view", "apply", "convert"}
    assert control["event_type"].eq("apply").sum() > 0
    assert events.group_by("customer_id").agg(pl.col("arm").n_unique())["arm"].max() == 1


def test_events_follow_their_cause_and_ids_follow_time(events: pl.DataFrame) -> None:
    ordered = events.sort("event_id")
    assert ordered["event_id"].n_unique() == ordered.height
    assert ordered.select(
        (pl.col("event_timestamp").diff().over("customer_id").fill_null(timedelta(0)) >= timedelta(0)).all()
    ).item()
    key = ["request_id", "position"]
    shown = events.filter(pl.col("event_type") == "impression").select(*key, pl.col("event_timestamp").alias("shown"))
    clicks = events.filter(pl.col("event_type") == "click").join(shown, on=key, how="left")
    assert (clicks["event_timestamp"] >= clicks["shown"]).all()
    applied = (
        events.filter(pl.col("event_type") == "apply")
        .group_by("customer_id", "product_id")
        .agg(pl.col("event_timestamp").min().alias("applied"))
    )
    converts = events.filter(pl.col("event_type") == "convert")
    converts = converts.join(applied, on=["customer_id", "product_id"], how="left")
    assert (converts["event_timestamp"] >= converts["applied"]).all()


def test_conversions_open_holdings(bank: Path, events: pl.DataFrame, bank_config: SimulatorConfig) -> None:
    converts = events.filter(pl.col("event_type") == "convert").select(
        "customer_id", "product_id", pl.col("event_timestamp").alias("opened_at")
    )
    opened = pl.read_parquet(bank / "holdings.parquet").filter(pl.col("opened_at") >= bank_config.start)
    key = ["customer_id", "product_id", "opened_at"]
    assert converts.sort(key).equals(opened.select(key).sort(key))


def test_clicks_and_applications_are_as_frequent_as_the_truth_says(bank: Path, events: pl.DataFrame) -> None:
    truth = pl.read_parquet(bank / "truth" / "responses.parquet")
    shown = events.filter(pl.col("event_type") == "impression")
    named = ["event_id", "customer_id", "product_id", "content_id"]
    assert shown.select(named).equals(truth.select(named))
    key = ["request_id", "position"]
    clicks = events.filter(pl.col("event_type") == "click").select(*key, pl.lit(1).alias("clicked"))
    rows = truth.join(shown.select("event_id", *key, "event_timestamp"), on="event_id").join(clicks, on=key, how="left")
    rows = rows.filter(pl.col("event_timestamp") < shown["event_timestamp"].max() - timedelta(days=3))
    for low, high in ((0.0, 0.05), (0.05, 0.2), (0.2, 1.0)):
        some = rows.filter(pl.col("p_click").is_between(low, high))
        chance = some["p_click"]
        spread = float((chance * (1 - chance)).sum()) ** 0.5
        assert abs(some["clicked"].sum() - chance.sum()) < 4 * spread
    applied = events.filter(pl.col("event_type") == "apply").select(*key).drop_nulls()
    clicked = rows.filter(pl.col("clicked") == 1)
    chance = clicked["p_apply"]
    observed = clicked.join(applied, on=key).height
    assert abs(observed - chance.sum()) < 4 * float((chance * (1 - chance)).sum()) ** 0.5


def test_offers_expect_as_many_acquisitions_as_come(bank: Path, events: pl.DataFrame) -> None:
    offers = pl.read_parquet(bank / "truth" / "offers.parquet")
    split = yaml.safe_load((bank / "dataset.yaml").read_text())["split"]
    starts = [split["validation_start"], split["test_start"]]
    assert sorted(offers["as_of"].unique()) == starts
    applied = events.filter(pl.col("event_type") == "apply")
    observed, expected = 0, 0.0
    for start, end in zip(starts, [starts[1], None], strict=True):
        within = applied.filter(pl.col("event_timestamp") >= start)
        within = within if end is None else within.filter(pl.col("event_timestamp") < end)
        listed = offers.filter(pl.col("as_of") == start)
        observed += within.unique(["customer_id", "product_id"]).join(listed, on=["customer_id", "product_id"]).height
        expected += listed["p_acquire"].sum()
    assert observed == pytest.approx(expected, rel=0.3)
    ranked = offers.sort("as_of", "customer_id", "rank").select(
        (pl.col("p_acquire").diff().over("as_of", "customer_id").fill_null(0.0) <= 1e-6).all()
    )
    assert ranked.item()


def test_truth_is_worth_knowing(bank: Path, events: pl.DataFrame) -> None:
    """The oracle's first five offers hold far more of what comes than the five most popular products."""
    offers = pl.read_parquet(bank / "truth" / "offers.parquet")
    total, best, popular = 0, 0, 0
    for start in offers["as_of"].unique():
        applied = events.filter(pl.col("event_type") == "apply")
        before = applied.filter(pl.col("event_timestamp") < start)
        after = applied.filter(pl.col("event_timestamp") >= start)
        first = offers.filter((pl.col("as_of") == start) & (pl.col("rank") <= 5))
        top = before["product_id"].value_counts(sort=True)["product_id"].head(5)
        total += after.height
        best += after.join(first, on=["customer_id", "product_id"], how="semi").height
        popular += after["product_id"].is_in(top.implode()).sum()
    assert best / total > 1.5 * popular / total


def test_contact_effect_is_positive_for_most_and_negative_for_some(bank: Path) -> None:
    effect = pl.read_parquet(bank / "truth" / "contact_effect.parquet")
    assert (effect["effect"] - (effect["p_with"] - effect["p_without"])).abs().max() < 1e-6
    assert effect["effect"].mean() > 0.01
    assert (effect["effect"] < 0).any()


def test_some_customers_lack_whole_modalities_and_some_have_no_history(
    bank: Path, events: pl.DataFrame, bank_config: SimulatorConfig
) -> None:
    count = bank_config.customers
    messages = pl.read_parquet(bank / "messages.parquet")
    write = messages.filter(pl.col("text").is_not_null() & pl.col("image_path").is_null())["customer_id"].n_unique()
    send = messages.filter(pl.col("image_path").is_not_null())["customer_id"].n_unique()
    pay = pl.read_parquet(bank / "transactions.parquet")["customer_id"].n_unique()
    assert 0.5 < write / count < 0.75
    assert 0.4 < send / count < 0.75
    assert 0.8 < pay / count < 0.9
    assert events["customer_id"].n_unique() < count


def test_dataset_yaml_puts_the_split_within_the_period(bank: Path, bank_config: SimulatorConfig) -> None:
    words = yaml.safe_load((bank / "dataset.yaml").read_text())
    assert words["policy"] == "bank"
    assert words["split"]["validation_start"] == bank_config.start + timedelta(days=72)
    assert words["split"]["test_start"] == bank_config.start + timedelta(days=81)
    assert words["end"] == bank_config.end
