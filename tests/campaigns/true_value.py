"""What plans are really worth on a simulated bank: its `truth/contacts` knows what every contact changes."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from recsys.campaigns.allocation import allocate
from recsys.campaigns.brief import Brief
from recsys.campaigns.holdouts import NONE
from recsys.campaigns.judging import batches, reach_batch
from recsys.campaigns.offers import Offers
from recsys.campaigns.planner import Planned
from recsys.schema import CUSTOMER_ID, PRODUCT_ID

KEY = [CUSTOMER_ID, PRODUCT_ID, "channel"]


class Worth(NamedTuple):
    """True incremental value, in money: mean with its 95 % interval over customers."""

    mean: float
    low: float
    high: float


def true_options(planned: Planned, bank: Path) -> pl.DataFrame:
    """Every contact that the rules allow the plan, with its true value less its cost: the columns of the allocator."""
    source, brief = planned.source, planned.brief
    offers = Offers.of(brief, source)
    products = pl.DataFrame(
        {
            PRODUCT_ID: [source.products.ids[place] for place in offers.products],
            "category": source.products.category[offers.products].astype(str),
            "margin": offers.margins[offers.products],
        }
    )
    reachable = planned.draft.reach.reachable[NONE]
    people = planned.audience.select(CUSTOMER_ID, "segment").filter(pl.col(CUSTOMER_ID).is_in(reachable))
    truth = (
        pl.read_parquet(bank / "truth" / "contacts.parquet").join(people, on=CUSTOMER_ID).join(products, on=PRODUCT_ID)
    )
    may = _allowed(planned, offers)
    frames = []
    for offer in offers.channels:
        effect = pl.col(f"p_{offer.channel}") - pl.col("p_without")
        here = truth.join(may.filter(pl.col("channel") == offer.channel), on=[CUSTOMER_ID, PRODUCT_ID], how="semi")
        frames.append(
            here.filter(pl.col(f"p_{offer.channel}").is_not_null()).select(
                *KEY[:2],
                pl.lit("any").alias("content_id"),
                pl.lit(offer.channel).alias("channel"),
                pl.lit(0, pl.Int32).alias("slot"),
                "category",
                pl.col("segment").fill_null(""),
                (pl.col("margin") * effect - offer.cost).cast(pl.Float64).alias("value"),
                pl.lit(offer.cost).alias("cost"),
            )
        )
    return pl.concat(frames)


def _allowed(planned: Planned, offers: Offers) -> pl.DataFrame:
    """KEY of all that the rules let customers be told of, with some creative: the oracle keeps to them too."""
    source, frames = planned.source, []
    facts = source.facts_of(planned.audience[CUSTOMER_ID].to_list())
    names = np.array(source.products.ids, dtype=object)
    for batch in batches(planned.audience):
        rows, allowed, *_ = reach_batch(batch, planned.brief, source, offers, facts)
        people = batch.rows[CUSTOMER_ID].to_numpy()
        for offer in offers.channels:
            row, creative = np.nonzero(allowed[offer.channel][rows])
            frame = {CUSTOMER_ID: people[rows[row]], PRODUCT_ID: names[offer.facts.product[creative]]}
            frames.append(
                pl.DataFrame(frame, schema=dict.fromkeys(frame, pl.String)).with_columns(channel=pl.lit(offer.channel))
            )
    return pl.concat(frames).unique()


def plans_of(planned: Planned, options: pl.DataFrame, seed: int = 0) -> dict[str, pl.DataFrame]:
    """The allocation, its peers, and the oracle, each under the same limits: rows of `options`."""
    limits = planned.brief.allocation_limits()
    texts = {PRODUCT_ID: pl.String, "channel": pl.String}
    chance = planned.draft.options.select(*KEY, "probability").cast(texts)
    likely = options.join(chance, on=KEY)
    drawn = options.with_columns(pl.Series("draw", np.random.default_rng(seed).random(len(options))))
    return {
        "allocation": planned.allocation.assignments.select(KEY).join(options, on=KEY),
        "top propensity": take(likely.sort("probability", *KEY, descending=[True, False, False, False]), planned.brief),
        "random": take(drawn.sort("draw"), planned.brief),
        "oracle": allocate(options, limits).assignments,
    }


def take(options: pl.DataFrame, brief: Brief) -> pl.DataFrame:
    """From the top, whatever still fits: one contact a customer, the channels' capacities, cells and the budget."""
    left, money = {entry.channel: entry.capacity for entry in brief.channels}, brief.budget
    cells = {(cell.segment, cell.channel): cell.maximum for cell in brief.limits.cells if cell.maximum is not None}
    told: set[str] = set()
    kept = []
    for place, (customer, channel, segment, cost) in enumerate(
        options.select(CUSTOMER_ID, "channel", "segment", "cost").iter_rows()
    ):
        room, cell = left[channel], cells.get((segment, channel), 1)
        if customer in told or cost > money or (room is not None and room < 1) or cell < 1:
            continue
        told.add(customer)
        kept.append(place)
        money -= cost
        left[channel] = None if room is None else room - 1
        if (segment, channel) in cells:
            cells[segment, channel] -= 1
    return options[kept]


def worth(plan: pl.DataFrame, customers: list[str], less: pl.DataFrame | None = None, samples: int = 1000) -> Worth:
    """The value of a plan, or of one less another, resampled over the customers whom both could contact."""
    people = pl.DataFrame({CUSTOMER_ID: customers})

    def values(of: pl.DataFrame) -> np.ndarray:
        sums = of.group_by(CUSTOMER_ID).agg(pl.col("value").sum())
        return people.join(sums, on=CUSTOMER_ID, how="left")["value"].fill_null(0.0).to_numpy()

    each = values(plan) if less is None else values(plan) - values(less)
    draws = np.random.default_rng(0).multinomial(len(each), np.full(len(each), 1 / len(each)), samples)
    low, high = np.percentile(draws @ each, [2.5, 97.5])
    return Worth(float(each.sum()), float(low), float(high))
