"""What logged impressions teach a campaign: how scores become probabilities, and what contact adds by its arms.

Of several impressions of a product to a customer within the window only the first counts: the same response would
otherwise be counted for each. Scores are computed as they were at the time of the impression, point in time.

What is looked at does not grow with the bank: the newest MOST_EXPOSURES impressions of at most MOST_CUSTOMERS
customers, who are BLOCKS of neighbours at places drawn from all parts of the bank, because neighbours' features lie
together. Of those impressions, scores are computed of the answered ones and of a part of the others, which stands for
all: the answers are few, and their number is what the error of a rate comes from (Elkan 2001; a case-control sample).
"""

from datetime import datetime, timedelta
from typing import Final

import numpy as np
import polars as pl

from recsys.campaigns.brief import RESPONSES, Objective
from recsys.campaigns.response import Estimate, ResponseCurve, incremental_share
from recsys.campaigns.source import History
from recsys.data.contract import Dataset
from recsys.errors import RecsysError
from recsys.features.consent import Consent, Purpose
from recsys.policy.sources import name_products
from recsys.schema import CUSTOMER_ID, EVENT_TIMESTAMP, EVENT_TYPE, PRODUCT_ID, EventType, Kind, Table
from training.examples import ROW_ID
from training.recommend import BatchRecommender

WINDOW: Final = timedelta(days=30)
"""A response counts for an impression of the same product that it follows within this time."""
MOST_CUSTOMERS: Final = 5_000
MOST_EXPOSURES: Final = 20_000
MOST_ANSWERED: Final = 2_000
"""Answered impressions that are scored: their Poisson error is 2 % of the rate."""
MOST_OTHERS: Final = 4_000
"""Others that are scored."""
BLOCKS: Final = 8
_BLOCK: Final = "block"
_CONTROL: Final = "control"
_TREATED: Final = "treatment"


def read_history(recommend: BatchRecommender, objective: Objective, as_of: datetime) -> History:
    """Fits the response curve and compares the arms.

    Raises:
        RecsysError: there are too few logged impressions or responses.
    """
    dataset, wanted = recommend.dataset, RESPONSES[objective]
    log = ContactLog(dataset, as_of)
    known = list(recommend.pipeline.catalogue.products.ids)
    shown = log.exposures(wanted).filter(pl.col(PRODUCT_ID).is_in(known))
    if shown.is_empty():
        raise RecsysError(
            f"{dataset.path}: no impressions of products are logged that are old enough to have been answered: "
            "without them nobody can say what a contact brings"
        )
    rows, weight = to_score(shown["responded"].to_numpy())
    some = shown[rows]
    scores = _scores_of(recommend, some)
    curve = ResponseCurve.fit(scores, some["responded"].to_numpy(), some["channel"].to_list(), weight)
    return History(
        curve,
        log.conversions_per_response(wanted),
        read_arms(dataset, wanted),
        conversions_per_application=log.conversions_per_response(EventType.APPLY),
        customers=log.customers,
        scored=len(some),
    )


class ContactLog:
    """What a sample of the customers was shown, and what they did.

    Args:
        dataset: whose log.
        as_of: what came later is not known.
        most: customers at most; of fewer, all are looked at.
        seed: of the draw.
    """

    def __init__(self, dataset: Dataset, as_of: datetime, most: int = MOST_CUSTOMERS, seed: int = 0) -> None:
        self._as_of = as_of
        sample = sample_customers(dataset, most, seed)
        self.customers = len(sample)
        # before the join, which would hold the texts of the whole log
        theirs = pl.col(CUSTOMER_ID).is_in(sample[CUSTOMER_ID].implode())
        events = dataset.scan(Table.EVENTS).filter(pl.col(EVENT_TIMESTAMP) <= as_of, theirs)
        events = name_products(dataset, events.join(sample.lazy(), on=CUSTOMER_ID)).drop_nulls(PRODUCT_ID)
        if "channel" not in dataset.columns(Table.EVENTS):
            events = events.with_columns(pl.lit(None, pl.String).alias("channel"))
        names = ("event_id", CUSTOMER_ID, EVENT_TIMESTAMP, EVENT_TYPE, PRODUCT_ID, "channel", _BLOCK)
        self._events = events.select(names).collect(engine="streaming")
        shown = self._events.lazy().filter(
            pl.col(EVENT_TYPE) == EventType.IMPRESSION.value, pl.col(EVENT_TIMESTAMP) <= as_of - WINDOW
        )
        self._shown = Consent(dataset).keep_now(shown, Purpose.PROFILING).collect(engine="streaming")

    def exposures(self, wanted: EventType) -> pl.DataFrame:
        """Impressions that had the whole window to be answered, the newest MOST_EXPOSURES.

        Returns:
            row_id, customer_id, event_timestamp, product_id, channel, block, responded.
        """
        age = pl.lit(self._as_of).cast(pl.Datetime("us", "UTC")) - pl.col(EVENT_TIMESTAMP)
        month = age.dt.total_microseconds() // (WINDOW // timedelta(microseconds=1))
        rows = (
            self._shown.with_columns(month.alias("month"))
            .sort(EVENT_TIMESTAMP, "event_id")
            .group_by(CUSTOMER_ID, PRODUCT_ID, "month", maintain_order=True)
            .agg(pl.col(EVENT_TIMESTAMP, "channel", _BLOCK).first())
            .sort(EVENT_TIMESTAMP, CUSTOMER_ID, PRODUCT_ID, descending=[True, False, False])
            .head(MOST_EXPOSURES)
            .drop("month")
            .with_row_index(ROW_ID)
            .with_columns(pl.col(ROW_ID).cast(pl.Int64))
        )
        answers = self._events.filter(pl.col(EVENT_TYPE) == wanted.value).select(
            CUSTOMER_ID, PRODUCT_ID, pl.col(EVENT_TIMESTAMP).alias("answered")
        )
        within = pl.col("answered").is_between(pl.col(EVENT_TIMESTAMP), pl.col(EVENT_TIMESTAMP) + WINDOW)
        answered = rows.join(answers, on=[CUSTOMER_ID, PRODUCT_ID]).filter(within)[ROW_ID].unique()
        return rows.with_columns(pl.col(ROW_ID).is_in(answered.implode()).alias("responded"))

    def conversions_per_response(self, wanted: EventType) -> float:
        """How many exposures were followed by a conversion for each that was followed by a response; at most 1.

        A campaign for clicks or applications must not count each of them as a sale.
        """
        if wanted is EventType.CONVERT:
            return 1.0
        responses, conversions = (
            int(self.exposures(event)["responded"].sum()) for event in (wanted, EventType.CONVERT)
        )
        return min(conversions / responses, 1.0) if responses else 0.0


def sample_customers(dataset: Dataset, most: int, seed: int) -> pl.DataFrame:
    """customer_id and block of at most so many customers: all, or neighbours at a drawn place in each part."""
    every = dataset.scan(Table.CUSTOMERS).select(pl.col(CUSTOMER_ID).unique()).collect(engine="streaming")
    ids = every.sort(CUSTOMER_ID)
    if len(ids) <= most:
        return ids.with_columns(pl.lit(0).alias(_BLOCK))
    size, part = most // BLOCKS, len(ids) / BLOCKS
    places = np.random.default_rng(seed).random(BLOCKS)
    starts = [int(number * part + place * (part - size)) for number, place in enumerate(places)]
    return pl.concat(ids[start : start + size].with_columns(pl.lit(n).alias(_BLOCK)) for n, start in enumerate(starts))


def to_score(responded: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Which of n exposures are scored, rising, and for how many each of them stands."""
    rng = np.random.default_rng(seed)
    rows, weights = [], []
    for group, most in ((np.flatnonzero(responded), MOST_ANSWERED), (np.flatnonzero(~responded), MOST_OTHERS)):
        taken = group if len(group) <= most else rng.choice(group, most, replace=False)
        rows.append(taken)
        weights.append(np.full(len(taken), len(group) / max(len(taken), 1)))
    chosen, weight = np.concatenate(rows), np.concatenate(weights)
    order = np.argsort(chosen)
    return chosen[order], weight[order]


def _scores_of(recommend: BatchRecommender, shown: pl.DataFrame) -> np.ndarray:
    """[n] the champion's score of each impression's product, at its time."""
    products = recommend.pipeline.catalogue.products
    position = products.positions(shown[PRODUCT_ID].to_list())
    scores = np.empty(len(shown))
    for block in shown[_BLOCK].unique().sort().to_list():
        mine = np.flatnonzero((shown[_BLOCK] == block).to_numpy())
        before = pl.col(EVENT_TIMESTAMP) - pl.duration(microseconds=1)
        asked = shown[mine].select(pl.int_range(pl.len(), dtype=pl.Int64).alias(ROW_ID), CUSTOMER_ID, before)
        known = recommend.understand(asked, np.zeros(len(mine), dtype=bool))
        rows, place = np.arange(len(mine)), position[mine]
        asked_about = np.zeros((len(mine), len(products)), dtype=bool)
        asked_about[rows, place] = True
        scores[mine] = recommend.scores(known, [None] * len(mine), Kind.PRODUCTS, asked_about)[rows, place]
    return scores


def read_arms(dataset: Dataset, wanted: EventType) -> Estimate | None:
    """What the arms say; customers of an arm who never appear in the events are in neither count.

    In the control arm, which is never written to, that leaves out more people who did not respond than in the other:
    the share is if anything too low.
    """
    if "arm" not in dataset.columns(Table.EVENTS):
        return None
    responded = (pl.col(EVENT_TYPE) == wanted.value).any().alias("responded")
    people = dataset.scan(Table.EVENTS).group_by(CUSTOMER_ID).agg(pl.col("arm").first(), responded)
    counts = {
        arm: (responses, customers)
        for arm, responses, customers in people.group_by("arm")
        .agg(pl.col("responded").sum(), pl.len())
        .collect(engine="streaming")
        .iter_rows()
    }
    if _CONTROL not in counts or _TREATED not in counts:
        return None
    return incremental_share(counts[_TREATED], counts[_CONTROL])
