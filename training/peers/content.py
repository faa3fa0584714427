"""The catalogue as peers read it: unit vectors of attributes, text and picture, and the numbers of each product."""

from pathlib import Path

import numpy as np
import polars as pl

from recsys.features.spec import Entity, FeatureManifest, FeatureView, feature_name
from recsys.schema import FeatureKind
from training.dataset import Catalogue
from training.peers.interactions import Items

ATTRIBUTES = "attributes"
_MOST_VALUES = 500
"""Values of one attribute, the most frequent first: a column with more is nearly an id."""


def read_items(home: Path, catalogue: Catalogue) -> Items:
    """What the feature store holds of the products, as of the catalogue's instant."""
    features, count = catalogue.product_features, len(catalogue.products)
    spaces: dict[str, np.ndarray] = {}
    sets, numbers = [], []
    for view in FeatureManifest.read(home / "features").views_of(Entity.PRODUCT):
        for column in view.columns:
            key = feature_name(view.name, column.name)
            if key not in features.columns:
                continue
            values = features[key]
            if column.kind is FeatureKind.EMBEDDING:
                spaces[_space(view, column.name)] = _vectors(values, column.dim)
            elif column.kind in (FeatureKind.CATEGORICAL, FeatureKind.CATEGORICAL_LIST):
                sets.append(_indicators(values))
            elif values.dtype.is_numeric():
                numbers.append(values.cast(pl.Float32).fill_null(float("nan")).to_numpy())
    if sets:
        spaces[ATTRIBUTES] = _unit(np.concatenate(sets, axis=1))
    return Items(spaces, np.stack(numbers, axis=1) if numbers else np.zeros((count, 0), np.float32))


def _space(view: FeatureView, column: str) -> str:
    """`product_text` with its one vector is `text`."""
    short = view.name.removeprefix("product_")
    vectors = [one for one in view.columns if one.kind is FeatureKind.EMBEDDING]
    return short if len(vectors) == 1 else f"{short}_{column}"


def _vectors(values: pl.Series, dim: int) -> np.ndarray:
    """[P, dim] float32, unit rows, zero where there is none."""
    out = np.zeros((len(values), dim), np.float32)
    there = np.flatnonzero(values.is_not_null().to_numpy())
    if len(there):
        out[there] = np.array(values.drop_nulls().to_list(), np.float32)
    return _unit(out)


def _indicators(values: pl.Series) -> np.ndarray:
    """[P, V] float32 of 0 and 1: which values each product has."""
    lists = values if values.dtype == pl.List else values.cast(pl.String).reshape((-1, 1))
    frame = pl.DataFrame({"row": np.arange(len(values)), "value": lists.cast(pl.List(pl.String))})
    pairs = frame.explode("value").drop_nulls("value")
    names = pairs["value"].value_counts(sort=True).sort("count", "value", descending=[True, False])["value"]
    column = {name: place for place, name in enumerate(names.head(_MOST_VALUES).to_list())}
    out = np.zeros((len(values), len(column)), np.float32)
    for row, value in pairs.iter_rows():
        if value in column:
            out[row, column[value]] = 1
    return out


def _unit(vectors: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, lengths, out=np.zeros_like(vectors, np.float32), where=lengths > 0)
