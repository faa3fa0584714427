"""The yardstick of allocations: limits are kept, and who knows more is worth more on the simulated bank's truth."""

import numpy as np
import polars as pl
import pytest

from recsys.campaigns.allocation import allocate
from recsys.campaigns.brief import Brief
from recsys.simulator import SimulatorConfig, simulate
from tests.campaigns.true_value import KEY, take, worth

BRIEF = Brief.parse(
    {
        "campaign_id": "x",
        "name": "X",
        "products": "engine",
        "audience": "everyone",
        "channels": [
            {"channel": "email", "cost_per_contact": 0.05, "capacity": 60},
            {"channel": "app", "cost_per_contact": 0.02},
        ],
        "budget": 5.0,
        "starts": "2026-07-03T00:00:00Z",
        "ends": "2026-07-10T00:00:00Z",
        "languages": ["en"],
        "salt": "a salt of some length",
    },
    source="test",
)


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    out = tmp_path_factory.mktemp("bank") / "data"
    simulate(SimulatorConfig(customers=400, products=16, days=60, creatives_per_product=(1, 2), sent_pictures=12), out)
    return pl.read_parquet(out / "truth" / "contacts.parquet")


def options_of(truth: pl.DataFrame) -> pl.DataFrame:
    frames = [
        truth.filter(pl.col(f"p_{one.channel}").is_not_null()).select(
            "customer_id",
            "product_id",
            pl.lit("any").alias("content_id"),
            pl.lit(one.channel).alias("channel"),
            pl.lit(0, pl.Int32).alias("slot"),
            pl.lit("c").alias("category"),
            pl.lit("mass").alias("segment"),
            ((pl.col(f"p_{one.channel}") - pl.col("p_without")).cast(pl.Float64) * 100 - one.cost_per_contact).alias(
                "value"
            ),
            pl.lit(one.cost_per_contact).alias("cost"),
        )
        for one in BRIEF.channels
    ]
    return pl.concat(frames)


def test_contacts_change_chances_and_mostly_for_the_better(truth: pl.DataFrame) -> None:
    chances = truth.select(pl.col("^p_.*$").drop_nulls().is_between(0, 1).all())
    assert all(chances.row(0))
    gain = truth["p_app"] - truth["p_without"]
    assert gain.mean() > 0
    assert (gain < 0).any()  # whom contact puts off


def test_who_knows_the_truth_is_worth_more_than_who_guesses_and_all_keep_the_limits(truth: pl.DataFrame) -> None:
    options = options_of(truth)
    people = options["customer_id"].unique().to_list()
    rng = np.random.default_rng(0)
    guessed = options.with_columns(
        value=pl.col("value") + pl.Series(rng.normal(0, options["value"].std(), len(options)))
    )
    oracle = allocate(options, BRIEF.allocation_limits()).assignments
    guess = allocate(guessed, BRIEF.allocation_limits()).assignments.select(KEY).join(options, on=KEY)
    drawn = take(options.sample(fraction=1.0, shuffle=True, seed=1), BRIEF)
    for plan in (oracle, guess, drawn):
        assert plan["cost"].sum() <= BRIEF.budget + 1e-9
        assert plan.filter(pl.col("channel") == "email").height <= 60
        assert plan["customer_id"].is_unique().all()
    assert worth(oracle, people, guess).low > 0
    assert worth(guess, people, drawn).low > 0
