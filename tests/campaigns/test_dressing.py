"""Composed copy on a plan: people of a segment get their words, and whoever loses his gets another of them."""

from datetime import UTC, datetime

import polars as pl
import pytest

from recsys.campaigns.brief import Brief
from recsys.campaigns.content.variant import Variant
from recsys.campaigns.dressing import ANCHOR, anchor_of, cells_of, dress, redress, undressed
from recsys.campaigns.waterfall import WaterfallStep, masked

BRIEF = Brief.model_validate(
    {
        "campaign_id": "x",
        "name": "X",
        "products": ["p1"],
        "audience": "everyone",
        "channels": [{"channel": "email", "cost_per_contact": 0.05}],
        "budget": 9,
        "starts": datetime(2026, 7, 3, tzinfo=UTC),
        "ends": datetime(2026, 7, 9, tzinfo=UTC),
        "languages": ["en"],
        "salt": "pepper and salt",
    }
)


def variant(name: str, segment: str) -> Variant:
    words = dict.fromkeys(("headline", "body", "cta", "disclaimer", "opt_out"), name)
    return Variant(
        content_id=name,
        product_id="p1",
        product_version="v",
        segment=segment,
        channel="email",
        language="en",
        tone="warm",
        **words,
    ).sealed()


def assignments(count: int = 40) -> pl.DataFrame:
    rows = [
        {
            "customer_id": f"c{place:02}",
            "product_id": "p1",
            "content_id": "a1" if place % 3 else "a2",
            "channel": "email",
            "slot": 0,
            "segment": "mass" if place % 2 else "young",
            "language": "en",
        }
        for place in range(count)
    ]
    return pl.DataFrame(rows)


def test_dress_gives_each_segment_its_words_and_keeps_the_anchor_of_most() -> None:
    made = dress(assignments(), [variant("m1", "mass"), variant("m2", "mass")], BRIEF)
    words = {(row["segment"], row["content_id"]) for row in made.assignments.iter_rows(named=True)}
    assert words == {("mass", "m1"), ("mass", "m2"), ("young", "a1"), ("young", "a2")}
    assert made.plain == ["a1", "a2"]
    assert {one["content_id"]: anchor_of(one) for one in made.variants} == {"m1": "a1", "m2": "a1"}
    again = dress(assignments(), [variant("m1", "mass"), variant("m2", "mass")], BRIEF)
    assert made.assignments.equals(again.assignments)


def test_undressed_is_the_variant_that_was_approved() -> None:
    (one,) = dress(assignments().filter(pl.col("segment") == "mass"), [variant("m1", "mass")], BRIEF).variants
    found = undressed(one)
    assert found is not None
    assert found.hash_of() == one["content_hash"]
    spoiled = undressed({**one, "body": "m1!"})
    assert spoiled is not None
    assert spoiled.hash_of() != one["content_hash"]
    assert undressed({"content_id": "a1"}) is None


def test_redress_moves_customers_of_a_dropped_variant_within_their_cell() -> None:
    made = dress(assignments(), [variant("m1", "mass"), variant("m2", "mass")], BRIEF)
    kept = [one for one in made.variants if one["content_id"] != "m1"]
    after = redress(made.assignments, kept, {"m1"}, BRIEF)
    assert set(after.filter(pl.col("segment") == "mass")["content_id"]) == {"m2"}
    assert after.drop("content_id").sort("customer_id").equals(made.assignments.drop("content_id").sort("customer_id"))
    with pytest.raises(ValueError, match="p1, mass, email"):
        redress(made.assignments, [], {"m1", "m2"}, BRIEF)


def test_copy_is_composed_for_what_is_sent_and_not_for_the_app() -> None:
    assert cells_of(assignments(), BRIEF, ["email"]) == {}
    config = cells_of(assignments(), BRIEF, [])["p1"]
    assert (config.segments, config.channels, config.languages) == (("mass", "young"), ("email",), ("en",))


@pytest.mark.parametrize(
    ("removed", "left", "shown"), [(3, 900, ("<10", "")), (0, 7, ("", "<10")), (12, 0, ("12", "0"))]
)
def test_small_counts_of_a_waterfall_are_masked(removed: int, left: int, shown: tuple[str, str]) -> None:
    assert masked(WaterfallStep("suitable", "SUIT_RISK", removed, left)) == shown


def test_anchor_is_no_word_of_the_variant() -> None:
    assert ANCHOR not in Variant.model_fields
