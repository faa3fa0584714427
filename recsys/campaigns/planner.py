"""From a brief to a plan: audience, holdouts, rules, scores, options, allocation, and what to expect of it.

What is kept of a batch of customers is a few options each, so that memory does not grow with the bank.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import polars as pl
from rich.progress import Progress

from recsys.campaigns.allocation import Allocation, allocate
from recsys.campaigns.brief import Brief, BriefError
from recsys.campaigns.judging import Batch, Reach, Reached, batches, reach_batch, read_audience
from recsys.campaigns.offers import Offers, Reachable, first_slots, in_app_channels
from recsys.campaigns.slots import slot_times
from recsys.campaigns.source import CustomerSource, History
from recsys.campaigns.waterfall import Waterfall
from recsys.schema import CONTENT_ID, CUSTOMER_ID, PRODUCT_ID

_MOST_WORKERS: Final = 4
"""Each looks at a batch, which takes some 300 MB."""
_FEW_NAMES: Final = (PRODUCT_ID, CONTENT_ID, "channel", "category", "segment", "language")
"""Columns of the options whose few texts are kept once: a bank of a million customers has millions of options."""


@dataclass
class Draft:
    """What the walk through the audience found."""

    reach: Reach
    history: History
    options: pl.DataFrame


@dataclass(frozen=True)
class Planned:
    """A draft with its allocation."""

    brief: Brief
    source: CustomerSource
    draft: Draft
    audience: pl.DataFrame
    allocation: Allocation
    in_app: tuple[str, ...] = ()
    """Channels on which nothing is sent."""


def plan_campaign(brief: Brief, source: CustomerSource, progress: Progress | None = None) -> Planned:
    """Decides who gets what.

    Raises:
        BriefError: the brief cannot be planned on this bank.
        AudienceError: its audience is refused.
        InfeasibleError: its limits contradict each other.
    """
    brief.require_future(source.as_of)
    in_app = in_app_channels(brief, source)
    offers = Offers.of(brief, source)
    audience = read_audience(brief, source)
    if audience.is_empty():
        raise BriefError("audience: nobody is in it: check the values, or ask for less")
    draft = _walk(brief, source, offers, audience, progress)
    if draft.options.is_empty():
        raise BriefError(
            f"audience: the rules leave nobody to contact: {_biggest(draft.reach.waterfall, source.count())}"
        )
    task = progress.add_task("allocating", total=1) if progress else None
    allocation = allocate(draft.options, brief.allocation_limits())
    allocation = replace(allocation, assignments=allocation.assignments.cast(dict.fromkeys(_FEW_NAMES, pl.String)))
    if progress and task is not None:
        progress.advance(task)
    if allocation.assignments.is_empty():
        raise BriefError(
            "channels: no contact is worth what it costs, by the values of the catalogue and the logged responses: "
            "name cheaper channels or other products, or ask for a minimum in limits.cells"
        )
    _count_unchosen(draft, allocation)
    return Planned(brief, source, draft, audience, allocation, tuple(in_app))


def _walk(
    brief: Brief, source: CustomerSource, offers: Offers, audience: pl.DataFrame, progress: Progress | None
) -> Draft:
    """Batches are looked at side by side, each as it would be alone, and put together in their order."""
    learning = progress.add_task("learning from logged contacts", total=1) if progress else None
    with source.one_thread(), ThreadPoolExecutor(min(os.cpu_count() or 1, _MOST_WORKERS)) as pool:
        facts = source.facts_of(audience[CUSTOMER_ID].to_list())  # first: both pass over the whole log
        history = source.history(brief.objective)
        if progress and learning is not None:
            progress.advance(learning)
        draft = Draft(Reach.of(audience, source), history, pl.DataFrame())
        task = progress.add_task("asking rules and model", total=len(audience)) if progress else None

        def look(batch: Batch) -> tuple[Reached, pl.DataFrame | None, int]:
            reached = reach_batch(batch, brief, source, offers, facts)
            options = _score(batch, reached, brief, offers, (source, history))
            return reached._replace(allowed={}), options, len(batch.rows)

        found = []
        for reached, options, looked_at in pool.map(look, batches(audience)):
            draft.reach.add(reached)
            if options is not None:
                found.append(options.cast(dict.fromkeys(_FEW_NAMES, pl.Categorical)))
            if progress and task is not None:
                progress.advance(task, looked_at)
    draft.options = pl.concat(found) if found else pl.DataFrame()
    return draft


def _score(
    batch: Batch, reached: Reached, brief: Brief, offers: Offers, context: tuple[CustomerSource, History]
) -> pl.DataFrame | None:
    """The options of one batch; None: nobody of it may be contacted."""
    if not len(reached.rows):
        return None
    source, history = context
    rows = batch.rows[reached.rows]
    allowed = {name: mask[reached.rows] for name, mask in reached.allowed.items()}
    ids = rows[CUSTOMER_ID].to_list()
    products = np.zeros((len(ids), len(source.products)), dtype=bool)
    for offer in offers.channels:
        for column, product in enumerate(offer.facts.product):
            products[:, product] |= allowed[offer.channel][:, column]
    zones = rows["time_zone"].to_list()
    counts = {zone: len(slot_times(brief, zone)) for zone in set(zones)}
    slots = np.array([counts[zone] for zone in zones], np.int64)
    reachable = Reachable(
        ids=ids,
        segments=rows["segment"].fill_null("").to_list(),
        allowed=allowed,
        slot=first_slots(ids, brief, slots),
        slots=slots,
        source=source,
    )
    return offers.options(reachable, source.scores(ids, reachable.segments, products), history, brief)


def _count_unchosen(draft: Draft, allocation: Allocation) -> None:
    """Who could have been contacted and is not: by the limit that weighs most on his best option."""
    chosen = allocation.assignments.select(CUSTOMER_ID).unique()
    left = draft.options.join(chosen, on=CUSTOMER_ID, how="anti")
    if left.is_empty():
        return
    price = {entry.name: entry.price for entry in allocation.prices}
    weights = {
        "CAP_BUDGET": pl.col("cost") * price.get("budget", 0.0),
        "CAP_CHANNEL": _price_of("channel", _by_kind(price, "channel")),
        "CAP_PRODUCT": _price_of(PRODUCT_ID, _by_kind(price, "product")),
    }
    heaviest = pl.max_horizontal(*weights.values())
    reason = pl.lit("CAP_BUDGET")
    for name, weight in weights.items():
        reason = pl.when((weight == heaviest) & (heaviest > 0)).then(pl.lit(name)).otherwise(reason)
    reason = pl.when(pl.col("value") <= 0).then(pl.lit("VALUE_BELOW_COST")).otherwise(reason)
    best = left.sort("value", descending=True, maintain_order=True).unique(CUSTOMER_ID, keep="first")
    for rule, count in best.select(reason.alias("rule"))["rule"].value_counts(sort=True).iter_rows():
        draft.reach.waterfall.remove_count(rule, count)


def _price_of(column: str, prices: dict[str, float]) -> pl.Expr:
    if not prices:
        return pl.lit(0.0)
    return pl.col(column).cast(pl.String).replace_strict(prices, default=0.0, return_dtype=pl.Float64)


def _by_kind(price: dict[str, float], kind: str) -> dict[str, float]:
    """`channel email` to `email`, of the constraints of one kind."""
    prefix = f"{kind} "
    return {name.removeprefix(prefix): value for name, value in price.items() if name.startswith(prefix)}


def _biggest(waterfall: Waterfall, everybody: int) -> str:
    rows: list[Any] = sorted(waterfall.steps(everybody)[2:], key=lambda row: -row.removed)[:3]
    return ", ".join(f"{row.rule} removes {row.removed}" for row in rows if row.removed)
