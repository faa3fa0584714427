"""The response model as files of a bundle: safetensors, and LightGBM's text."""

from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from recsys.modeling.config import ModelInputs
from recsys.ranking.boosted import BoostedRanker
from recsys.ranking.calibrators import Calibration
from recsys.ranking.creatives import CreativeTables
from recsys.ranking.heads import HEADS, BoostedHeads, Heads, TastefulClick
from recsys.ranking.interest import InterestTables
from recsys.ranking.profiles import Arrays, Profiles
from recsys.ranking.response import ResponseConfig, ResponseModel
from recsys.ranking.response_features import ResponseTables
from recsys.ranking.tables import ItemTables

_ARRAYS = "response.safetensors"
_NETWORK = "response_network.safetensors"
_TASTE = "response_taste.txt"


def save_response(model: ResponseModel, folder: Path) -> None:
    """Writes the model, all but the tables of the products, which the bundle has."""
    arrays: Arrays = {**model.tables.interest.to_arrays(), **model.tables.creatives.to_arrays()}
    for head, calibration in zip(HEADS, model.calibrations, strict=True):
        arrays |= calibration.to_arrays(f"calibration.{head}")
    save_file(arrays, folder / _ARRAYS)
    if model.config.kind == "network":
        from recsys.ranking.network_heads import NetworkHeads

        if isinstance(model.heads, NetworkHeads):
            save_file(model.heads.to_arrays(), folder / _NETWORK)
    if isinstance(model.heads, BoostedHeads):
        for head, trees in zip(HEADS, model.heads.models, strict=True):
            if trees is not None:
                (folder / f"response_{head}.txt").write_text(trees.text)
        if model.heads.taste is not None:
            (folder / _TASTE).write_text(model.heads.taste.trees.text)


def load_response(folder: Path, config: ResponseConfig, inputs: ModelInputs, items: ItemTables) -> ResponseModel:
    """The inverse of `save_response`.

    Raises:
        KeyError: an array is missing.
        OSError: a file is missing.
    """
    arrays = load_file(folder / _ARRAYS)
    customers = Profiles.from_arrays("customers", arrays, inputs.customers.group_names())
    tables = ResponseTables(
        InterestTables(customers, arrays["products"], list(config.customers), list(config.products)),
        items,
        CreativeTables.from_arrays(arrays, list(config.creatives)),
    )
    calibrations = [Calibration.from_arrays(f"calibration.{head}", arrays) for head in HEADS]
    return ResponseModel(tables, _heads(folder, config), calibrations, config)


def _heads(folder: Path, config: ResponseConfig) -> Heads:
    if config.kind == "network":
        from recsys.ranking.network_heads import NetworkHeads

        return NetworkHeads.from_arrays(load_file(folder / _NETWORK), config.network)
    models = [
        BoostedRanker((folder / f"response_{head}.txt").read_text()) if has else None
        for head, has in zip(HEADS, config.boosted, strict=True)
    ]
    if config.taste is None:
        return BoostedHeads(models, list(config.averages))
    trees = BoostedRanker((folder / _TASTE).read_text())
    taste = TastefulClick(np.array(config.taste.weights, np.float32), config.taste.average, trees)
    return BoostedHeads(models, list(config.averages), taste)
