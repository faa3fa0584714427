"""Products and creatives: all families, consistent facts, texts that say what the catalogue says."""

import re
from pathlib import Path

import polars as pl
import pytest

from recsys.drawing.picture import SCENES as DRAWN
from recsys.simulator.archetypes import choose_variants, read_archetypes
from recsys.simulator.bank import Bank
from recsys.simulator.config import SimulatorConfig
from recsys.simulator.lexicon import Lexicon
from recsys.simulator.world import ANGLES, MERCHANTS, NEEDS, SALARY, SCENES, TONES


@pytest.mark.parametrize("count", [10, 12, 24, 80, 120])
def test_choose_variants_gives_every_family_and_no_twins(count: int) -> None:
    variants = choose_variants(count)
    assert len(variants) == count
    assert len({variant.archetype.family for variant in variants}) == 10
    assert len({(variant.key, variant.number, variant.series) for variant in variants}) == count


@pytest.mark.parametrize("language", ["en", "zh"])
def test_lexicon_has_words_for_everything(language: str) -> None:
    lexicon, archetypes = Lexicon.load(language), read_archetypes()
    assert set(lexicon.products) == set(archetypes)
    assert {name for kind in archetypes.values() for name in kind.benefits} <= set(lexicon.benefits)
    assert {name for kind in archetypes.values() for name in kind.needs} <= set(NEEDS)
    assert {name for kind in archetypes.values() for name in kind.scenes} <= set(SCENES)
    families = {kind.family for kind in archetypes.values()}
    for words in (lexicon.facts, lexicon.descriptions.facts, lexicon.copy_grammar.disclaimers):
        assert set(words) == families
    grammar = lexicon.copy_grammar
    assert set(grammar.goals) == set(grammar.acts) == set(lexicon.messages.needs) == set(NEEDS)
    assert set(grammar.headlines) == set(grammar.calls) == set(TONES)
    assert set(grammar.bodies) == set(ANGLES)
    assert set(lexicon.merchants) == {*MERCHANTS, SALARY}
    assert set(SCENES) == set(DRAWN)


def test_products_have_facts_that_fit_together(bank: Path) -> None:
    products = pl.read_parquet(bank / "products.parquet")
    assert products["category"].n_unique() == 10
    assert products.group_by("product_id").agg(pl.col("name").first())["name"].is_unique().all()
    invest = products["category"].is_in(["fund", "pension", "wealth"])
    rated = products["issuer_risk"].is_not_null() | products["bank_risk"].is_not_null()
    assert not rated.filter(~invest).any()
    assert products.filter(invest & ~rated)["product_id"].n_unique() == 1  # the one whose rating was withdrawn
    assert products.filter(pl.col("category").is_in(["card", "personal_loan", "mortgage"]))["is_credit"].all()
    assert not products.filter(pl.col("category").is_in(["savings", "fund", "insurance"]))["is_credit"].any()
    assert {"live", "paused", "draft"} <= set(products["status"])
    assert products["product_id"].value_counts()["count"].max() > 1
    assert products.filter(pl.col("rate").is_not_null())["rate"].is_between(0, 25).all()


def test_texts_have_no_open_slots_and_say_the_catalogues_numbers(bank: Path) -> None:
    products = pl.read_parquet(bank / "products.parquet").sort("event_timestamp")
    contents = pl.read_parquet(bank / "contents.parquet").sort("event_timestamp")
    copy = ["headline", "body", "call_to_action", "disclaimer"]
    texts = [text for name in copy for text in contents[name]] + products["description"].to_list()
    assert not [text for text in texts if re.search(r"[\[\]{}|]", text)]
    facts = products.select("product_id", "event_timestamp", "rate", "fee")
    told = contents.with_columns(pl.max_horizontal("event_timestamp", "valid_from").alias("event_timestamp"))
    told = told.sort("event_timestamp").join_asof(facts, on="event_timestamp", by="product_id", check_sortedness=False)
    for row in told.iter_rows(named=True):
        for number in re.findall(r"(\d+\.\d\d) ?%", " ".join(row[name] for name in copy)):
            assert float(number) in (row["rate"], row["fee"]), (row["headline"], row["rate"], row["fee"])


def test_chinese_bank_speaks_chinese() -> None:
    bank = Bank.found(SimulatorConfig(customers=10, products=20, language="zh", creatives_per_product=(2, 2)))
    texts = [product.row["name"] + product.row["description"] for product in bank.catalogue.products]
    texts += [item.row["headline"] + item.row["body"] for item in bank.creatives.items]
    assert all(re.search(r"[\u4e00-\u9fff]", text) for text in texts)
    assert not [text for text in texts if re.search(r"[\[\]{}|]", text)]
    assert bank.lexicon.currency == "CNY"


def test_an_approval_belongs_to_the_exact_text(bank: Path) -> None:
    contents = pl.read_parquet(bank / "contents.parquet")
    approved = contents.filter(pl.col("status") == "approved")
    assert (approved["content_hash"] == approved["approved_hash"]).all()
    assert contents.filter(pl.col("status") == "draft")["approved_hash"].is_null().all()
    several = contents.filter(pl.len().over("content_id") > 1).group_by("content_id")
    changed = several.agg(pl.col("body", "disclaimer", "headline", "content_hash").n_unique())
    texts = pl.max_horizontal("body", "disclaimer", "headline") > 1
    assert changed.select((texts == (pl.col("content_hash") > 1)).all()).item()
