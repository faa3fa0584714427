"""What a response is predicted from: who is shown which creative of which product, where.

Nothing in it was fitted on responses (no tower, no neighbours): only what customers, products and creatives are, what
the customer did before, and how often the creative was shown and clicked before. So a model of responses may learn
from every exposure of the log. E exposures of B customers, P products, C creatives.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np

from recsys.ranking.creative_features import CreativePairs, creative_columns, is_taste
from recsys.ranking.creatives import OF_CREATIVES, CreativeTables
from recsys.ranking.features import Asked, Columns, FeatureBuilder, Pairs
from recsys.ranking.forest import Parts
from recsys.ranking.interest import InterestTables, pair_columns
from recsys.ranking.sources import Sources
from recsys.ranking.tables import ItemTables

POSITION = "position"
_PLACE = frozenset({"channel", "hour", "weekday", POSITION})
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
    first = [name for name in names if not name.startswith(OF_CREATIVES) and name not in _PLACE]
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
    those = CreativePairs.of(exposed.customer, exposed.content, len(asked.now))
    profiles = tables.interest.customers
    own |= creative_columns(tables.creatives, profiles, asked, those, builder.event_types, wanted)
    own |= _of_place(asked, exposed) | tables.creatives.rates(exposed.content, asked.now[exposed.customer])
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
    return np.array([name in own or name.startswith(OF_CREATIVES) for name in names])


def tastes(names: Sequence[str]) -> np.ndarray:
    """[F] bool: the features that order the creatives of a product by how they did and by what the customer clicked."""
    return np.array([is_taste(name) for name in names])


def _of_place(asked: Asked, exposed: Exposed) -> Columns:
    """Where and when it is shown."""
    now = asked.now[exposed.customer]
    return {
        "channel": exposed.channel,
        "hour": now % _DAY // _HOUR,
        "weekday": (now // _DAY + datetime.fromtimestamp(0, UTC).weekday()) % 7,
        POSITION: exposed.position,
    }
