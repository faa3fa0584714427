"""What customers agreed to, as features must respect it (domain.md, Consent and privacy).

Where a dataset has no consents table (public data) everything is allowed. Where it has one, the answer is no unless
the latest row of that purpose says yes: without `profiling` a customer has no features at all (he is served what is
popular, like a stranger), `text_analysis` and `image_analysis` guard what he wrote and sent, both at the time he did
so and now, so that a withdrawal is final for what lies before it. The channel of a consent is about contact and does
not matter here.
"""

from dataclasses import dataclass
from enum import StrEnum

import polars as pl

from recsys.data.contract import Dataset
from recsys.schema import CUSTOMER_ID, EVENT_TIMESTAMP, Table

_GRANTED = "__granted"


class Purpose(StrEnum):
    """The purposes that features depend on."""

    PROFILING = "profiling"
    TEXT_ANALYSIS = "text_analysis"
    IMAGE_ANALYSIS = "image_analysis"


@dataclass(frozen=True)
class Consent:
    """The consents of a dataset, read lazily."""

    dataset: Dataset

    def keep_now(self, rows: pl.LazyFrame, purpose: Purpose) -> pl.LazyFrame:
        """The rows of customers whose latest consent of the whole dataset is yes.

        Args:
            rows: has customer_id.
            purpose: which consent.
        """
        if not self.dataset.has(Table.CONSENTS):
            return rows
        last = self._states(purpose).group_by(CUSTOMER_ID).last()
        return rows.join(last.filter(pl.col(_GRANTED)).select(CUSTOMER_ID), on=CUSTOMER_ID, how="semi")

    def keep_at_the_time(self, rows: pl.LazyFrame, purpose: Purpose) -> pl.LazyFrame:
        """The rows for which the customer agreed both at their event_timestamp and now.

        Args:
            rows: has customer_id and event_timestamp.
            purpose: which consent.
        """
        if not self.dataset.has(Table.CONSENTS):
            return rows
        states = self._states(purpose).sort(EVENT_TIMESTAMP)
        joined = (
            self.keep_now(rows, purpose)
            .sort(EVENT_TIMESTAMP)
            .join_asof(states, on=EVENT_TIMESTAMP, by=CUSTOMER_ID, strategy="backward", check_sortedness=False)
        )
        return joined.filter(pl.col(_GRANTED).fill_null(value=False)).drop(_GRANTED)

    def _states(self, purpose: Purpose) -> pl.LazyFrame:
        """One row per change, in time order per customer; of contradicting rows of one time the refusal stands."""
        return (
            self.dataset.scan(Table.CONSENTS)
            .filter(pl.col("purpose") == purpose.value)
            .group_by(CUSTOMER_ID, EVENT_TIMESTAMP)
            .agg(pl.col("granted").all().alias(_GRANTED))
            .sort(CUSTOMER_ID, EVENT_TIMESTAMP)
        )
