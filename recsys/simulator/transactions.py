"""Card and account movements: an everyday basket that needs push towards what serves them, and salaries."""

from typing import Final

import numpy as np
import polars as pl

from recsys.simulator.bank import Bank
from recsys.simulator.clock import Clock
from recsys.simulator.customers import Population
from recsys.simulator.journal import customer_id, moments
from recsys.simulator.lexicon import Lexicon
from recsys.simulator.products import UTC_TIME
from recsys.simulator.world import MERCHANTS, SALARY, Floats, Ints, everyday_basket, merchant_amounts, need_merchants

_PUSH: Final = 0.9
"""How much a need at full strength adds to a basket of weight 1."""
_CHUNK: Final = 200_000
"""Transactions whose category is drawn at once."""
TRANSACTION_SCHEMA: Final = pl.Schema(
    {
        "transaction_id": pl.String(),
        "customer_id": pl.String(),
        "event_timestamp": UTC_TIME,
        "amount": pl.Float64(),
        "merchant_category": pl.String(),
        "merchant": pl.String(),
        "channel": pl.String(),
    }
)


def draw_transactions(population: Population, bank: Bank, rng: np.random.Generator) -> pl.DataFrame:
    """The transactions of a block, ordered by customer and time, without transaction_id."""
    config, clock, lexicon = bank.config, bank.clock, bank.lexicon
    days = len(clock.days)
    rate = population.pays * config.transactions_per_customer * rng.gamma(3, 1 / 3, population.count) * days / 180
    customer = np.repeat(np.arange(population.count), rng.poisson(rate))
    day = rng.integers(0, days, len(customer))
    known = day > population.joined_day[customer]
    customer, day = customer[known], day[known]
    category = _draw_categories(population, customer, day, rng)
    typical = merchant_amounts()[category] * (population.income[customer] / 38_000) ** 0.4
    amount = -typical * rng.lognormal(-0.2, 0.6, len(customer)) * lexicon.scale
    moment = clock.moment(day, population.country[customer], (7, 22), rng)
    payer, paid_at, salary = _draw_salaries(population, clock, rng)
    salary_code = len(MERCHANTS)
    columns = {
        "customer": np.concatenate([customer, payer]),
        "moment": np.concatenate([moment, paid_at]),
        "amount": np.round(np.concatenate([amount, salary * lexicon.scale]), 2),
        "category": np.concatenate([category, np.full(len(payer), salary_code)]),
        "branch": rng.integers(0, 2**31, len(customer) + len(payer)),
        "channel": np.concatenate([rng.choice(3, len(customer), p=[0.62, 0.3, 0.08]), np.full(len(payer), 2)]),
    }
    return _named(pl.DataFrame(columns), population, lexicon)


def _named(frame: pl.DataFrame, population: Population, lexicon: Lexicon) -> pl.DataFrame:
    categories = (*MERCHANTS, SALARY)
    names = [name for category in categories for name in lexicon.merchants[category]]
    sizes = np.array([len(lexicon.merchants[category]) for category in categories])
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    code = frame["category"].to_numpy()
    merchant = starts[code] + frame["branch"].to_numpy() % sizes[code]
    ordered = frame.with_columns(pl.Series("merchant", merchant)).sort("customer", "moment", maintain_order=True)
    return ordered.select(
        customer_id(pl.col("customer"), population.first),
        moments("moment").alias("event_timestamp"),
        "amount",
        pl.lit(pl.Series(categories)).gather(pl.col("category")).alias("merchant_category"),
        pl.lit(pl.Series(names)).gather(pl.col("merchant")).alias("merchant"),
        pl.lit(pl.Series(["card", "online", "transfer"])).gather(pl.col("channel")).alias("channel"),
    )


def _draw_categories(population: Population, customer: Ints, day: Ints, rng: np.random.Generator) -> Ints:
    """A merchant category for each transaction, [N]."""
    pull, everyday = _PUSH * need_merchants(), everyday_basket()
    habits = everyday * rng.lognormal(0, 0.4, (population.count, len(everyday))).astype(np.float32)
    chosen = np.empty(len(customer), np.int64)
    for start in range(0, len(customer), _CHUNK):
        rows = slice(start, start + _CHUNK)
        needs: Floats = population.needs[day[rows] // 7, customer[rows]]
        needs = np.where(population.traits.shown[1, customer[rows]], needs, 0.1 * needs)
        edges = np.cumsum(habits[customer[rows]] + needs @ pull, axis=1)
        chosen[rows] = (rng.random(len(needs))[:, None] * edges[:, -1:] >= edges).sum(axis=1)
    return np.minimum(chosen, len(everyday) - 1)


def _draw_salaries(population: Population, clock: Clock, rng: np.random.Generator) -> tuple[Ints, Ints, Floats]:
    """Customer, moment and amount of monthly incomes, for those whose salary account is here."""
    has = population.pays & (rng.random(population.count) < 0.75)
    payday = rng.integers(0, 30, population.count)
    months = range(0, len(clock.days), 30)
    customer = np.concatenate([np.flatnonzero(has & (month + payday < len(clock.days))) for month in months])
    month = np.concatenate([np.full((has & (m + payday < len(clock.days))).sum(), m) for m in months])
    day = month + payday[customer]
    known = day > population.joined_day[customer]
    customer, day = customer[known], day[known]
    amount = population.income[customer] * 0.72 / 12 * rng.normal(1, 0.03, len(customer))
    return customer, clock.moment(day, population.country[customer], (6, 9), rng), np.round(amount, 2)
