"""The item towers on items that came, or changed, after training: by torch, imported when the first one comes."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import torch

from recsys.bundle import Bundle
from recsys.errors import ModelError
from recsys.features.spec import Entity
from recsys.live_item import LiveItem
from recsys.modeling.batches import make_entity_batch
from recsys.modeling.encoding import EntityEncoding
from recsys.modeling.inference_many import load_model
from recsys.modeling.towers import ItemTower
from recsys.schema import PRODUCT_ID

NO_ID: Final = 0
"""The row of the id tables that stands for none."""
_ID_TABLES: Final = tuple(f"{entity}_table.weight" for entity in (Entity.PRODUCT, Entity.CONTENT))


class ItemEncoder:
    """Runs the item towers of a bundle: N items of which K are known, D dimensions."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        weights = dict(bundle.weights)
        for name in [name for name in weights if name.endswith(_ID_TABLES)]:
            weights[name] = weights[name].copy()
            weights[name][NO_ID] = 0  # never trained: id dropout makes the model familiar with zeros
        self._model = load_model(weights, bundle.manifest.inputs, bundle.manifest.model)

    def products(self, known: Mapping[int, LiveItem], new: Sequence[LiveItem]) -> tuple[np.ndarray, np.ndarray]:
        """The known products' raw vectors [K, D] with those at the given places made anew, and the new ones'."""
        inputs = self._bundle.manifest.inputs
        vectors = self._bundle.vectors.products.copy()
        if known:
            places = np.array(list(known), np.int64)
            vectors[places] = self._run(self._model.products, inputs.products, list(known.values()), places + 1)
        return vectors, self._run(self._model.products, inputs.products, new, np.full(len(new), NO_ID))

    def contents(
        self,
        known: Mapping[int, LiveItem],
        new: Sequence[LiveItem],
        products: np.ndarray,
        places: Mapping[str, int],
    ) -> tuple[np.ndarray, np.ndarray]:
        """As `products`, for creatives: `products` are the raw vectors of all products, `places` where each id is."""
        inputs = self._bundle.manifest.inputs
        vectors = self._bundle.vectors.contents.copy()
        if self._model.contents is None or inputs.contents is None:
            return vectors, vectors[:0]

        def run(items: Sequence[LiveItem], ids: np.ndarray) -> np.ndarray:
            owners = [item.columns[PRODUCT_ID] for item in items]
            if unknown := sorted({owner for owner in owners if owner not in places}):
                raise ModelError(f"creatives are of products that are not in the catalogue: {', '.join(unknown)}")
            base = products[[places[owner] for owner in owners]]
            return self._run(self._model.contents, inputs.contents, items, ids, base)

        if known:
            rows = np.array(list(known), np.int64)
            vectors[rows] = run(list(known.values()), rows + 1)
        return vectors, run(new, np.full(len(new), NO_ID))

    def _run(
        self,
        tower: ItemTower | None,
        encoding: EntityEncoding | None,
        items: Sequence[LiveItem],
        ids: np.ndarray,
        base: np.ndarray | None = None,
    ) -> np.ndarray:
        """[N, D] raw vectors of N items; id 0 stands for none of its own."""
        if not items or tower is None or encoding is None:
            return np.zeros((0, self._bundle.manifest.model.tower.dim), np.float32)
        keys = [column.key for group in encoding.groups for column in group.columns]
        columns = {key: [item.features.get(key) for item in items] for key in keys}
        instant = int(self._bundle.manifest.trained_until.timestamp() * 1_000_000)
        rows = encoding.transform(columns, np.full(len(items), instant, np.int64))
        with torch.inference_mode():
            vectors, _ = tower(make_entity_batch(encoding, rows, ids), None if base is None else torch.from_numpy(base))
        return np.asarray(vectors.numpy(), np.float32)
