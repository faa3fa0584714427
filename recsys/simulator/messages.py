"""What customers write, say and send: needs in other words, small talk, pictures, and slips."""

import random
from typing import Final

import numpy as np
import polars as pl

from recsys.simulator.bank import Bank
from recsys.simulator.clock import Clock
from recsys.simulator.creatives import SentPictures
from recsys.simulator.customers import Population
from recsys.simulator.journal import customer_id, moments
from recsys.simulator.lexicon import Lexicon, decapitalise, draw, misspell
from recsys.simulator.products import UTC_TIME
from recsys.simulator.world import NEEDS, Floats, Ints

_IDLE: Final = 0.12
"""How much a customer writes whom no need presses, relative to one whom a need presses fully."""
_PICTURES: Final = 5.0
"""Expected pictures over 180 days of a customer who sends any."""
_SILENT: Final = 0.6
"""Share of pictures that are sent without a word."""
MESSAGE_SCHEMA: Final = pl.Schema(
    {
        "message_id": pl.String(),
        "customer_id": pl.String(),
        "event_timestamp": UTC_TIME,
        "text": pl.String(),
        "source": pl.String(),
        "language": pl.String(),
        "image_path": pl.String(),
    }
)


def write_messages(population: Population, bank: Bank, rng: np.random.Generator) -> pl.DataFrame:
    """The messages of a block, ordered by customer and time, without message_id."""
    config, clock, lexicon, pictures = bank.config, bank.clock, bank.lexicon, bank.pictures
    words = random.Random(int(rng.integers(2**62)))
    rate = config.messages_per_customer * np.minimum(population.traits.activity, 3) ** 0.5
    customer, at = _moments(population, population.writes * rate, 0, clock, rng)
    need = _choose_needs(population, customer, clock.day_of(at), 0, rng)
    about = rng.random(len(need)) < 0.15 + 0.75 * _pressing(population, customer, clock.day_of(at), 0)
    need[~about] = -1  # small talk
    writer = _Writer(lexicon, words)
    lines: list[tuple[str | None, str]] = [
        writer.write(None if number < 0 else NEEDS[number]) for number in need.tolist()
    ]
    sender, sent_at = _moments(population, population.sends * np.full(population.count, _PICTURES), 2, clock, rng)
    shown = _choose_needs(population, sender, clock.day_of(sent_at), 2, rng)
    picture = _choose_pictures(population, pictures, sender, shown, rng)
    captions = lexicon.messages.captions
    lines += [(None if words.random() < _SILENT else draw(captions, words), "chat") for _ in sender]
    frame = pl.DataFrame(
        {
            "customer": np.concatenate([customer, sender]),
            "moment": np.concatenate([at, sent_at]),
            "text": [text for text, _ in lines],
            "source": [source for _, source in lines],
            "image_path": [None] * len(customer) + [pictures.paths[number] for number in picture.tolist()],
        },
        schema_overrides={"text": pl.String, "source": pl.String, "image_path": pl.String},
    ).sort("customer", "moment", maintain_order=True)
    return frame.select(
        customer_id(pl.col("customer"), population.first),
        moments("moment").alias("event_timestamp"),
        "text",
        "source",
        pl.lit(config.language).alias("language"),
        "image_path",
    )


class _Writer:
    """Writes one message at a time."""

    def __init__(self, lexicon: Lexicon, rng: random.Random) -> None:
        self._grammar = lexicon.messages
        self._gap, self._comma = lexicon.gap, lexicon.comma
        self._rng = rng

    def write(self, need: str | None) -> tuple[str, str]:
        """Text and source of a message about `need`, or about nothing."""
        rng = self._rng
        source = ("search", "chat", "chat", "search", "note")[int(rng.random() * 4.4)]
        if need is None:
            text, source = draw(self._grammar.smalltalk, rng), "chat" if source == "note" else source
        else:
            text = draw(self._grammar.needs[need][source], rng)
        if source == "chat":
            text = self._dress(text)
        if rng.random() < (0.25 if source != "note" else 0.05):
            text = misspell(text, rng)
        return (text.lower() if source == "search" else text), source

    def _dress(self, text: str) -> str:
        rng, grammar = self._rng, self._grammar
        opener, closer = draw(grammar.openers, rng), draw(grammar.closers, rng)
        parts = [f"{opener}{self._comma}{decapitalise(text)}" if opener else text, draw(grammar.callback, rng), closer]
        if rng.random() < 0.12:
            parts.insert(1, draw(grammar.smalltalk, rng))
        return self._gap.join(part for part in parts if part)


def _moments(
    population: Population, rate: np.ndarray, modality: int, clock: Clock, rng: np.random.Generator
) -> tuple[Ints, Ints]:
    """Customers and moments of messages at up to about `rate` a customer in 180 days.

    Nobody writes before he joined, and whoever has a need that shows in the modality writes more often.
    """
    days = len(clock.days)
    customer = np.repeat(np.arange(population.count), rng.poisson(2.0 * rate * days / 180))
    day = rng.integers(0, days, len(customer))
    writes = _IDLE + (1 - _IDLE) * _pressing(population, customer, day, modality)
    kept = (day > population.joined_day[customer]) & (rng.random(len(customer)) < writes)
    customer, day = customer[kept], day[kept]
    return customer, clock.moment(day, population.country[customer], (8, 22), rng)


def _pressing(population: Population, customer: Ints, day: Ints, modality: int) -> Floats:
    """How much the strongest need of each customer that shows in the modality makes him write, 0..1, [N]."""
    shown: Floats = population.needs[day // 7, customer] * population.traits.shown[modality, customer]
    return np.clip((shown.max(axis=1) - 0.2) / 0.4, 0, 1)


def _choose_needs(population: Population, customer: Ints, day: Ints, modality: int, rng: np.random.Generator) -> Ints:
    """The need that each message is about: strong needs far more often, and only those that show in the modality."""
    needs = population.needs[day // 7, customer]
    weights: Floats = needs**2 * population.traits.shown[modality, customer] + 0.002
    edges = np.cumsum(weights, axis=1)
    return (rng.random(len(customer))[:, None] * edges[:, -1:] >= edges).sum(axis=1)


def _choose_pictures(
    population: Population, pictures: SentPictures, sender: Ints, need: Ints, rng: np.random.Generator
) -> Ints:
    """A picture of the need from the pool, in colours that the customer likes."""
    chosen = np.zeros(len(sender), np.int64)
    for number in np.unique(need):
        pool, rows = np.flatnonzero(pictures.need == number), np.flatnonzero(need == number)
        liking = 1.6 * population.traits.palette[sender[rows]][:, pictures.palette[pool]]
        chosen[rows] = pool[(liking + rng.gumbel(size=liking.shape)).argmax(axis=1)]
    return chosen
