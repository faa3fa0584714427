"""Customers: who they are, what they like and how they behave, most of it hidden."""

from dataclasses import dataclass

import numpy as np

from recsys.simulator.config import SimulatorConfig
from recsys.simulator.lexicon import Lexicon
from recsys.simulator.needs import draw_needs
from recsys.simulator.world import (
    ANGLES,
    CHANNELS,
    LAYOUTS,
    PALETTES,
    STAGE_SHARES,
    STAGES,
    STYLES,
    TONES,
    Bools,
    Floats,
    Ints,
    shown_rates,
)

_INCOME = (9_000, 30_000, 42_000, 46_000, 54_000, 48_000, 56_000, 29_000)
_WEALTH = (0.15, 0.4, 0.7, 0.7, 1.1, 1.4, 2.6, 3.2)
_RISK = (2.9, 3.3, 3.1, 2.8, 2.8, 3.0, 2.5, 1.9)
_HORIZON = (36, 60, 84, 120, 120, 96, 72, 48)
NEVER = 10**6
"""A day that does not come."""


@dataclass
class Traits:
    """What is never observed. C customers."""

    stage: Ints
    values: Floats
    """[C, 4]: what a customer looks for in a product and hears in copy (world.ANGLES)."""
    tone: Floats
    palette: Floats
    style: Floats
    layout: Floats
    """[C, TONES / PALETTES / STYLES / LAYOUTS]: liking, centred on 0."""
    channel: Floats
    """[C, CHANNELS]: liking, centred on 0."""
    appetite: Floats
    """[C]: the risk a customer would really like, about 1..5."""
    activity: Floats
    """[C]: visits relative to the average customer."""
    initiative: Floats
    """[C]: unprompted acquisitions relative to the average customer."""
    contact_effect: Floats
    """[C]: what an impression does to later unprompted acquisitions; below 0: contact puts off, clicks too."""
    shown: Bools
    """[3, C, K]: whether a need shows in texts, transactions, sent pictures."""


@dataclass
class Assessment:
    """Risk assessments; days count from the start of the period. A level of 0 is none."""

    level: Ints
    day: Ints
    next_level: Ints
    next_day: Ints
    """The assessment within the period; NEVER: none."""


@dataclass
class Population:
    """The customers of one block. C customers, K needs, W weeks."""

    first: int
    """Number of the first customer in the whole bank."""
    traits: Traits
    needs: Floats
    """[W, C, K]; acquisitions lower what they serve."""
    country: Ints
    region: Ints
    segment: Ints
    income: Floats
    """[C]: base currency a year."""
    liquid: Floats
    """[C]: base currency."""
    horizon: Ints
    """[C]: months."""
    knowledge: Ints
    """[C]: 0 basic, 1 informed, 2 advanced."""
    assessment: Assessment
    joined_day: Ints
    """[C]: negative: before the period."""
    arm: Ints
    """[C]: index into world.ARMS."""
    verified: Bools
    minor: Bools
    arrears_day: Ints
    """[C]: day from which in arrears; NEVER for nearly all."""
    writes: Bools
    pays: Bools
    sends: Bools
    """[C]: has texts, transactions, sent pictures at all."""

    @property
    def count(self) -> int:
        """C."""
        return len(self.country)


def draw_population(
    first: int, count: int, config: SimulatorConfig, lexicon: Lexicon, rng: np.random.Generator
) -> Population:
    """Draws `count` customers, the first of whom has the number `first` in the bank."""
    stage = rng.choice(len(STAGES), count, p=STAGE_SHARES)
    minor = (stage == STAGES.index("student")) & (rng.random(count) < 0.03)
    income = np.array(_INCOME, np.float32)[stage] * rng.lognormal(0, 0.45, count).astype(np.float32)
    liquid = income * np.array(_WEALTH, np.float32)[stage] * rng.lognormal(-0.4, 0.9, count).astype(np.float32)
    segment = _segments(stage, income, liquid, rng)
    joined = -rng.integers(30, 3650, count)
    new = rng.random(count) < 0.09
    joined[new] = rng.integers(0, config.days, new.sum())
    traits = _draw_traits(stage, segment, rng)
    knowledge = np.clip(np.round(traits.appetite - 2.4 + rng.normal(0, 0.7, count)), 0, 2).astype(np.int64)
    country, region = _homes(count, lexicon, rng)
    edges = np.cumsum([1 - config.explore_share - config.control_share, config.explore_share])
    return Population(
        first=first,
        traits=traits,
        needs=draw_needs(stage, -(-config.days // 7) + 1, rng),
        country=country,
        region=region,
        segment=segment,
        income=income,
        liquid=liquid,
        horizon=np.maximum(6, np.array(_HORIZON)[stage] * rng.lognormal(0, 0.35, count)).astype(np.int64),
        knowledge=knowledge,
        assessment=_draw_assessments(traits.appetite, joined, minor, config, rng),
        joined_day=joined,
        arm=(rng.random(count)[:, None] >= edges).sum(axis=1),
        verified=rng.random(count) < 0.97,
        minor=minor,
        arrears_day=np.where(rng.random(count) < 0.015, rng.integers(-100, config.days, count), NEVER),
        writes=rng.random(count) < 0.70,
        pays=rng.random(count) < 0.85,
        sends=rng.random(count) < 0.7,
    )


def _segments(stage: Ints, income: Floats, liquid: Floats, rng: np.random.Generator) -> Ints:
    worth = liquid + 1.2 * income + rng.normal(0, 6_000, len(stage))
    segment = np.where(worth > 420_000, 3, np.where(worth > 130_000, 2, 1))
    young = (stage == 0) | ((stage == 1) & (rng.random(len(stage)) < 0.25))
    return np.where(young & (segment == 1), 0, segment)


def _draw_traits(stage: Ints, segment: Ints, rng: np.random.Generator) -> Traits:
    count = len(stage)
    values = rng.normal(0, 0.75, (count, len(ANGLES)))
    values += np.array([[0.5, 0.4, -0.3, 0.0], [0.1, 0, 0, -0.1], [-0.2, 0, 0, 0.5], [-0.5, -0.2, 0.1, 0.9]])[segment]
    values[:, 2] += np.array([-0.4, -0.3, 0, 0.4, 0.3, 0, 0.2, 0.6])[stage]
    appetite = np.array(_RISK)[stage] + rng.normal(0, 0.9, count)
    return Traits(
        stage=stage,
        values=values.astype(np.float32),
        tone=_likings(stage, len(TONES), 11, rng),
        palette=_likings(stage, len(PALETTES), 12, rng),
        style=_likings(stage, len(STYLES), 13, rng),
        layout=0.4 * _likings(stage, len(LAYOUTS), 14, rng),
        channel=rng.normal(0, 0.3, (count, len(CHANNELS))).astype(np.float32),
        appetite=np.clip(appetite, 1, 5).astype(np.float32),
        activity=rng.gamma(1.6, 1 / 1.6, count).astype(np.float32),
        initiative=rng.gamma(2.0, 0.5, count).astype(np.float32),
        contact_effect=_draw_contact_effects(count, rng),
        shown=_draw_shown(count, rng),
    )


def _draw_contact_effects(count: int, rng: np.random.Generator) -> Floats:
    """Most are reminded by contact; one in eight is put off."""
    put_off = rng.random(count) < 0.125
    return np.where(put_off, rng.normal(-1.2, 0.3, count), rng.normal(0.22, 0.15, count)).astype(np.float32)


def _draw_shown(count: int, rng: np.random.Generator) -> Bools:
    """Each need of each customer shows in one modality, and now and then in others too, [3, C, K]."""
    rates = shown_rates().T[:, None, :]
    edges = np.cumsum(rates, axis=0)
    first = (rng.random((1, count, rates.shape[2])) >= edges[:2]).sum(axis=0)
    also = rng.random((3, count, rates.shape[2])) < 0.9 * rates
    return also | (first[None] == np.arange(3)[:, None, None])


def _likings(stage: Ints, options: int, world_seed: int, rng: np.random.Generator) -> Floats:
    """Likings with a part that the life stage shares, the same in every bank, and a part of one's own."""
    shared = np.random.default_rng(world_seed).normal(0, 0.55, (len(STAGES), options))
    likings = shared[stage] + rng.normal(0, 0.8, (len(stage), options))
    return (likings - likings.mean(axis=1, keepdims=True)).astype(np.float32)


def _homes(count: int, lexicon: Lexicon, rng: np.random.Generator) -> tuple[Ints, Ints]:
    countries = list(lexicon.countries.values())
    shares = np.array([country.share for country in countries])
    country = rng.choice(len(countries), count, p=shares / shares.sum())
    regions = np.array([len(country.regions) for country in countries])
    region = (rng.random(count) ** 1.5 * regions[country]).astype(np.int64)  # the first regions are the larger ones
    return country, region


def _draw_assessments(
    appetite: Floats, joined: Ints, minor: Bools, config: SimulatorConfig, rng: np.random.Generator
) -> Assessment:
    count = len(appetite)

    def assess() -> Ints:
        return np.clip(np.round(appetite + rng.normal(0, 0.45, count)), 1, 5).astype(np.int64)

    assessed = (rng.random(count) < 0.8) & ~minor & (joined < 0)
    day = np.maximum(-rng.integers(5, 480, count), joined)
    expires = day + 365
    renews = rng.random(count) < np.where(assessed & (expires < config.days), 0.65, 0.12)
    usual = np.where(
        assessed & (expires >= 0), expires - rng.integers(0, 40, count), rng.integers(0, config.days, count)
    )
    next_day = np.where(joined >= 0, joined + rng.integers(1, 30, count), np.maximum(usual, 1))
    renews = (renews | ((joined >= 0) & (rng.random(count) < 0.7))) & ~minor & (next_day < config.days - 1)
    return Assessment(
        level=np.where(assessed, assess(), 0),
        day=np.where(assessed, day, -NEVER),
        next_level=assess(),
        next_day=np.where(renews, next_day, NEVER),
    )
