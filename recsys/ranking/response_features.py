"""What a response is predicted from: who is shown which creative of which product, where.

Nothing in it was fitted on responses (no tower, no neighbours): only what customers, products and creatives are, what
the customer did before, and how often the creative was shown and clicked before. So a model of responses may learn
from every exposure of the log. E exposures of B
customers, P products, C creatives.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np

from recsys.modeling.encoding import EntityEncoding, EntityRows
from recsys.ranking.activity import Activity
from recsys.ranking.features import Asked, Columns, FeatureBuilder, Pairs
from recsys.ranking.interest import FADES_DAYS, InterestTables, interest_features
from recsys.ranking.profiles import Arrays, Profiles
from recsys.ranking.sources import Sources
from recsys.ranking.tables import ContentTables, ItemTables, pack_matrix, unpack_matrix
from recsys.schema import EventType

POSITION = "position"
RATE = "creative_rate"
_PRIOR_EXPOSURES = 20.0
"""A creative's rate counts as if so many average exposures had come before."""
_TASTE = "creative_taste_"
_PRIOR_CLICKS = 10.0
"""Clicks that count for a customer without any taste: his own few would be taken for one."""
_TASTE_DIGITS = 4
"""Kept: trees would split between sums that differ only by the order in which they were added up."""
_DAY = 86_400_000_000
_HOUR = 3_600_000_000


class Exposed(NamedTuple):
    """E creatives in their places."""

    customer: np.ndarray
    """[E] int64 row of the asked customers, ascending."""
    product: np.ndarray
    """[E] int64."""
    content: np.ndarray
    """[E] int64."""
    channel: np.ndarray
    """[E] int64, 0 = none."""
    position: np.ndarray
    """[E] float32 from 1; while ranking, all the same."""


class CreativeTables(NamedTuple):
    """What the creatives are, and how they did."""

    columns: np.ndarray
    """[C, F] float32."""
    names: list[str]
    content: ContentTables
    """Their labels and embeddings."""
    shown: Activity
    """Their exposures."""
    answered: Activity
    """Their clicks."""

    @classmethod
    def fit(
        cls, encoding: EntityEncoding, rows: EntityRows, directions: int, shown: Activity, answered: Activity
    ) -> "CreativeTables":
        """Reads them from the columns that the towers read."""
        profiles, content = Profiles.fit(rows, directions), ContentTables.fit(encoding, rows)
        return cls(profiles.columns(rows), profiles.names(encoding), content, shown, answered)

    def rates(self, creative: np.ndarray, instant: np.ndarray) -> Columns:
        """[E] each: how often each creative was shown before, and the log-odds of a click, shrunk to the average."""
        shown, answered = self.shown.before(creative, instant), self.answered.before(creative, instant)
        average = (self.answered.total(instant) + 1) / (self.shown.total(instant) + 2)
        rate = (answered + _PRIOR_EXPOSURES * average) / (shown + _PRIOR_EXPOSURES)
        rate = np.clip(rate, 1e-4, 1 - 1e-4)
        return {"creative_shown": np.log1p(shown), RATE: np.log(rate / (1 - rate))}

    def to_arrays(self) -> Arrays:
        """Flat arrays for a safetensors file; the names are the config's."""
        vectors = {f"creatives.vectors.{name}": values for name, values in self.content.vectors.items()}
        own = {"creatives.columns": self.columns, "creatives.numbers": self.content.numbers}
        own |= {"creatives.present": self.content.present, **vectors}
        for name, activity in (("shown", self.shown), ("answered", self.answered)):
            own[f"creatives.{name}.cumulative"] = activity.cumulative
            own[f"creatives.{name}.grid"] = np.array([activity.start, activity.width], np.int64)
        return own | pack_matrix("creatives.labels", self.content.labels)

    @classmethod
    def from_arrays(cls, arrays: Arrays, names: list[str]) -> "CreativeTables":
        """The inverse of `to_arrays`."""
        prefix = "creatives.vectors."
        vectors = {key.removeprefix(prefix): value for key, value in arrays.items() if key.startswith(prefix)}
        labels = unpack_matrix("creatives.labels", arrays)
        content = ContentTables(vectors, labels, arrays["creatives.numbers"], arrays["creatives.present"])
        shown, answered = _activity("shown", arrays), _activity("answered", arrays)
        return cls(arrays["creatives.columns"], names, content, shown, answered)


class ResponseTables(NamedTuple):
    """What is known of customers, products and creatives."""

    interest: InterestTables
    items: ItemTables
    creatives: CreativeTables


def response_features(
    tables: ResponseTables, builder: FeatureBuilder, asked: Asked, exposed: Exposed
) -> tuple[list[str], np.ndarray]:
    """Names, and [E, F] float32."""
    pairs = Pairs(exposed.customer, exposed.product)
    sources = Sources.of(tables.items, asked.history)
    shared = builder.build(asked, sources.scores(tables.items), pairs, which=sources.which)
    names, values = interest_features(tables.interest, tables.items, asked, shared, pairs, builder.event_types)
    own = _of_creatives(tables, asked, exposed, builder.event_types) | _of_place(asked, exposed)
    own |= tables.creatives.rates(exposed.content, asked.now[exposed.customer])
    blocks = [values, tables.creatives.columns[exposed.content], *(column[:, None] for column in own.values())]
    return [*names, *tables.creatives.names, *own], np.concatenate(blocks, axis=1, dtype=np.float32)


def of_creatives(names: Sequence[str], tables: CreativeTables) -> np.ndarray:
    """[F] bool: the features that two creatives of one product, in one place, may differ in."""
    own = set(tables.names)
    return np.array([name in own or name.startswith("creative_") for name in names])


def tastes(names: Sequence[str]) -> np.ndarray:
    """[F] bool: the features that order the creatives of a product by how they did and by what the customer clicked."""
    return np.array([name == RATE or name.startswith(_TASTE) for name in names])


def _of_creatives(tables: ResponseTables, asked: Asked, exposed: Exposed, event_types: tuple[str, ...]) -> Columns:
    """How near each creative is to those that the customer answered, and to what he wrote and looked at."""
    history, content = asked.history, tables.creatives.content
    steps = np.arange(history.content.shape[1])[None, :]
    valid = (steps < history.length[:, None]) & (history.content >= 0) & (history.event_type > 0)
    weight = np.where(valid, np.exp(-(asked.now[:, None] - history.timestamp) / (FADES_DAYS * _DAY)), 0.0)
    done = np.zeros((len(event_types), len(valid), len(content.numbers)), np.float32)
    row, step = np.nonzero(valid)
    np.add.at(done, (history.event_type[row, step] - 1, row, history.content[row, step]), weight[row, step])
    columns: Columns = {}
    customer, creative = exposed.customer, exposed.content
    labels = content.labels.toarray()
    for place, name in enumerate(event_types):
        columns[f"creative_{name}"] = done[place][customer, creative]
        columns[f"creative_labels_{name}"] = _dots(done[place] @ labels, labels, customer, creative)
    for group, vectors in content.vectors.items():
        for name, near in zip(event_types, _near(done, vectors), strict=True):
            columns[f"creative_{group}_{name}"] = np.asarray(near[customer, creative], np.float32)
    if EventType.CLICK in event_types:
        clicked = history.event_type[row, step] - 1 == event_types.index(EventType.CLICK)
        clicks = np.zeros(done.shape[1:], np.float32)
        np.add.at(clicks, (row[clicked], history.content[row, step][clicked]), 1.0)
        columns |= _taste(clicks, content, exposed)
    return columns | _said(tables, asked, exposed)


def _taste(clicks: np.ndarray, content: ContentTables, exposed: Exposed) -> Columns:
    """How near each creative is to those that the customer clicked, by its labels and by each embedding.

    Were everybody shown the same, `Σ x` over his n clicks would be the gradient of the likelihood of a customer's own
    weights, and `Σ x / (n + n0)` about where one step from none takes them, under a prior worth n0 clicks.

    Args:
        clicks: [B, C] of each customer, ever.
        content: what the C creatives are.
        exposed: the pairs asked about.
    """
    customer, creative = exposed.customer, exposed.content
    mean = clicks / (clicks.sum(axis=1, keepdims=True) + _PRIOR_CLICKS)
    labels = content.labels.toarray()
    labels -= labels.mean(axis=0)
    columns: Columns = {f"{_TASTE}labels": _dots(mean @ labels, labels, customer, creative)}
    for group, vectors in content.vectors.items():
        columns[f"{_TASTE}{group}"] = _near(mean[None], vectors)[0][customer, creative]
    return {name: np.round(values, _TASTE_DIGITS) for name, values in columns.items()}


def _near(done: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """[T, B, C]: how near each of C creatives is to those of each row: of [T, B, C] and [C, D] vectors.

    For many rows the creatives are compared with each other first: pictures have more dimensions than there are
    creatives.
    """
    types, rows, creatives = done.shape
    flat = done.reshape(types * rows, creatives)
    if len(flat) > creatives and 2 * vectors.shape[1] > creatives:
        near = flat @ (vectors @ vectors.T)
    else:
        near = flat @ vectors @ vectors.T
    return np.asarray(near).reshape(done.shape)


def _said(tables: ResponseTables, asked: Asked, exposed: Exposed) -> Columns:
    """The cosine of each embedding that customers and creatives share."""
    columns: Columns = {}
    rows = asked.columns
    for group, vectors in tables.creatives.content.vectors.items():
        reduction = tables.interest.customers.reductions.get(group)
        if rows is None or reduction is None or vectors.shape[1] != len(reduction.mean):
            continue
        own = rows.vectors[group]
        centred = np.where(np.abs(own).sum(axis=1, keepdims=True) > 0, own - reduction.mean, 0.0)
        unit = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-9)
        columns[f"creative_said_{group}"] = _dots(unit, vectors, exposed.customer, exposed.content)
    return columns


def _of_place(asked: Asked, exposed: Exposed) -> Columns:
    """Where and when it is shown."""
    now = asked.now[exposed.customer]
    return {
        "channel": exposed.channel,
        "hour": now % _DAY // _HOUR,
        "weekday": (now // _DAY + datetime.fromtimestamp(0, UTC).weekday()) % 7,
        POSITION: exposed.position,
    }


def _dots(left: np.ndarray, right: np.ndarray, row: np.ndarray, column: np.ndarray) -> np.ndarray:
    """[E]: the inner products of rows of [B, D] and [C, D]."""
    return np.asarray((left @ right.T)[row, column], np.float32)


def _activity(name: str, arrays: Arrays) -> Activity:
    start, width = (int(value) for value in arrays[f"creatives.{name}.grid"])
    return Activity(start, width, arrays[f"creatives.{name}.cumulative"])
