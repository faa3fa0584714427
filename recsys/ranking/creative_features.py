"""How near creatives are to those that a customer answered, and to what he wrote and looked at.

E creatives asked about, of B customers; T types of event; D dimensions.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from recsys.modeling.encoding import EntityRows
from recsys.modeling.reader import HistoryArrays
from recsys.ranking.creative_loop import creative_loops
from recsys.ranking.creatives import OF_CREATIVES, RATE, CreativeTables
from recsys.ranking.features import Asked, Columns
from recsys.ranking.interest import units
from recsys.ranking.interest_loop import FADES_DAYS
from recsys.ranking.profiles import Profiles
from recsys.ranking.spread import Lists
from recsys.schema import EventType

_TASTE = f"{OF_CREATIVES}taste_"
_PRIOR_CLICKS = 10.0
"""Clicks that count for a customer without any taste: his own few would be taken for one."""
_TASTE_DIGITS = 4
"""Kept: trees would split between sums that differ only by the order in which they were added up."""
_DAY = 86_400_000_000


class CreativePairs(NamedTuple):
    """E creatives, each asked about for one of B customers."""

    customer: np.ndarray
    """[E] int64."""
    creative: np.ndarray
    """[E] int64."""
    customers: int
    """B."""

    @classmethod
    def of(cls, customer: np.ndarray, creative: np.ndarray, customers: int) -> "CreativePairs":
        """As the loops read them."""
        own, its = (np.ascontiguousarray(rows, np.int64) for rows in (customer, creative))
        return cls(own, its, customers)

    def ask(self, loop: Callable[..., None], types: np.ndarray, *rows: Any) -> np.ndarray:
        """[K, E] float32: what a loop says of `rows` for each of K types of event."""
        out = np.empty((len(types), len(self.customer)), np.float32)
        loop(*rows, types, self.customers, self.customer, self.creative, out)
        return out


def creative_columns(
    tables: CreativeTables,
    profiles: Profiles,
    asked: Asked,
    pairs: CreativePairs,
    event_types: Sequence[str],
    wanted: frozenset[str] | None = None,
) -> Columns:
    """Name to [E] float32.

    Args:
        tables: what the creatives are.
        profiles: how the customers' columns are read.
        asked: the customers.
        pairs: what is asked about.
        event_types: the names of the types, in the order of their codes 1, 2, ...
        wanted: the only names that need to be there; None: all.
    """
    answered = answered_lists(asked.history, asked.now, len(event_types))
    columns = _near(tables, answered, pairs, event_types, wanted)
    if EventType.CLICK in event_types:
        clicks = answered.rows(event_types.index(EventType.CLICK) * pairs.customers, pairs.customers)
        columns |= taste_columns(tables, clicks, pairs)
    return columns if asked.columns is None else columns | _said(tables, profiles, asked.columns, pairs)


def is_taste(name: str) -> bool:
    """Whether a feature orders the creatives of a product by how they did or by what the customer clicked."""
    return name == RATE or name.startswith(_TASTE)


def answered_lists(history: HistoryArrays, now: np.ndarray, types: int) -> Lists:
    """[T * B] lists: the creatives in each history, type of event by type of event, with what is left of them."""
    steps = np.arange(history.content.shape[1])[None, :]
    valid = (steps < history.length[:, None]) & (history.content >= 0) & (history.event_type > 0)
    row, step = np.nonzero(valid)
    weight = np.exp(-(now[row] - history.timestamp[row, step]) / (FADES_DAYS * _DAY))
    place = (history.event_type[row, step] - 1) * len(valid) + row
    order = np.argsort(place, kind="stable")
    begins = np.searchsorted(place[order], np.arange(types * len(valid) + 1))
    entries = history.content[row, step][order].astype(np.int64, copy=False)
    return Lists(begins, entries, weight[order].astype(np.float32))


def taste_columns(tables: CreativeTables, clicks: Lists, pairs: CreativePairs) -> Columns:
    """How near each creative is to those that the customer clicked, by its labels and by each embedding.

    Were everybody shown the same, `Σ x` over his n clicks would be the gradient of the likelihood of a customer's own
    weights, and `Σ x / (n + n0)` about where one step from none takes them, under a prior worth n0 clicks.

    Args:
        tables: what the creatives are.
        clicks: [B] lists of the creatives that each customer clicked; all clicks count alike.
        pairs: what is asked about.
    """
    customer, creative = pairs.customer, pairs.creative
    count = np.diff(clicks.begins)
    even = clicks._replace(weight=np.repeat(1 / (count + _PRIOR_CLICKS), count).astype(np.float32))
    one, loops = np.zeros(1, np.int64), creative_loops()
    own, mean = even.times_sparse(tables.labels), tables.mean_labels
    share = (count / (count + _PRIOR_CLICKS)).astype(np.float32)
    near = pairs.ask(loops.sparse_dots, one, own, *tables.labels[:3])[0]
    centred = near - (own @ mean)[customer] - share[customer] * (tables.of_mean[creative] - mean @ mean)
    columns: Columns = {f"{_TASTE}labels": centred}
    for group, vectors in tables.content.vectors.items():
        columns[f"{_TASTE}{group}"] = pairs.ask(loops.dots, one, even.times_dense(vectors), vectors)[0]
    return {name: np.round(values, _TASTE_DIGITS) for name, values in columns.items()}


def _near(
    tables: CreativeTables,
    answered: Lists,
    pairs: CreativePairs,
    event_types: Sequence[str],
    wanted: frozenset[str] | None,
) -> Columns:
    """By type of event: whether it was this creative, and how near it is by its labels and by each embedding."""
    loops, columns = creative_loops(), Columns()

    def add(what: str, loop: Callable[..., None], *rows: Any) -> None:
        names = [f"{OF_CREATIVES}{what}{name}" for name in event_types]
        types = np.array([place for place, name in enumerate(names) if wanted is None or name in wanted], np.int64)
        if len(types):
            columns.update(zip([names[place] for place in types], pairs.ask(loop, types, *rows), strict=True))

    add("", loops.same, *answered)
    add("labels_", loops.sparse_dots, answered.times_sparse(tables.labels), *tables.labels[:3])
    for group, vectors in tables.content.vectors.items():
        add(f"{group}_", loops.dots, answered.times_dense(vectors), vectors)
    return columns


def _said(tables: CreativeTables, profiles: Profiles, columns: EntityRows, pairs: CreativePairs) -> Columns:
    """The cosine of each embedding that customers and creatives share."""
    vectors, one = tables.content.vectors, np.zeros(1, np.int64)
    return {
        f"{OF_CREATIVES}said_{group}": pairs.ask(creative_loops().dots, one, own, vectors[group])[0]
        for group, own in units(columns, profiles, vectors).items()
    }
