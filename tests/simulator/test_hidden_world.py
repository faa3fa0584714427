"""What is hidden: needs and their paths, preferences, grammars, and that each modality shows something of its own."""

import random
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recsys.simulator.bank import Bank, seed_of
from recsys.simulator.config import ResponseConfig, SimulatorConfig
from recsys.simulator.customers import Population, draw_population
from recsys.simulator.lexicon import Lexicon, decapitalise, expand, misspell
from recsys.simulator.needs import draw_needs
from recsys.simulator.preference import NO_CONTENT, Preference, Shown
from recsys.simulator.world import MERCHANTS, NEEDS, STAGES, need_merchants, shown_rates, stage_needs

CONFIG = SimulatorConfig(customers=2000, products=30, days=84, creatives_per_product=(3, 3))


@pytest.fixture(scope="module")
def bank_alone() -> Bank:
    return Bank.found(CONFIG)


@pytest.fixture(scope="module")
def people(bank_alone: Bank) -> Population:
    return draw_population(0, 2000, CONFIG, bank_alone.lexicon, np.random.default_rng(seed_of(CONFIG, 4, 0)))


@pytest.fixture(scope="module")
def preference(bank_alone: Bank, people: Population) -> Preference:
    return Preference(people, bank_alone.catalogue, bank_alone.creatives, CONFIG)


def test_draw_needs_follow_the_life_stage_and_drift() -> None:
    stage = np.repeat(np.arange(len(STAGES)), 500)
    path = draw_needs(stage, 26, np.random.default_rng(0))
    assert path.shape == (26, len(stage), len(NEEDS))
    assert path.min() >= 0
    assert path.max() <= 1
    students = path[0, stage == 0].mean(axis=0)
    assert NEEDS[int(students.argmax())] == NEEDS[int(stage_needs()[0].argmax())] == "education"
    moved = path[0].argmax(axis=1) != path[-1].argmax(axis=1)
    assert 0.25 < moved.mean() < 0.85


def test_shown_rates_sum_to_one_so_that_each_modality_has_something_of_its_own(people: Population) -> None:
    assert shown_rates().sum(axis=1) == pytest.approx(np.ones(len(NEEDS)))
    shown = people.traits.shown
    assert shown.any(axis=0).all()  # every need shows somewhere
    alone = shown & (shown.sum(axis=0) == 1)
    assert (alone.mean(axis=(1, 2)) > 0.1).all()


def test_click_probability_follows_utility_position_fatigue_and_liking(
    bank_alone: Bank, people: Population, preference: Preference
) -> None:
    count = people.count
    everyone, zeros = np.arange(count), np.zeros(count, np.int64)
    none = np.zeros(count, np.float32)

    def click(utility: float = 1.0, wear: float = 0.0, position: int = 0, content: int = NO_CONTENT) -> np.ndarray:
        shown = Shown(everyone, zeros, np.full(count, content), zeros, zeros + position)
        return preference.click(shown, none + np.float32(utility), none + np.float32(wear), 0)

    assert (click(utility=2) > click(utility=1)).all()
    assert (click(wear=10) < click()).all()
    assert click(position=1) == pytest.approx(0.72 * click(position=0), rel=1e-5)
    made, traits = bank_alone.creatives, people.traits
    pull = click(content=0) / click()
    for liking in (traits.palette[:, made.palette[0]], traits.tone[:, made.tone[0]], traits.style[:, made.style[0]]):
        assert np.corrcoef(liking, np.log(pull))[0, 1] > 0.15


def test_click_with_neutral_response_is_the_closed_form(bank_alone: Bank, people: Population) -> None:
    flat = ResponseConfig(click_base=-1.0, click_utility=0.5, tone=0, angle=0, picture=0, fatigue=0)
    config = CONFIG.model_copy(update={"response": flat})
    preference = Preference(people, bank_alone.catalogue, bank_alone.creatives, config)
    who = np.flatnonzero(people.traits.contact_effect > 0)[:50]
    zeros = np.zeros(len(who), np.int64)
    shown = Shown(who, zeros, zeros, zeros, zeros)
    utility = np.linspace(-1, 3, len(who)).astype(np.float32)
    got = preference.click(shown, utility, np.zeros(len(who), np.float32), 0)
    logit = -1.0 + 0.5 * utility + people.traits.channel[who, 0]
    assert got == pytest.approx(1 / (1 + np.exp(-logit)), rel=1e-5)


def test_utility_rises_with_the_need_that_a_product_serves(
    bank_alone: Bank, people: Population, preference: Preference
) -> None:
    travel = NEEDS.index("travel")
    product = int(bank_alone.catalogue.fits[:, travel].argmax())
    needy = people.needs[0, :, travel] > 0.6
    utility = preference.utility(0)[:, product]
    assert utility[needy].mean() > utility[~needy].mean() + 2


def test_transactions_show_needs_that_show_there(bank: Path) -> None:
    frame = pl.read_parquet(bank / "transactions.parquet")
    spent = frame.filter(pl.col("amount") < 0)
    assert set(spent["merchant_category"]) <= set(MERCHANTS)
    assert {"health", "religion", "gambling"} <= set(spent["merchant_category"])  # for features to drop
    assert frame.filter(pl.col("merchant_category") == "salary")["amount"].min() > 0
    assert need_merchants()[NEEDS.index("travel"), MERCHANTS.index("hotels")] > 0
    share = spent.group_by("customer_id").agg((pl.col("merchant_category") == "childcare").mean().alias("share"))
    assert share.select((pl.col("share") > 0.04).mean()).item() < 0.3  # a few have it, most do not
    assert share["share"].max() > 0.08


def test_messages_hold_needs_small_talk_slips_and_rare_canaries(bank: Path) -> None:
    frame = pl.read_parquet(bank / "messages.parquet")
    assert set(frame["source"]) == {"chat", "search", "note"}
    assert frame["image_path"].drop_nulls().n_unique() <= 48
    texts = frame["text"].drop_nulls()
    assert texts.str.contains(r"opening hours|app |PIN|password").any()
    canaries = pl.read_parquet(bank / "truth" / "canaries.parquet").join(frame, on="message_id", how="left")
    assert 0 < canaries.height / texts.len() < 0.02
    assert canaries.select(pl.col("text").str.contains(pl.col("value"), literal=True).all()).item()


def test_expand_resolves_nested_choices_and_slots() -> None:
    seen = {expand("[a|[b|c]] {x}", random.Random(seed), {"x": "1"}) for seed in range(40)}
    assert seen == {"a 1", "b 1", "c 1"}


def test_misspell_makes_one_slip() -> None:
    for seed in range(50):
        text = misspell("mortgage rates", random.Random(seed))
        assert abs(len(text) - 14) <= 1
        assert text[0] == "m"
    assert misspell("iba", random.Random(0)) == "iba"


def test_decapitalise_leaves_words_of_one_letter() -> None:
    assert decapitalise("My card") == "my card"
    assert decapitalise("I want") == "I want"


def test_lexicon_of_the_two_languages_has_the_same_shape() -> None:
    one, two = Lexicon.load("en"), Lexicon.load("zh")
    assert one.messages.needs.keys() == two.messages.needs.keys()
    assert all(set(one.messages.needs[need]) == set(two.messages.needs[need]) for need in NEEDS)
