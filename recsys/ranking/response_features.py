"""What a response is predicted from: who is shown which creative of which product, where.

Nothing in it was fitted on responses (no tower, no neighbours): only what customers, products and creatives are, what
the customer did before, and how often the creative was shown and clicked before. So a model of responses may learn
from every exposure of the log. E exposures of B
customers, P products, C creatives.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import NamedTuple

import numpy as np

from recsys.modeling.encoding import EntityEncoding, EntityRows
from recsys.ranking.activity import Activity
from recsys.ranking.features import Asked, Columns, FeatureBuilder, Pairs
from recsys.ranking.forest import Parts
from recsys.ranking.interest import InterestTables, pair_columns
from recsys.ranking.interest_loop import FADES_DAYS
from recsys.ranking.profiles import Arrays, Profiles
from recsys.ranking.sources import Sources
from recsys.ranking.spread import Flat, Lists
from recsys.ranking.tables import ContentTables, ItemTables, pack_matrix, unpack_matrix
from recsys.schema import EventType

POSITION = "position"
RATE = "creative_rate"
_PLACE = frozenset({"channel", "hour", "weekday", POSITION})
_OF_CREATIVES = "creative_"
"""How the names of what is about creatives, and no column of theirs, begin."""
_COMPARED_UP_TO = 2000
"""Of so many creatives, each is compared with each other once and for all."""
_PRIOR_EXPOSURES = 20.0
"""A creative's rate counts as if so many average exposures had come before."""
_TASTE = f"{_OF_CREATIVES}taste_"
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


@dataclass(frozen=True, eq=False)
class CreativeTables:
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

    @cached_property
    def likeness(self) -> Arrays | None:
        """Name of the embedding to [C, C] float32: creatives' inner products. None where there are too many."""
        if len(self.columns) > _COMPARED_UP_TO:
            return None
        return {name: np.ascontiguousarray(values @ values.T) for name, values in self.content.vectors.items()}

    @cached_property
    def labels(self) -> Flat:
        """The creatives' labels, for the loops of `spread`."""
        return Flat.of(self.content.labels)

    @cached_property
    def mean_labels(self) -> np.ndarray:
        """[G] float32."""
        return np.asarray(self.content.labels.toarray().mean(axis=0))

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


class ExposureParts(NamedTuple):
    """What E exposures are, each value once."""

    customers: np.ndarray
    """[B, F1] float32: the customers' columns."""
    creatives: np.ndarray
    """[Q, F2] float32: of each creative that occurs, its product's columns and its own."""
    pairs: Columns
    """Name to [E]: what is each exposure's own; of the creative's product first."""
    customer: np.ndarray
    """[E] int64 row of `customers`, ascending."""
    creative: np.ndarray
    """[E] int64 row of `creatives`."""

    def parts(self, names: Sequence[str]) -> Parts:
        """For a forest: the customers' columns, the creatives', and those of the exposures by name."""
        own = np.empty((len(names), len(self.customer)), np.float32)
        for row, name in zip(own, names, strict=True):
            row[:] = self.pairs[name]
        return Parts(self.customers, self.creatives, own, self.customer, self.creative)


def response_features(
    tables: ResponseTables, builder: FeatureBuilder, asked: Asked, exposed: Exposed
) -> tuple[list[str], np.ndarray]:
    """Names, and [E, F] float32."""
    found = exposure_parts(tables, builder, asked, exposed)
    interest, creatives = tables.interest, tables.creatives
    names = list(found.pairs)
    first = [name for name in names if not name.startswith(_OF_CREATIVES) and name not in _PLACE]
    split = len(interest.product_names)
    of_creative = found.creatives[found.creative]
    blocks = [
        found.customers[found.customer],
        of_creative[:, :split],
        *(found.pairs[name][:, None] for name in first),
        of_creative[:, split:],
        *(found.pairs[name][:, None] for name in names[len(first) :]),
    ]
    every = [*interest.customer_names, *interest.product_names, *first, *creatives.names, *names[len(first) :]]
    return every, np.concatenate(blocks, axis=1, dtype=np.float32)


def exposure_parts(
    tables: ResponseTables,
    builder: FeatureBuilder,
    asked: Asked,
    exposed: Exposed,
    wanted: frozenset[str] | None = None,
) -> ExposureParts:
    """What exposures are.

    Args:
        tables: what is known.
        builder: of the features that the ranker reads too.
        asked: B customers.
        exposed: E exposures of them.
        wanted: the only names of the exposures' own columns that need to be there; None: all.
    """
    pairs, place = _distinct(exposed, len(tables.items))
    looked_at = np.zeros(len(tables.items), bool)
    looked_at[pairs.product] = True
    sources = Sources.of(tables.items, asked.history, proposals=False)
    likenesses = sources.likenesses(tables.items, np.flatnonzero(looked_at))
    shared = builder.build(asked, likenesses, pairs, wanted, sources.which)
    customers, of_pairs = pair_columns(tables.interest, tables.items, asked, shared, pairs, builder.event_types)
    own = {name: values.take(place) for name, values in of_pairs.items() if wanted is None or name in wanted}
    own |= _of_creatives(tables, asked, exposed, builder.event_types, wanted) | _of_place(asked, exposed)
    own |= tables.creatives.rates(exposed.content, asked.now[exposed.customer])
    code = exposed.product * len(tables.creatives.columns) + exposed.content
    found, creative = np.unique(code, return_inverse=True)
    product, content = np.divmod(found, len(tables.creatives.columns))
    columns = [tables.interest.products[product], tables.creatives.columns[content]]
    return ExposureParts(customers, np.concatenate(columns, axis=1), own, exposed.customer, creative)


def _distinct(exposed: Exposed, products: int) -> tuple[Pairs, np.ndarray]:
    """The customers with the products that they are shown, each once and in order, and [E] int64: whose each is."""
    code = exposed.customer * products + exposed.product
    occurs = np.zeros((int(exposed.customer[-1]) + 1) * products if len(code) else 0, bool)
    occurs[code] = True
    found = np.flatnonzero(occurs)
    return Pairs(*np.divmod(found, products)), (np.cumsum(occurs) - 1)[code]


def of_creatives(names: Sequence[str], tables: CreativeTables) -> np.ndarray:
    """[F] bool: the features that two creatives of one product, in one place, may differ in."""
    own = set(tables.names)
    return np.array([name in own or name.startswith(_OF_CREATIVES) for name in names])


def tastes(names: Sequence[str]) -> np.ndarray:
    """[F] bool: the features that order the creatives of a product by how they did and by what the customer clicked."""
    return np.array([name == RATE or name.startswith(_TASTE) for name in names])


def _of_creatives(
    tables: ResponseTables,
    asked: Asked,
    exposed: Exposed,
    event_types: tuple[str, ...],
    wanted: frozenset[str] | None,
) -> Columns:
    """How near each creative is to those that the customer answered, and to what he wrote and looked at."""
    creatives, customer, creative = tables.creatives, exposed.customer, exposed.content
    answered = _answered(asked, len(event_types))
    shape = (len(event_types), len(asked.now), -1)
    count = len(creatives.columns)
    done = np.zeros((len(answered.begins) - 1, count), np.float32)
    np.add.at(done, (np.repeat(np.arange(len(done)), np.diff(answered.begins)), answered.product), answered.weight)
    occur = _Occurring.of(creative, count)
    labels = creatives.content.labels[occur.places].toarray()
    of_labels = answered.times_sparse(creatives.labels).reshape(*shape[:2], labels.shape[1])
    near = {
        group: _near(done.reshape(*shape[:2], count), vectors)
        if creatives.likeness is None
        else answered.times_dense(creatives.likeness[group]).reshape(*shape[:2], count)
        for group, vectors in creatives.content.vectors.items()
    }
    columns: Columns = {}
    for place, name in enumerate(event_types):
        columns[f"creative_{name}"] = done.reshape(*shape[:2], count)[place][customer, creative]
        if wanted is None or f"creative_labels_{name}" in wanted:
            columns[f"creative_labels_{name}"] = _dots(of_labels[place], labels, customer, occur.column)
    for group, values in near.items():
        for place, name in enumerate(event_types):
            if wanted is None or f"creative_{group}_{name}" in wanted:
                columns[f"creative_{group}_{name}"] = values[place][customer, creative]
    if EventType.CLICK in event_types:
        columns |= _taste(answered.rows(event_types.index(EventType.CLICK) * shape[1], shape[1]), creatives, exposed)
    return columns | _said(tables, asked, exposed)


def _taste(clicks: Lists, creatives: CreativeTables, exposed: Exposed) -> Columns:
    """How near each creative is to those that the customer clicked, by its labels and by each embedding.

    Were everybody shown the same, `Σ x` over his n clicks would be the gradient of the likelihood of a customer's own
    weights, and `Σ x / (n + n0)` about where one step from none takes them, under a prior worth n0 clicks.

    Args:
        clicks: [B] lists of the creatives that each customer clicked; all clicks count alike.
        creatives: what the C creatives are.
        exposed: the pairs asked about.
    """
    customer, creative = exposed.customer, exposed.content
    count = np.diff(clicks.begins)
    even = clicks._replace(weight=np.repeat(1 / (count + _PRIOR_CLICKS), count).astype(np.float32))
    occur, mean = _Occurring.of(creative, len(creatives.columns)), creatives.mean_labels
    labels = creatives.content.labels[occur.places].toarray()
    own = even.times_sparse(creatives.labels) - (count / (count + _PRIOR_CLICKS))[:, None] * mean
    columns: Columns = {f"{_TASTE}labels": _dots(own, labels - mean, customer, occur.column)}
    for group, vectors in creatives.content.vectors.items():
        if creatives.likeness is None:
            near = even.times_dense(vectors) @ vectors.T
        else:
            near = even.times_dense(creatives.likeness[group])
        columns[f"{_TASTE}{group}"] = near[customer, creative]
    return {name: np.round(values, _TASTE_DIGITS) for name, values in columns.items()}


def _answered(asked: Asked, types: int) -> Lists:
    """[T * B] lists: the creatives in each history, type of event by type of event, with what is left of them."""
    history = asked.history
    steps = np.arange(history.content.shape[1])[None, :]
    valid = (steps < history.length[:, None]) & (history.content >= 0) & (history.event_type > 0)
    row, step = np.nonzero(valid)
    weight = np.exp(-(asked.now[row] - history.timestamp[row, step]) / (FADES_DAYS * _DAY))
    place = (history.event_type[row, step] - 1) * len(valid) + row
    order = np.argsort(place, kind="stable")
    begins = np.searchsorted(place[order], np.arange(types * len(valid) + 1))
    return Lists(begins, history.content[row, step][order], weight[order].astype(np.float32))


def _near(done: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """[T, B, C]: how near each of C creatives is to those of each row: of [T, B, C] and [C, D] vectors."""
    types, rows, creatives = done.shape
    return np.asarray(done.reshape(types * rows, creatives) @ vectors @ vectors.T).reshape(done.shape)


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


class _Occurring(NamedTuple):
    """The few of many creatives that are asked about."""

    places: np.ndarray
    """[Q] int64, rising."""
    column: np.ndarray
    """[E] int64: which of `places` each question is about."""

    @classmethod
    def of(cls, creative: np.ndarray, count: int) -> "_Occurring":
        occur = np.zeros(count, bool)
        occur[creative] = True
        return cls(np.flatnonzero(occur), (np.cumsum(occur) - 1)[creative])


def _dots(left: np.ndarray, right: np.ndarray, row: np.ndarray, column: np.ndarray) -> np.ndarray:
    """[E]: the inner products of rows of [B, D] and [C, D]."""
    return np.asarray((left @ right.T)[row, column], np.float32)


def _activity(name: str, arrays: Arrays) -> Activity:
    start, width = (int(value) for value in arrays[f"creatives.{name}.grid"])
    return Activity(start, width, arrays[f"creatives.{name}.cumulative"])
