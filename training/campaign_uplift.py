"""What the randomised history of a dataset teaches of uplift, as the planner of campaigns uses it.

Learners are trained and compared on at most MOST_CUSTOMERS customers, so that neither time nor memory grows with the
bank; where one of them wins, it is asked about the few products of each customer that the model likes best.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import numpy as np
import polars as pl

from recsys.campaigns.source import Uplift
from recsys.campaigns.uplift import HistoryConfig, UpliftChoice, choose_learner, trials, with_features
from recsys.data.contract import Dataset
from recsys.features.consent import Consent, Purpose
from recsys.policy.pack import CreditPolicy
from recsys.schema import CUSTOMER_ID, EVENT_TIMESTAMP, EVENT_TYPE, PRODUCT_ID, EventType, Table

MOST_CUSTOMERS: Final = 8_000
MOST_REQUESTS: Final = 20_000
_VALIDATION: Final = 0.3
"""Share of the history, its end, on which learners are compared."""
_NEEDED: Final = ("request_id", "propensity", "channel", "arm")
_READ: Final = (CUSTOMER_ID, EVENT_TIMESTAMP, EVENT_TYPE, PRODUCT_ID, *_NEEDED)


def learn_uplift(dataset: Dataset, as_of: datetime, credit: CreditPolicy, seed: int = 0) -> Uplift:
    """Compares learners of uplift with propensity; see `recsys.campaigns.uplift.choose`."""
    missing = [name for name in (PRODUCT_ID, *_NEEDED) if name not in dataset.columns(Table.EVENTS)]
    if missing:
        why = f"the history has no randomised contacts: its events have no {', '.join(missing)}"
        return Uplift("propensity", why, "propensity", {}, None)
    return _Learning(dataset, as_of, credit).uplift(seed)


class _Learning:
    def __init__(self, dataset: Dataset, as_of: datetime, credit: CreditPolicy) -> None:
        self._dataset = dataset
        self._as_of = as_of
        refused = {*credit.protected_columns, *credit.proxy_columns}
        self._customers = _latest(dataset, Table.CUSTOMERS, CUSTOMER_ID, as_of, refused)
        self._products = _latest(dataset, Table.PRODUCTS, PRODUCT_ID, as_of, set())
        ids = self._customers[CUSTOMER_ID]
        self._sample = ids if len(ids) <= MOST_CUSTOMERS else ids.sample(MOST_CUSTOMERS, seed=0)
        self._events = self._events_of(self._sample)
        self._choice: UpliftChoice | None = None

    def uplift(self, seed: int) -> Uplift:
        config = HistoryConfig(most_requests=MOST_REQUESTS, seed=seed)
        start = self._validation_start(config.horizon_days)
        if start is not None:
            config = config.model_copy(update={"cuts": (start - timedelta(days=config.horizon_days), start)})
        if "segment" not in self._customers.columns:
            strata = tuple(name for name in config.strata if name != "segment")
            config = config.model_copy(update={"strata": strata})
        found = trials(self._events, self._customers, config)
        if found.is_empty() or start is None:
            why = "the history has no randomised contacts: no impression was logged with its propensity"
            return Uplift("propensity", why, "propensity", {}, None)
        rows, names = with_features(found, self._events, self._customers, self._products)
        choice = self._choice = choose_learner(rows, names, start, config.horizon_days, seed)
        qini = {name: interval._asdict() for name, interval in choice.qini.items()}
        predict = self.predict if choice.method == "uplift" else None
        return Uplift(choice.method, choice.reason, choice.learner, qini, predict)

    def _validation_start(self, horizon_days: int) -> datetime | None:
        """When the part begins on which learners are compared; None: nothing was drawn."""
        drawn = (pl.col(EVENT_TYPE) == EventType.IMPRESSION.value) & pl.col("propensity").is_not_null()
        first, last = self._events.filter(drawn)[EVENT_TIMESTAMP].min(), self._events[EVENT_TIMESTAMP].max()
        if not isinstance(first, datetime) or not isinstance(last, datetime):
            return None
        last -= timedelta(days=horizon_days)
        return last - (last - first) * _VALIDATION if last > first else None

    def predict(self, customers: Sequence[str], products: Sequence[str]) -> np.ndarray:
        """[n] what one contact about a product now adds to the chance of an application for it."""
        assert self._choice is not None  # noqa: S101 - it is what `uplift` gave out
        pairs = pl.DataFrame(
            {CUSTOMER_ID: pl.Series(customers, dtype=pl.String), PRODUCT_ID: pl.Series(products, dtype=pl.String)}
        ).with_columns(pl.lit(self._as_of + timedelta(seconds=1)).cast(pl.Datetime("us", "UTC")).alias("at"))
        events = self._events_of(pairs[CUSTOMER_ID].unique())
        rows, _ = with_features(pairs, events, self._customers, self._products, everybody=self._events)
        return self._choice.predict(rows.with_columns(pl.col(self._choice.features).cast(pl.Float64)))

    def _events_of(self, customers: pl.Series) -> pl.DataFrame:
        log = self._dataset.scan(Table.EVENTS).select(_READ).filter(pl.col(EVENT_TIMESTAMP) <= self._as_of)
        # no join: of a filter's columns the reader keeps no page longer than it needs, and few rows are left of many
        mine = log.filter(pl.col(CUSTOMER_ID).is_in(customers.implode()))
        return Consent(self._dataset).keep_now(mine, Purpose.PROFILING).collect(engine="streaming")


def _latest(dataset: Dataset, table: Table, key: str, as_of: datetime, refused: set[str]) -> pl.DataFrame:
    """One row each, as it was at `as_of`, without columns that no model may read."""
    rows = dataset.scan(table).filter(pl.col(EVENT_TIMESTAMP) <= as_of)
    left_out = refused | {key, EVENT_TIMESTAMP}
    names = [name for name in rows.collect_schema().names() if name not in left_out]
    latest = rows.group_by(key).agg(pl.col(names).sort_by(EVENT_TIMESTAMP).last()).sort(key)
    found = latest.collect(engine="streaming")
    return found if table is not Table.PRODUCTS or "category" in names else found.with_columns(category=pl.lit(""))
