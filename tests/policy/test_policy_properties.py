"""The laws of the policy on random worlds, against an oracle in plain Python.

Hypothesis draws the seed of a world, the pack, the instant; a world holds many customers, so that at least 100,000
customers are decided about in all: WORLDS of CROWD below, some more in the laws.
"""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import recsys.policy
from recsys.decisions.answer import Decision, DecisionRequest, Placement
from recsys.decisions.catalogue import Catalogue
from recsys.decisions.pipeline import DecisionPipeline
from recsys.policy.engine import PolicyEngine
from recsys.policy.facts import Consents, CustomerFacts
from recsys.policy.pack import PolicyPack
from recsys.policy.registry import packaged_packs
from recsys.schema import RISK_RATINGS, Kind, ServingMode
from recsys.testing.tiny_scorer import HISTORY, SEGMENT, TEXT, TinyScorer
from tests.policy.oracle import Oracle
from tests.policy.worlds import CONTENT_SCHEMA, PRODUCT_SCHEMA, World, draw_world

PACKS = {
    name: yaml.safe_load((Path(recsys.policy.__file__).parent / "packs" / f"{name}.yaml").read_text(encoding="utf-8"))
    for name in packaged_packs()
}
INSTANTS = [
    datetime(2026, 6, 1, 12, tzinfo=UTC),
    datetime(2026, 3, 29, 0, 59, 59, 999_999, tzinfo=UTC),  # Dublin's clocks go forward at 01:00 UTC
    datetime(2026, 3, 29, 1, tzinfo=UTC),
    datetime(2026, 10, 25, 1, tzinfo=UTC),  # and back
    datetime(2026, 11, 1, 6, tzinfo=UTC),  # New York's go back
    datetime(2028, 2, 29, 7, 59, 59, tzinfo=UTC),  # a leap day
    datetime(2028, 2, 29, 21, tzinfo=UTC),
    datetime(2026, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
]
SEEDS = st.integers(0, 2**32 - 1)
QUICK = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), database=None)
WORLDS, CROWD, CATALOGUE = 70, 1500, 3


class Variation(NamedTuple):
    """A packaged pack, of which some rules may be missing, not yet in force, or set otherwise."""

    name: str
    seed: int | None

    @property
    def pack(self) -> dict[str, Any]:
        """As YAML gives it."""
        pack = deepcopy(PACKS[self.name])
        if self.seed is None:
            return pack
        rng = np.random.default_rng(self.seed)
        pack["rules"] = [rule for rule in pack["rules"] if rng.random() > 0.1]
        for rule in pack["rules"]:
            if rng.random() < 0.05:
                rule["effective_from"] = "2999-01-01"
            for name in ("cool_off_days", "pending_days", "max_age_days", "window_days", "max_age_hours"):
                if name in rule and rng.random() < 0.3:
                    rule[name] = int(rng.choice([1, 7, 30, 300]))
            if rule["id"] == "CRED_STEERING":
                rule["rate_tolerance"] = float(rng.choice([0.0, 0.5, 0.75]))
                rule["fee_tolerance"] = float(rng.choice([0.0, 2.0]))
        return pack


VARIATIONS = st.builds(Variation, st.sampled_from(sorted(PACKS)), st.none() | SEEDS)


def engine_of(pack: dict[str, Any], world: World) -> PolicyEngine:
    return PolicyEngine(PolicyPack.model_validate(pack), world.repeatable)


def first_rules(outcome: Any) -> list[list[str]]:
    names = [*outcome.rule_ids, ""]
    return [[names[place] for place in row] for row in outcome.rule.tolist()]


@pytest.fixture(scope="module")
def decided() -> Iterator[list[int]]:
    """How many customers were decided about."""
    counts: list[int] = []
    yield counts
    assert sum(counts) >= 100_000


@settings(max_examples=WORLDS, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(VARIATIONS, st.sampled_from(INSTANTS), SEEDS)
def test_rules_agree_with_the_oracle_on_products(
    decided: list[int], drawn: Variation, now: datetime, seed: int
) -> None:
    world = draw_world(np.random.default_rng(seed), CROWD, CATALOGUE, now)
    oracle = Oracle(drawn.pack, world)
    outcome = engine_of(drawn.pack, world).evaluate(world.customer_facts(), world.product_facts(), now, world.request)
    removing = [[oracle.product_rules(who, what) for what in range(CATALOGUE)] for who in range(CROWD)]
    assert first_rules(outcome) == [[rules[0] if rules else "" for rules in row] for row in removing]
    assert outcome.profiling_refused.tolist() == [oracle.profiling_refused(who) for who in range(CROWD)]
    decided.append(CROWD)


@pytest.mark.parametrize("name", sorted(set(PACKS) - {"none"}))
def test_worlds_give_every_rule_something_to_remove(name: str) -> None:
    """Else the agreement above would be about nothing."""
    removing = set()
    for seed in range(14):
        world = draw_world(np.random.default_rng(seed), 60, 12, INSTANTS[seed % len(INSTANTS)], contents=20)
        oracle = Oracle(PACKS[name], world)
        removing |= {rule for who in range(60) for what in range(12) for rule in oracle.product_rules(who, what)}
        removing |= {rule for who in range(60) for which in range(20) for rule in oracle.content_rules(who, which)}
    assert removing == {rule["id"] for rule in PACKS[name]["rules"]} - {"CONSENT_PROFILING"}


@QUICK
@given(VARIATIONS, st.sampled_from(INSTANTS), SEEDS)
def test_rules_agree_with_the_oracle_on_contents(drawn: Variation, now: datetime, seed: int) -> None:
    world = draw_world(np.random.default_rng(seed), 40, 6, now, contents=8)
    products = world.product_facts()
    outcome = engine_of(drawn.pack, world).evaluate_contents(
        world.customer_facts(), world.content_facts(products), products, now, world.request
    )
    oracle = Oracle(drawn.pack, world)
    removing = [[oracle.content_rules(who, which) for which in range(8)] for who in range(40)]
    assert first_rules(outcome) == [[rules[0] if rules else "" for rules in row] for row in removing]


@QUICK
@given(VARIATIONS, st.sampled_from(INSTANTS), SEEDS)
def test_explain_names_every_rule_that_the_oracle_names(drawn: Variation, now: datetime, seed: int) -> None:
    world = draw_world(np.random.default_rng(seed), 8, 10, now)
    engine, oracle, facts, products = (
        engine_of(drawn.pack, world),
        Oracle(drawn.pack, world),
        world.customer_facts(),
        world.product_facts(),
    )
    for who in range(8):
        found = engine.explain(facts.slice(who, who + 1), products, None, now, world.request)
        for what in range(10):
            assert [name for name, removed in found.items() if removed[what]] == oracle.product_rules(who, what)


@QUICK
@given(VARIATIONS, st.sampled_from(INSTANTS), SEEDS)
def test_law_lowering_a_level_never_adds_a_product(drawn: Variation, now: datetime, seed: int) -> None:
    world = draw_world(np.random.default_rng(seed), 200, 12, now)
    engine, facts, products = engine_of(drawn.pack, world), world.customer_facts(), world.product_facts()
    lower = replace(facts, risk_level=np.maximum(facts.risk_level - 1, 0).astype(np.int8))
    before, after = (engine.evaluate(people, products, now, world.request).allowed for people in (facts, lower))
    assert not (after & ~before).any()


@QUICK
@given(VARIATIONS, st.sampled_from(INSTANTS), SEEDS, st.sampled_from(["issuer_risk", "bank_risk"]))
def test_law_raising_a_risk_never_adds_a_customer(drawn: Variation, now: datetime, seed: int, side: str) -> None:
    world = draw_world(np.random.default_rng(seed), 200, 12, now)
    engine, facts = engine_of(drawn.pack, world), world.customer_facts()
    before = engine.evaluate(facts, world.product_facts(), now, world.request).allowed
    for item in world.products:
        if item[side] is not None:
            item[side] = RISK_RATINGS[min(RISK_RATINGS.index(item[side]) + 1, 4)]
    after = engine.evaluate(facts, world.product_facts(), now, world.request).allowed
    assert not (after & ~before).any()


@QUICK
@given(VARIATIONS, st.sampled_from(INSTANTS), SEEDS)
def test_law_withdrawing_a_consent_never_adds_an_item(drawn: Variation, now: datetime, seed: int) -> None:
    world = draw_world(np.random.default_rng(seed), 100, 8, now, contents=12)
    world.consents_kept = True
    engine, products = engine_of(drawn.pack, world), world.product_facts()
    contents = world.content_facts(products)

    def allowed() -> tuple[Any, Any, Any]:
        facts = world.customer_facts()
        return (
            engine.evaluate(facts, products, now, world.request).allowed,
            engine.evaluate_contents(facts, contents, products, now, world.request).allowed,
            ~engine.profiling_refused(facts, now),
        )

    before = allowed()
    channels = np.random.default_rng(seed).choice(np.array([None, "email", "sms"]), 100)
    for purpose in ("marketing", "profiling"):
        world.consents += [
            {"customer": who, "purpose": purpose, "channel": channels[who], "granted": False, "since": now}
            for who in range(100)
        ]
    for old, new in zip(before, allowed(), strict=True):
        assert not (new & ~old).any()


@QUICK
@given(VARIATIONS, st.sampled_from(INSTANTS), SEEDS)
def test_law_a_customer_is_judged_alike_alone_and_among_others(drawn: Variation, now: datetime, seed: int) -> None:
    world = draw_world(np.random.default_rng(seed), 20, 8, now)
    engine, facts, products = engine_of(drawn.pack, world), world.customer_facts(), world.product_facts()
    together = engine.evaluate(facts, products, now, world.request).rule
    alone = [engine.evaluate(facts.slice(n, n + 1), products, now, world.request).rule[0] for n in range(20)]
    assert np.array_equal(together, np.array(alone))


@QUICK
@given(st.sampled_from(sorted(PACKS)), st.sampled_from(INSTANTS), SEEDS)
def test_law_the_unknown_get_nothing_that_somebody_without_holdings_would_not(
    name: str, now: datetime, seed: int
) -> None:
    """He who has, awaits or refused nothing, and is on file, never sees less than a stranger."""
    world = draw_world(np.random.default_rng(seed), 100, 10, now)
    world.held, world.declined, world.pending, world.contacts = [], [], [], []
    for row in world.customers:  # of age at least as the stranger is assumed to be, and not in a closed country
        row["age"] = None if row["age"] is not None and row["age"] < 14 else row["age"]
        row["country"] = None if row["country"] in ("KP", "US") else row["country"]
    engine, products = engine_of(PACKS[name], world), world.product_facts()
    known = engine.evaluate(world.customer_facts(), products, now, world.request).allowed
    unknown = engine.evaluate(CustomerFacts.unknown(1), products, now, world.request).allowed
    assert not (unknown & ~known).any()


# --- through the pipeline -------------------------------------------------------------------------------------------


def pipeline_of(pack: dict[str, Any], world: World) -> DecisionPipeline:
    frames = (pl.DataFrame(world.products, schema=PRODUCT_SCHEMA), pl.DataFrame(world.contents, schema=CONTENT_SCHEMA))
    products, contents = frames[0].with_columns(pl.col("category").fill_null("")), frames[1]
    return DecisionPipeline(
        TinyScorer(products, contents), engine_of(pack, world), Catalogue.from_frames(frames[0], contents)
    )


def draw_features(rng: np.random.Generator, products: int) -> dict[str, Any] | None:
    if rng.random() < 0.2:
        return None
    return {
        SEGMENT: str(rng.choice(["young", "affluent"])),
        HISTORY: [f"p{rng.integers(products)}"],
        TEXT: rng.random(products).tolist(),
    }


def shown(decision: Decision) -> list[tuple[str, list[str]]]:
    return [(p.name, [item.content_id or item.product_id for item in p.items]) for p in decision.placements]


def request_of(world: World) -> DecisionRequest:
    placements = (Placement("home", Kind.PRODUCTS, 3), Placement("banner", Kind.CONTENTS, 2))
    return DecisionRequest(world.now, placements, world.request)


@QUICK
@given(VARIATIONS, st.sampled_from(INSTANTS), SEEDS)
def test_law_no_path_shows_what_the_oracle_forbids(drawn: Variation, now: datetime, seed: int) -> None:
    """Personalised, popular, safe and batch alike."""
    rng = np.random.default_rng(seed)
    world = draw_world(rng, 25, 8, now, contents=16)
    pipeline, facts, oracle = pipeline_of(drawn.pack, world), world.customer_facts(), Oracle(drawn.pack, world)
    features = [draw_features(rng, 8) for _ in range(25)]
    for who in range(25):
        decision = pipeline.decide(features[who], facts.slice(who, who + 1), request_of(world))
        if oracle.stale(who):
            assert decision.mode is ServingMode.SAFE
        elif oracle.profiling_refused(who):
            assert decision.mode is ServingMode.POPULAR
        for item in [item for place in decision.placements for item in place.items]:
            if item.content_id is None:
                assert not oracle.product_rules(who, int(item.product_id[1:]))
            else:
                assert not oracle.content_rules(who, int(item.content_id[1:]))
    known = pipeline.understand(features, now)
    for kind, rules in ((Kind.PRODUCTS, oracle.product_rules), (Kind.CONTENTS, oracle.content_rules)):
        ranking = pipeline.rank(known, facts, kind, 4, request_of(world))
        assert not [
            1 for who, row in enumerate(ranking.items.tolist()) for item in row if item >= 0 and rules(who, item)
        ]


@QUICK
@given(st.sampled_from(sorted(set(PACKS) - {"none"})), st.sampled_from(INSTANTS), SEEDS)
def test_law_opt_outs_of_equal_eligibility_get_identical_answers(name: str, now: datetime, seed: int) -> None:
    """Two customers whom the rules cannot tell apart, but whose histories have nothing in common."""
    rng = np.random.default_rng(seed)
    world = draw_world(rng, 2, 10, now, contents=20)
    facts, pipeline = world.customer_facts().slice(0, 1), pipeline_of(PACKS[name], world)
    facts = facts.with_consents(Consents.none(1))
    features = [{SEGMENT: "young", HISTORY: ["p1"], TEXT: rng.random(10).tolist()}, {SEGMENT: "affluent"}, None]
    decisions = [pipeline.decide(row, facts, request_of(world)) for row in features]
    assert len({str(shown(decision)) for decision in decisions}) == 1
    assert len({str([p.items for p in decision.placements]) for decision in decisions}) == 1
    rankings = [
        pipeline.rank(pipeline.understand([row], now), facts, Kind.PRODUCTS, 10, request_of(world)) for row in features
    ]
    assert {ranking.modes[0] for ranking in rankings} <= {ServingMode.POPULAR, ServingMode.SAFE}
    assert all(np.array_equal(ranking.items, rankings[0].items) for ranking in rankings)


def test_opt_outs_of_two_segments_that_no_rule_tells_apart_get_the_same_list() -> None:
    world = draw_world(np.random.default_rng(5), 1, 12, INSTANTS[0], contents=24)
    item = dict.fromkeys(PRODUCT_SCHEMA) | {"status": "live", "category": "savings", "is_credit": False}
    world.products = [item | {"product_id": f"p{number}"} for number in range(12)]
    world.customers[0]["as_of"], world.channel = INSTANTS[0], "app"
    world.held, world.declined, world.pending = [], [], []
    pipeline = pipeline_of(PACKS["eu"], world)
    base = world.customer_facts().with_consents(Consents.none(1))
    answers = [
        pipeline.decide({SEGMENT: segment}, replace(base, segment=(segment,)), request_of(world))
        for segment in ("young", "affluent")
    ]
    assert shown(answers[0]) == shown(answers[1])
    assert answers[0].placements[0].items
    assert answers[0].mode is ServingMode.POPULAR


# --- night, everywhere ----------------------------------------------------------------------------------------------

PLACES = ["Europe/Dublin", "America/New_York", "America/St_Johns", "Asia/Kathmandu", "Pacific/Chatham", "Asia/Shanghai",
          "Australia/Lord_Howe", "America/Sao_Paulo", "Africa/Casablanca", "Pacific/Apia"]  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(PLACES), st.datetimes(datetime(2024, 1, 1), datetime(2032, 1, 1), timezones=st.just(UTC)))
def test_law_quiet_hours_follow_the_clock_on_the_wall(place: str, instant: datetime) -> None:
    """Polars has a time zone database and arithmetic of its own."""
    rule = PolicyPack.model_validate(PACKS["bank"]).rule("CONTACT_QUIET")
    wall = pl.Series([instant], dtype=pl.Datetime("us", "UTC")).dt.convert_time_zone(place)
    night = wall.dt.hour()[0] >= 21 or wall.dt.hour()[0] < 8
    assert rule.quiet(place, np.datetime64(instant.replace(tzinfo=None), "us")) == night  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("instant", "quiet"),
    [
        (datetime(2026, 3, 28, 8, 0, tzinfo=UTC), False),  # 08:00 in winter time
        (datetime(2026, 3, 29, 6, 59, 59, tzinfo=UTC), True),
        (datetime(2026, 3, 29, 7, 0, tzinfo=UTC), False),  # 08:00 in summer time
        (datetime(2026, 3, 29, 19, 59, 59, tzinfo=UTC), False),
        (datetime(2026, 3, 29, 20, 0, tzinfo=UTC), True),  # 21:00 in summer time
        (datetime(2026, 10, 25, 7, 30, tzinfo=UTC), True),  # 07:30 in winter time again
        (datetime(2028, 2, 29, 21, 0, tzinfo=UTC), True),
    ],
)
def test_quiet_hours_in_dublin_over_clock_changes(instant: datetime, quiet: bool) -> None:
    rule = PolicyPack.model_validate(PACKS["bank"]).rule("CONTACT_QUIET")
    moment = np.datetime64(instant.replace(tzinfo=None), "us")
    assert rule.quiet("Europe/Dublin", moment) is quiet  # type: ignore[union-attr]
    assert rule.quiet("No/Where", moment)  # type: ignore[union-attr]
    assert rule.quiet(None, moment + np.timedelta64(12, "h"))  # type: ignore[union-attr]


@pytest.mark.parametrize("day", [datetime(2028, 2, 29, 12, tzinfo=UTC), datetime(2027, 2, 28, 12, tzinfo=UTC)])
def test_assessment_lasts_365_days_over_a_leap_day(day: datetime) -> None:
    rows = [{"risk_level": "C5", "risk_assessed_at": day - timedelta(days=365, microseconds=late)} for late in (0, 1)]
    frame = pl.DataFrame(rows, schema={"risk_level": pl.String, "risk_assessed_at": pl.Datetime("us", "UTC")})
    engine = PolicyEngine(PolicyPack.model_validate(PACKS["bank"]))
    assert engine.suitability(CustomerFacts.from_frame(frame), day) == ["valid", "expired"]
