"""What logged impressions teach a campaign: how scores become probabilities, and what contact adds by its arms.

Of several impressions of a product to a customer within the window only the first counts: the same response would
otherwise be counted for each. Scores are computed as they were at the time of the impression, point in time.
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
MOST_EXPOSURES: Final = 20_000
_BATCH: Final = 10_000
_CONTROL: Final = "control"
_TREATED: Final = "treatment"


def read_history(recommend: BatchRecommender, objective: Objective, as_of: datetime) -> History:
    """Fits the response curve and compares the arms.

    Raises:
        RecsysError: there are too few logged impressions or responses.
    """
    dataset, wanted = recommend.dataset, RESPONSES[objective]
    known = list(recommend.pipeline.catalogue.products.ids)
    shown = exposures(dataset, wanted, as_of).filter(pl.col(PRODUCT_ID).is_in(known))
    shown = shown.with_columns(pl.int_range(pl.len(), dtype=pl.Int64).alias(ROW_ID))
    if shown.is_empty():
        raise RecsysError(
            f"{dataset.path}: no impressions of products are logged that are old enough to have been answered: "
            "without them nobody can say what a contact brings"
        )
    scores = _scores_of(recommend, shown)
    curve = ResponseCurve.fit(scores, shown["responded"].to_numpy(), shown["channel"].to_list())
    return History(curve, conversions_per_response(dataset, wanted, as_of), read_arms(dataset, wanted))


def conversions_per_response(dataset: Dataset, wanted: EventType, as_of: datetime) -> float:
    """How many exposures were followed by a conversion for each that was followed by a response; at most 1.

    A campaign for clicks or applications must not count each of them as a sale.
    """
    if wanted is EventType.CONVERT:
        return 1.0
    responses, conversions = (
        int(exposures(dataset, event, as_of)["responded"].sum()) for event in (wanted, EventType.CONVERT)
    )
    return min(conversions / responses, 1.0) if responses else 0.0


def exposures(dataset: Dataset, wanted: EventType, as_of: datetime) -> pl.DataFrame:
    """Impressions that had the whole window to be answered, the newest MOST_EXPOSURES.

    Returns:
        row_id, customer_id, event_timestamp, product_id, channel, responded.
    """
    events = dataset.scan(Table.EVENTS)
    if "channel" not in dataset.columns(Table.EVENTS):
        events = events.with_columns(pl.lit(None, pl.String).alias("channel"))
    events = name_products(dataset, events.filter(pl.col(EVENT_TIMESTAMP) <= as_of)).drop_nulls(PRODUCT_ID)
    seen = events.filter(
        (pl.col(EVENT_TYPE) == EventType.IMPRESSION.value) & (pl.col(EVENT_TIMESTAMP) <= as_of - WINDOW)
    )
    seen = Consent(dataset).keep_now(seen, Purpose.PROFILING)
    age = pl.lit(as_of).cast(pl.Datetime("us", "UTC")) - pl.col(EVENT_TIMESTAMP)
    month = age.dt.total_microseconds() // (WINDOW // timedelta(microseconds=1))
    first = (
        seen.with_columns(month.alias("month"))
        .sort(EVENT_TIMESTAMP, "event_id")
        .group_by(CUSTOMER_ID, PRODUCT_ID, "month", maintain_order=True)
        .agg(pl.col(EVENT_TIMESTAMP, "channel").first())
        .sort(EVENT_TIMESTAMP, CUSTOMER_ID, PRODUCT_ID, descending=[True, False, False])
        .head(MOST_EXPOSURES)
        .collect(engine="streaming")
    )
    answers = events.filter(pl.col(EVENT_TYPE) == wanted.value).select(
        CUSTOMER_ID, PRODUCT_ID, pl.col(EVENT_TIMESTAMP).alias("answered")
    )
    rows = first.with_row_index(ROW_ID).with_columns(pl.col(ROW_ID).cast(pl.Int64))
    pairs = (
        rows.lazy()
        .join(answers, on=[CUSTOMER_ID, PRODUCT_ID])
        .filter(pl.col("answered").is_between(pl.col(EVENT_TIMESTAMP), pl.col(EVENT_TIMESTAMP) + WINDOW))
    )
    answered = pairs.select(pl.col(ROW_ID).unique()).collect(engine="streaming")[ROW_ID]
    return rows.with_columns(pl.col(ROW_ID).is_in(answered.implode()).alias("responded"))


def _scores_of(recommend: BatchRecommender, shown: pl.DataFrame) -> np.ndarray:
    """[n] the champion's score of each impression's product, at its time."""
    products = recommend.pipeline.catalogue.products
    position = products.positions(shown[PRODUCT_ID].to_list())
    scores = np.empty(len(shown))
    for start in range(0, len(shown), _BATCH):
        part = shown.slice(start, _BATCH)
        asked = part.select(
            (pl.col(ROW_ID) - start), CUSTOMER_ID, (pl.col(EVENT_TIMESTAMP) - pl.duration(microseconds=1))
        )
        known = recommend.understand(asked, np.zeros(len(part), dtype=bool))
        place = position[start : start + _BATCH]
        rows = np.arange(len(part))
        asked_about = np.zeros((len(part), len(products)), dtype=bool)
        asked_about[rows, place] = True
        every = recommend.scores(known, [None] * len(part), Kind.PRODUCTS, asked_about)
        scores[start : start + len(part)] = every[rows, place]
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
