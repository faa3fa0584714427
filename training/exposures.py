"""What was shown and what came of it: the logged exposures, with the features of just before."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from recsys.data.contract import Dataset
from recsys.features.consent import Consent, Purpose
from recsys.features.spec import Entity, FeatureManifest
from recsys.schema import CONTENT_ID, CUSTOMER_ID, EVENT_TIMESTAMP, EVENT_TYPE, PRODUCT_ID, EventType, Table
from training.dataset import Catalogue, join_customers
from training.examples import ROW_ID, point_in_time

OUTCOMES = (EventType.CLICK, EventType.APPLY, EventType.CONVERT)
"""What may come of an exposure, each after the one before."""
_REQUEST = ["request_id", CUSTOMER_ID, PRODUCT_ID]
_NEEDED = ("request_id", "position", CONTENT_ID, PRODUCT_ID, "channel")
_DRAWN = "drawn"
_SLOWEST = 0.99
"""An outcome counts as absent once so large a share of those observed would have come."""


@dataclass(frozen=True)
class Exposures:
    """E exposures in R requests, in the order of the requests."""

    request: np.ndarray
    """[E] int64 row of the request, ascending."""
    now: np.ndarray
    """[R] int64 epoch µs: just before."""
    columns: pl.DataFrame
    """R rows: customer features at `now`, all views."""
    channel: list[str | None]
    """R names."""
    product: np.ndarray
    """[E] int64 row of the catalogue."""
    content: np.ndarray
    """[E] int64 row of the creatives."""
    position: np.ndarray
    """[E] float32 from 1."""
    propensity: np.ndarray
    """[E] float64 in (0, 1]; NaN where it was not logged."""
    outcomes: np.ndarray
    """[E, 3] bool: clicked, applied, converted."""
    settled: np.ndarray
    """[E, 3] bool: old enough for each outcome to have come."""
    drawn: np.ndarray
    """[E] bool: of the draw; the others are there because of their click, and say nothing of how often one comes."""

    def __len__(self) -> int:
        return len(self.request)

    def requests(self, first: int, last: int) -> "Exposures":
        """The requests from row `first` until row `last`, the latter excluded."""
        begin, end = np.searchsorted(self.request, [first, last])
        rows = slice(int(begin), int(end))
        return Exposures(
            request=self.request[rows] - first,
            now=self.now[first:last],
            columns=self.columns[first:last],
            channel=self.channel[first:last],
            product=self.product[rows],
            content=self.content[rows],
            position=self.position[rows],
            propensity=self.propensity[rows],
            outcomes=self.outcomes[rows],
            settled=self.settled[rows],
            drawn=self.drawn[rows],
        )


def has_exposures(dataset: Dataset) -> bool:
    """Whether the dataset logged what was shown in a way that can be learned from."""
    if not set(_NEEDED) <= set(dataset.columns(Table.EVENTS)):
        return False
    shown = pl.col(EVENT_TYPE) == EventType.IMPRESSION.value
    named = pl.all_horizontal(pl.col(name).is_not_null() for name in _NEEDED)
    return bool(dataset.scan(Table.EVENTS).select((shown & named).any()).collect(engine="streaming").item())


def read_exposures(
    dataset: Dataset,
    home: Path,
    catalogue: Catalogue,
    between: tuple[datetime | None, datetime | None],
    at_most: int,
    clicked_too: int = 0,
) -> Exposures:
    """The exposures of a time, of customers who agreed to profiling; requests are drawn where there are too many.

    Args:
        dataset: whose events.
        home: the state directory, with the features of the dataset.
        catalogue: exposures of what is not in it are left out.
        between: from and until, the latter excluded; outcomes that came later are not looked at. None: no bound.
        at_most: how many exposures, about.
        clicked_too: how many others that were clicked, about: what comes of a click is rare, and worth every one.
    """
    since, until = between
    inside = pl.lit(True)
    if since is not None:
        inside &= pl.col(EVENT_TIMESTAMP) >= since
    if until is not None:
        inside &= pl.col(EVENT_TIMESTAMP) < until
    events = Consent(dataset).keep_now(dataset.scan(Table.EVENTS), Purpose.PROFILING)
    shown = (
        events.filter(pl.col(EVENT_TYPE) == EventType.IMPRESSION.value, inside)
        .filter(pl.all_horizontal(pl.col(name).is_not_null() for name in _NEEDED))
        .filter(pl.col(PRODUCT_ID).is_in(catalogue.product_ids), pl.col(CONTENT_ID).is_in(catalogue.content_ids))
        .collect(engine="streaming")
    )
    known = events if until is None else events.filter(pl.col(EVENT_TIMESTAMP) < until)
    outcomes = known.filter(pl.col(EVENT_TYPE).is_in([str(kind) for kind in OUTCOMES])).collect(engine="streaming")
    shown = _drawn(shown, at_most, clicked_too, outcomes).sort(CUSTOMER_ID, EVENT_TIMESTAMP, "request_id", "position")
    shown, slowest = _with_outcomes(shown, outcomes)
    end = until or dataset.end()
    ages = pl.lit(end) - shown[EVENT_TIMESTAMP]
    asked = [CUSTOMER_ID, "request_id", EVENT_TIMESTAMP, "channel"]
    requests = shown.select(asked).unique(maintain_order=True).with_row_index(ROW_ID)
    request = shown.join(requests, on=asked, how="left", maintain_order="left")[ROW_ID]
    entities = requests.select(
        pl.col(ROW_ID).cast(pl.Int64), CUSTOMER_ID, point_in_time(pl.col(EVENT_TIMESTAMP)).alias(EVENT_TIMESTAMP)
    )
    views = [view.name for view in FeatureManifest.read(home / "features").views_of(Entity.CUSTOMER)]
    logged = "propensity" in shown.columns
    propensity = shown["propensity"] if logged else pl.Series([None] * len(shown), dtype=pl.Float64)
    return Exposures(
        request=request.cast(pl.Int64).to_numpy(),
        now=entities[EVENT_TIMESTAMP].dt.epoch("us").to_numpy(),
        columns=join_customers(home, entities, views),
        channel=requests["channel"].to_list(),
        product=_rows(shown[PRODUCT_ID], catalogue.product_ids),
        content=_rows(shown[CONTENT_ID], catalogue.content_ids),
        position=shown["position"].cast(pl.Float32).to_numpy(),
        propensity=propensity.fill_null(float("nan")).to_numpy(),
        outcomes=shown.select(str(outcome) for outcome in OUTCOMES).to_numpy(),
        settled=np.stack([shown.select(ages >= slow).to_series().to_numpy() for slow in slowest], axis=1),
        drawn=shown[_DRAWN].to_numpy(),
    )


def click_times(dataset: Dataset, catalogue: Catalogue) -> list[tuple[np.ndarray, np.ndarray]]:
    """Rows of the creatives and epoch µs of all exposures, and of all clicks."""
    kinds = (EventType.IMPRESSION, EventType.CLICK)
    events = (
        Consent(dataset)
        .keep_now(dataset.scan(Table.EVENTS), Purpose.PROFILING)
        .filter(
            pl.col(EVENT_TYPE).is_in([str(kind) for kind in kinds]), pl.col(CONTENT_ID).is_in(catalogue.content_ids)
        )
        .select(EVENT_TYPE, CONTENT_ID, pl.col(EVENT_TIMESTAMP).dt.epoch("us"))
        .collect(engine="streaming")
    )
    parts = [events.filter(pl.col(EVENT_TYPE) == str(kind)) for kind in kinds]
    return [(_rows(part[CONTENT_ID], catalogue.content_ids), part[EVENT_TIMESTAMP].to_numpy()) for part in parts]


def _drawn(shown: pl.DataFrame, at_most: int, clicked_too: int, outcomes: pl.DataFrame) -> pl.DataFrame:
    """Whole requests, by a hash of their ids: the same ones every time; and some of the others that were clicked."""
    dice = pl.col("request_id").hash(0) % 2**32
    shown = shown.with_columns((dice < 2**32 * at_most / max(len(shown), 1)).alias(_DRAWN))
    clicks = outcomes.filter(pl.col(EVENT_TYPE) == EventType.CLICK.value)
    others = shown.filter(~pl.col(_DRAWN)).join(clicks, on=_REQUEST, how="semi")
    among = pl.col("request_id").hash(1) % 2**32 < 2**32 * clicked_too / max(len(others), 1)
    return pl.concat([shown.filter(_DRAWN), others.filter(among)])


def _with_outcomes(shown: pl.DataFrame, events: pl.DataFrame) -> tuple[pl.DataFrame, list[timedelta]]:
    """The exposures with a column for each outcome, and how long each takes at the slowest."""
    slowest: list[timedelta] = []
    for outcome in OUTCOMES:
        came = events.filter(pl.col(EVENT_TYPE) == outcome.value).group_by(_REQUEST).agg(pl.col(EVENT_TIMESTAMP).min())
        shown = shown.join(came.rename({EVENT_TIMESTAMP: "_came"}), on=_REQUEST, how="left", maintain_order="left")
        delay = shown.select((pl.col("_came") - pl.col(EVENT_TIMESTAMP)).quantile(_SLOWEST)).item()
        slowest.append(delay or timedelta(0))
        shown = shown.with_columns(pl.col("_came").is_not_null().alias(str(outcome))).drop("_came")
    return shown, slowest


def _rows(ids: pl.Series, names: list[str]) -> np.ndarray:
    row = {name: position for position, name in enumerate(names)}
    return np.array([row[name] for name in ids.to_list()], np.int64)
