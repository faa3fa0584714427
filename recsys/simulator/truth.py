"""What the bank was drawn from: true offers, true appeal of creatives, true effect of contact."""

from typing import Final

import numpy as np
import polars as pl

from recsys.simulator.behaviour import FORGETS_PRODUCT, Block
from recsys.simulator.creatives import ANY_CHANNEL
from recsys.simulator.journal import customer_id
from recsys.simulator.preference import NO_CONTENT, Shown
from recsys.simulator.world import ARMS, CHANNELS, Floats

_APP: Final = 0
CONTACT_HORIZON: Final = 21
"""Days in which `contacts` counts conversions: a week of sending and two in which responses still count."""
README: Final = """What this bank was drawn from. It is here to judge with; training never reads it.

responses.parquet       one row per impression: event_id, customer_id, product_id, content_id, product_propensity
                        (probability of the product in its slot, given the slots above it in the same request; the
                        events table holds that of product and creative together) and the true probabilities p_click,
                        p_apply (given a click) and p_convert (given an application). What falls after the end of the
                        period did not happen yet.
offers.parquet          the {offers} best offers of each customer as of the validation start and the test start:
                        customer_id, as_of, rank (from 1), product_id, p_acquire (probability of a new application for
                        the product in the part that follows, unprompted or prompted under the customer's own arm and
                        consents), organic (its unprompted share as an expected number). Needs are those of as_of;
                        only what the customer may have (suitability, on sale, not held) is listed.
creatives.parquet       at the test start, for {customers} customers drawn at random: customer_id, content_id,
                        product_id, p_click of the creative on the first place of the app's home screen, for every
                        approved creative of the products that the customer may have.
contact_effect.parquet  at the test start: customer_id, product_id (the best offer), p_without (no contact in the test
                        part), p_with (one impression of it, average creative, first place of the app's home screen),
                        effect (the difference; negative for customers whom contact puts off).
contacts.parquet        at the end of the period, for {contacts} customers drawn at random and every product that each
                        may have: customer_id, product_id, p_without (a conversion within {horizon} days without
                        contact) and by channel p_app, p_web, p_email, p_branch (the same after one impression of it
                        there, average creative, first place; empty where it is not offered): what a contact changes is
                        the difference.
canaries.parquet        the invented personal data in messages: message_id, customer_id, kind (card, iban, phone, email,
                        id, name) and value. Nothing that is made of the messages may hold one of these values.
"""


def offers(block: Block, day: int, horizon: int, keep: int) -> pl.DataFrame:
    """The best offers of every customer as of `day`, for the `horizon` days that follow."""
    everyone = np.arange(block.population.count)
    allowed = block.eligibility.allowed(day, everyone)
    organic = _unprompted(block, block.exposure) * allowed * horizon
    expected = organic + _prompted(block, day, allowed) * horizon
    ranks = np.argsort(np.argsort(-expected, axis=1, kind="stable"), axis=1)
    customer, product = np.nonzero(allowed & (ranks < keep) & (expected > 0))
    frame = pl.DataFrame(
        {
            "customer": customer,
            "rank": ranks[customer, product] + 1,
            "product": product,
            "p_acquire": 1 - np.exp(-expected[customer, product]),
            "organic": organic[customer, product],
        }
    ).sort("customer", "rank")
    return frame.select(
        _customer(block),
        pl.lit(block.bank.config.start).dt.offset_by(f"{day}d").dt.cast_time_unit("us").alias("as_of"),
        pl.col("rank"),
        _product(block),
        pl.col("p_acquire").cast(pl.Float32),
        pl.col("organic").cast(pl.Float32),
    )


def creatives(block: Block, day: int, customers: np.ndarray) -> pl.DataFrame:
    """P(click) of every creative that the app may show to `customers` on `day`."""
    allowed = block.eligibility.allowed(day, customers)
    content = np.flatnonzero(_showable(block, day, _APP))
    owner = block.bank.creatives.product[content]
    row, column = np.nonzero(allowed[:, owner])
    clicks = _click(block, day, customers[row], owner[column], content[column], _APP)
    names = pl.Series([item.id for item in block.bank.creatives.items])
    frame = pl.DataFrame(
        {"customer": customers[row], "content": content[column], "product": owner[column], "p_click": clicks}
    )
    return frame.select(
        _customer(block),
        pl.lit(names).gather(pl.col("content")).alias("content_id"),
        _product(block),
        pl.col("p_click"),
    )


def contact_effect(block: Block, day: int, horizon: int) -> pl.DataFrame:
    """What one impression of the best offer on `day` changes within `horizon` days."""
    everyone = np.arange(block.population.count)
    allowed = block.eligibility.allowed(day, everyone)
    rates = _unprompted(block, np.zeros_like(block.exposure)) * allowed
    best = (rates + _prompted(block, day, allowed)).argmax(axis=1)
    some = allowed.any(axis=1)
    customer, product = everyone[some], best[some]
    without = 1 - np.exp(-rates[customer, product] * horizon)
    fading = np.float32((1 - FORGETS_PRODUCT**horizon) / (1 - FORGETS_PRODUCT) / horizon)
    exposed = np.zeros_like(block.exposure)
    exposed[customer, product] = fading
    aware = 1 - np.exp(-_unprompted(block, exposed)[customer, product] * horizon)
    acts = _average_click(block, day, _APP)[customer, product]
    acts *= block.preference.apply(block.utility[customer, product])
    with_contact = 1 - (1 - aware) * (1 - acts)
    frame = pl.DataFrame({"customer": customer, "product": product, "p_without": without, "p_with": with_contact})
    return frame.select(_customer(block), _product(block), pl.col("p_without", "p_with").cast(pl.Float32)).with_columns(
        (pl.col("p_with") - pl.col("p_without")).alias("effect")
    )


def contacts(block: Block, day: int, customers: np.ndarray) -> pl.DataFrame:
    """What one impression of any product on `day` changes of conversions within CONTACT_HORIZON days."""
    horizon = CONTACT_HORIZON
    allowed = block.eligibility.allowed(day, customers)
    row, product = np.nonzero(allowed)
    customer = customers[row]
    utility = block.utility[customer, product]
    converts = block.preference.convert(customer, product, utility)
    rates = _unprompted(block, np.zeros_like(block.exposure))[customer, product] * converts
    fading = np.float32((1 - FORGETS_PRODUCT**horizon) / (1 - FORGETS_PRODUCT) / horizon)
    aware = _unprompted(block, np.full_like(block.exposure, fading))[customer, product] * converts
    acts = block.preference.apply(utility) * converts
    columns = {"p_without": 1 - np.exp(-rates * horizon)}
    for index, channel in enumerate(CHANNELS):
        clicks = _average_click(block, day, index)[customer, product]
        chance = 1 - np.exp(-aware * horizon) * (1 - clicks * acts)
        columns[f"p_{channel.name}"] = np.where(block.bank.catalogue.channels[product, index], chance, np.nan)
    frame = pl.DataFrame({"customer": customer, "product": product, **columns}).with_columns(
        pl.col(name).cast(pl.Float32).fill_nan(None) for name in columns
    )
    return frame.select(_customer(block), _product(block), *columns)


def _unprompted(block: Block, exposure: Floats) -> Floats:
    """Expected unprompted applications a day, [C, P]: they come on days without a request."""
    quiet = 1 - np.minimum(block.visit_chances().sum(axis=1, keepdims=True), 1)
    return block.preference.organic(block.utility, exposure) * quiet


def _prompted(block: Block, day: int, allowed: np.ndarray) -> Floats:
    """Expected prompted applications a day, under the customer's own arm and consents, [C, P]."""
    everyone = np.arange(block.population.count)
    rates, arm = block.visit_chances(), block.population.arm
    contacted = arm != ARMS.index("control")
    total = np.zeros(allowed.shape, np.float32)
    profiled = block.consent.profiling_on(day, everyone)
    for index, channel in enumerate(CHANNELS):
        reachable = contacted & block.consent.marketing_on(day, everyone, index)
        offered = allowed & block.bank.catalogue.channels[:, index][None]
        weights, uniform = block.bank.policy.weights(offered, block.population.segment, profiled, arm)
        chance = block.bank.policy.product_propensity(weights, uniform)
        places = sum(channel.examined) / channel.examined[0]
        clicks = _average_click(block, day, index) * chance * places
        total += (rates[:, index] * reachable)[:, None] * clicks
    return total * block.preference.apply(block.utility)


def _average_click(block: Block, day: int, channel: int) -> Floats:
    """P(click) on each product in the first place of a channel, its creatives shown equally often, [C, P]."""
    people, products = block.exposure.shape
    everyone = np.arange(people)
    total, count = np.zeros((people, products), np.float32), np.zeros(products, np.float32)
    for content in np.flatnonzero(_showable(block, day, channel)):
        owner = block.bank.creatives.product[content]
        total[:, owner] += _click(block, day, everyone, np.full(people, owner), np.full(people, content), channel)
        count[owner] += 1
    for product in np.flatnonzero(count == 0):
        nothing = np.full(people, NO_CONTENT)
        total[:, product] = _click(block, day, everyone, np.full(people, product), nothing, channel)
    return (total / np.maximum(count, 1)).astype(np.float32)


def _click(
    block: Block, day: int, customer: np.ndarray, product: np.ndarray, content: np.ndarray, channel: int
) -> Floats:
    zeros = np.zeros(len(customer), np.int64)
    shown = Shown(customer, product, content, zeros + channel, zeros)
    wear = block.preference.wear_of(block.impressions[customer], block.exposure[customer, product])
    return block.preference.click(shown, block.utility[customer, product], wear, day)


def _showable(block: Block, day: int, channel: int) -> np.ndarray:
    made = block.bank.creatives
    in_channel = (made.channel == ANY_CHANNEL) | (made.channel == channel)
    return made.live[day] & in_channel & block.bank.catalogue.channels[made.product, channel]


def _customer(block: Block) -> pl.Expr:
    return customer_id(pl.col("customer"), block.population.first)


def _product(block: Block) -> pl.Expr:
    ids = pl.Series([product.id for product in block.bank.catalogue.products])
    return pl.lit(ids).gather(pl.col("product")).alias("product_id")
