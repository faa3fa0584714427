"""A trained model with items that came, or changed, after its training: placed by their content, without retraining.

An item that the model knows gets its new facts and the vector of its new content. One that it does not know has no id
embedding (id dropout in training makes that familiar) and no second-stage features: the towers alone place it, at the
score that the second stage gives where its tower score stands among those of the known products. B customers, P
products of which K are known, D dimensions.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple, Self

import numpy as np
import polars as pl

from recsys.bundle import Bundle
from recsys.data.columns import DTYPES, SCHEMAS
from recsys.errors import ModelError
from recsys.live_item import LiveItem
from recsys.modeling.vectors import CandidateVectors
from recsys.recommender import CustomerStates, Recommender
from recsys.schema import CONTENT_ID, PRODUCT_ID, Kind, Modality, Table

_STATUS: Final = "status"
_SHOWN: Final = {Table.PRODUCTS: "live", Table.CONTENTS: "approved"}
"""What the items of a catalogue without states are."""
_HASHES: Final = ("content_hash", "approved_hash")


class ExtendedBundle(NamedTuple):
    """A bundle whose changed items are changed in place, and what is new beside it."""

    known: Bundle
    """Its items in its order: rankers and vocabularies are bound to it."""
    products: pl.DataFrame
    """One row a product: those of `known`, then the new ones."""
    contents: pl.DataFrame | None
    new: CandidateVectors
    """Raw vectors of the new items."""

    @classmethod
    def build(cls, bundle: Bundle, products: Sequence[LiveItem], contents: Sequence[LiveItem]) -> Self:
        """Encodes the items.

        Args:
            bundle: the trained one.
            products: at most one of an id.
            contents: at most one of an id.

        Raises:
            ModelError: there are contents and the model was trained without, or one is of an unknown product.
        """
        from recsys.item_encoder import ItemEncoder

        if contents and bundle.contents is None:
            raise ModelError("the model was trained without creatives: train it on a dataset that has some")
        encoder = ItemEncoder(bundle)
        known, new = _split(products, bundle.products[PRODUCT_ID].to_list())
        vectors, added = encoder.products(known, new)
        all_products = _with_items(bundle.products, products, Table.PRODUCTS, PRODUCT_ID)
        all_contents, creative, added_creative = bundle.contents, bundle.vectors.contents, bundle.vectors.contents[:0]
        if bundle.contents is not None:
            places = {name: place for place, name in enumerate(all_products[PRODUCT_ID].to_list())}
            every = np.concatenate([vectors, added])
            old, fresh = _split(contents, bundle.contents[CONTENT_ID].to_list())
            creative, added_creative = encoder.contents(old, fresh, every, places)
            all_contents = _with_items(bundle.contents, contents, Table.CONTENTS, CONTENT_ID)
        changed = bundle._replace(
            vectors=CandidateVectors(vectors, creative),
            products=all_products.head(len(bundle.products)),
            contents=None
            if all_contents is None or bundle.contents is None
            else all_contents.head(len(bundle.contents)),
        )
        return cls(changed, all_products, all_contents, CandidateVectors(added, added_creative))


class ExtendedRecommender:
    """Scores known and new items; see `recsys.decisions.scoring.Scorer`."""

    def __init__(self, extended: ExtendedBundle) -> None:
        self.base = Recommender(extended.known)
        self.product_ids: list[str] = extended.products[PRODUCT_ID].to_list()
        self.content_ids: list[str] = [] if extended.contents is None else extended.contents[CONTENT_ID].to_list()
        least = extended.known.product_prior.min(initial=0.0)  # nobody has touched them yet
        self._new = {
            Kind.PRODUCTS: self.base.scaled(extended.new.products, np.full(len(extended.new.products), least)),
            Kind.CONTENTS: self.base.scaled(extended.new.contents, np.zeros(len(extended.new.contents))),
        }

    @property
    def modalities(self) -> list[Modality]:
        """The modalities that the model was trained with."""
        return self.base.modalities

    def encode(
        self, customers: Sequence[Mapping[str, Any]], now: Sequence[datetime], channel: str | None = None
    ) -> CustomerStates:
        """See `Recommender.encode`. What a customer did with a new item is known to the rules, not yet to the model."""
        return self.base.encode(customers, now, channel)

    def score(self, states: CustomerStates, kind: Kind, allowed: np.ndarray | None = None) -> np.ndarray:
        """Scores of all items of a kind, [B, P] float32; see `Scorer.score`."""
        known = len(self.base.product_ids if kind is Kind.PRODUCTS else self.base.content_ids)
        among = None if allowed is None else allowed[:, :known]
        scores = self.base.score(states, kind, among)
        new = states.vectors @ self._new[kind].T
        if self.base.reorders(kind) and new.shape[1] and (allowed is None or allowed[:, known:].any()):
            # The scale must not depend on what is allowed: reasons compare an item's scores under different masks.
            whole = scores if among is None else self.base.score(states, kind, None)
            new = _on_scale_of(new, self.base.tower_scores(states, kind), whole)
        return np.concatenate([scores, new], axis=1)

    def score_items(self, states: CustomerStates, kind: Kind, items: np.ndarray) -> np.ndarray:
        """See `Recommender.score_items`."""
        known = len(self.base.product_ids if kind is Kind.PRODUCTS else self.base.content_ids)
        if items.max(initial=0) < known:
            return self.base.score_items(states, kind, items)
        allowed = np.zeros((len(states), known + len(self._new[kind])), bool)
        allowed[:, items] = True
        return self.score(states, kind, allowed)[:, items]

    def popularity(self, segment: str | None, kind: Kind) -> np.ndarray:
        """[P] float32: the known items', and nothing for the new ones, which nobody has taken up."""
        return np.concatenate([self.base.popularity(segment, kind), np.zeros(len(self._new[kind]), np.float32)])

    def companions(self, product: int) -> np.ndarray:
        """[P] bool; a new product has none yet."""
        found = np.zeros(len(self.product_ids), bool)
        if product < len(self.base.product_ids):
            found[: len(self.base.product_ids)] = self.base.companions(product)
        return found

    def ranker_contributions(self, states: CustomerStates, product: int) -> dict[str, float]:
        """As `Recommender.ranker_contributions`; empty for a new product, which the towers place."""
        return self.base.ranker_contributions(states, product) if product < len(self.base.product_ids) else {}

    def missing_modalities(self, customer: Mapping[str, Any]) -> list[Modality]:
        """Those of the model's modalities of which the customer has nothing."""
        return self.base.missing_modalities(customer)


def _split(items: Sequence[LiveItem], known: Sequence[str]) -> tuple[dict[int, LiveItem], list[LiveItem]]:
    """The known items by place, and the new ones."""
    places = {item_id: place for place, item_id in enumerate(known)}
    old = {places[item.item_id]: item for item in items if item.item_id in places}
    return old, [item for item in items if item.item_id not in places]


def _with_items(frame: pl.DataFrame, items: Sequence[LiveItem], table: Table, key: str) -> pl.DataFrame:
    """The catalogue with the rows of changed items replaced where they stand, and those of new ones at the end."""
    if not items:
        return frame
    schema = dict(frame.schema) | _new_columns(frame, items, table)
    rows = [{name: item.columns.get(name) for name in schema} | {key: item.item_id} for item in items]
    live = pl.DataFrame(rows, schema=schema)
    kept = frame.filter(~pl.col(key).is_in(live[key].to_list()))
    if _STATUS in schema and _STATUS not in frame.columns:
        kept = kept.with_columns(pl.lit(_SHOWN[table]).alias(_STATUS))
    whole = pl.concat([kept, live], how="diagonal")
    order = list(dict.fromkeys([*frame[key].to_list(), *live[key].to_list()]))
    return pl.DataFrame({key: order}).join(whole, on=key, how="left", maintain_order="left").select(whole.columns)


def _new_columns(frame: pl.DataFrame, items: Sequence[LiveItem], table: Table) -> dict[str, pl.DataType]:
    """The canonical columns that the bank did not keep so far and now says something in.

    The others stay away: to the rules a column that is there and empty is not one that nobody keeps. Hashes of what was
    approved are kept of all creatives or of none.
    """
    said = {name for item in items for name, value in item.columns.items() if value is not None}
    return {
        name: DTYPES[column.type]
        for name, column in SCHEMAS[table].columns.items()
        if name in said and name not in frame.columns and name not in _HASHES
    }


def _on_scale_of(new: np.ndarray, tower: np.ndarray, final: np.ndarray) -> np.ndarray:
    """[B, n] tower scores of new products as final scores: interpolated between the known ones beside which they stand.

    Args:
        new: [B, n] float32.
        tower: [B, K] float32: the known products' tower scores.
        final: [B, K] float32: what the second stage made of them.
    """
    out = np.empty_like(new)
    for row in range(len(new)):
        ascending, made = np.sort(tower[row]), np.sort(final[row])
        beyond = new[row] - np.clip(new[row], ascending[0], ascending[-1])
        out[row] = np.interp(new[row], ascending, made) + beyond
    return out
