"""The one artefact that is served: weights, vocabularies, candidate vectors, catalogue, popularity and config.

A bundle is a folder of JSON, parquet and safetensors files; nothing in it is executable. Inside it, `selection/` is a
bundle too: the same model before it was refitted on everything, trained on the training part alone. It is what
`recsys evaluate` measures on the frozen split, for the served weights have seen the answers.
"""

import json
import shutil
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from pydantic import Field
from safetensors import SafetensorError
from safetensors.numpy import load_file as load_arrays
from safetensors.numpy import save_file as save_arrays

from recsys.config import BaseConfig
from recsys.errors import ModelError
from recsys.modeling.config import ModelInputs, TwoTowerConfig
from recsys.modeling.vectors import CandidateVectors
from recsys.ranking.affinity import Affinity
from recsys.ranking.boosted import BoostedRanker
from recsys.ranking.cold import ColdConfig, ColdRanker, ColdTables
from recsys.ranking.interest import Interest, InterestTables, Matched
from recsys.ranking.profiles import Profiles
from recsys.ranking.rankers import Ranker, load_ranker
from recsys.ranking.response import ResponseConfig, ResponseModel
from recsys.ranking.response_files import load_response, save_response
from recsys.ranking.stage import StageConfig
from recsys.ranking.tables import ItemTables
from recsys.retrieval.popularity import Popularity, PopularityConfig
from recsys.schema import PolicyName

BUNDLE_FORMAT = 5
SELECTION = "selection"
_MANIFEST = "manifest.json"
_WEIGHTS = "weights.safetensors"
_VECTORS = "vectors.safetensors"
_TABLES = "item_tables.safetensors"
_RANKER = "ranker.txt"
_INTEREST = "interest.txt"
_COLD = "cold.{}.txt"
_RESPONSE_TABLES = "response_items.safetensors"
_COLD_TABLES = "cold.safetensors"
_INTEREST_TABLES = "interest.safetensors"


class PriorConfig(BaseConfig):
    """How much recent popularity is added to the model's score: found on validation, never written down by hand."""

    window_days: float | None = None
    """Popularity of the last so many days; None counts all."""
    weight: float = Field(default=0.0, ge=0)
    """For customers with a history."""
    new_weight: float = Field(default=0.0, ge=0)
    """For customers with none."""


class BundleManifest(BaseConfig):
    """What a bundle is."""

    format: int = BUNDLE_FORMAT
    model_version: str
    """Identity of the training run."""
    schema_hash: str
    """Of the features it was trained on; must equal the feature store's."""
    dataset: str
    policy: PolicyName
    repeatable: bool
    event_weights: dict[str, float]
    created_at: datetime
    trained_until: datetime
    """No later event has been seen by the weights."""
    popularity: PopularityConfig
    prior: PriorConfig
    inputs: ModelInputs
    model: TwoTowerConfig
    stage: StageConfig | None = None
    """The second stage; None: the towers' order is served."""
    cold: ColdConfig | None = None
    """The ranker of products that nobody has touched; None: they are ranked as all others."""
    response: ResponseConfig | None = None
    """The response model; None: no exposures were logged, or too few."""


class Ranking(NamedTuple):
    """The second stage, as it was fitted."""

    tables: ItemTables
    ranker: Ranker
    config: StageConfig
    interest: Interest | None = None


class Bundle(NamedTuple):
    """A loaded bundle."""

    manifest: BundleManifest
    weights: dict[str, np.ndarray]
    """Of the model, as its `state_dict` names them."""
    vectors: CandidateVectors
    products: pl.DataFrame
    """One row per product, the canonical columns; its order is the order of `vectors.products`."""
    contents: pl.DataFrame | None
    product_popularity: Popularity
    content_popularity: Popularity | None
    product_prior: np.ndarray
    """[P] float32: what `manifest.prior` weighs, the log of recent popularity, standardised."""
    ranking: Ranking | None = None
    cold: ColdRanker | None = None
    response: ResponseModel | None = None

    def save(self, folder: Path) -> None:
        """Writes the bundle to a temporary sibling and renames it, replacing what stood there."""
        temporary = folder.with_name(folder.name + ".partial")
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        (temporary / _MANIFEST).write_text(self.manifest.model_dump_json(indent=1))
        save_arrays({name: np.ascontiguousarray(part) for name, part in self.weights.items()}, temporary / _WEIGHTS)
        save_arrays({**self.vectors._asdict(), "prior": self.product_prior}, temporary / _VECTORS)
        self.products.write_parquet(temporary / "products.parquet")
        _save_popularity(self.product_popularity, temporary / "product_popularity.safetensors")
        if self.response is not None:
            save_response(self.response, temporary)
            save_arrays(self.response.tables.items.to_arrays(), temporary / _RESPONSE_TABLES)
        if self.ranking is not None:
            save_arrays(self.ranking.tables.to_arrays(), temporary / _TABLES)
            (temporary / _RANKER).write_text(self.ranking.ranker.text)
            if self.ranking.interest is not None:
                (temporary / _INTEREST).write_text(self.ranking.interest.model.text)
                save_arrays(self.ranking.interest.to_arrays(), temporary / _INTEREST_TABLES)
        if self.cold is not None:
            save_arrays(self.cold.tables.to_arrays(), temporary / _COLD_TABLES)
            for number, model in enumerate(self.cold.models):
                (temporary / _COLD.format(number)).write_text(model.text)
        if self.contents is not None and self.content_popularity is not None:
            self.contents.write_parquet(temporary / "contents.parquet")
            _save_popularity(self.content_popularity, temporary / "content_popularity.safetensors")
        shutil.rmtree(folder, ignore_errors=True)
        temporary.rename(folder)

    @classmethod
    def load(cls, folder: Path) -> "Bundle":
        """Reads a bundle.

        Raises:
            ModelError: the folder is no bundle, or one of another format.
        """
        manifest = _read_manifest(folder)
        try:
            contents = folder / "contents.parquet"
            vectors = load_arrays(folder / _VECTORS)
            has_contents = contents.exists()
            return cls(
                manifest=manifest,
                weights=load_arrays(folder / _WEIGHTS),
                vectors=CandidateVectors(vectors["products"], vectors["contents"]),
                products=pl.read_parquet(folder / "products.parquet"),
                contents=pl.read_parquet(contents) if has_contents else None,
                product_popularity=_load_popularity(folder / "product_popularity.safetensors"),
                content_popularity=_load_popularity(folder / "content_popularity.safetensors")
                if has_contents
                else None,
                product_prior=vectors["prior"],
                ranking=_load_ranking(folder, manifest),
                cold=_load_cold(folder, manifest.cold),
                response=_load_response(folder, manifest),
            )
        except (OSError, KeyError, TypeError, ValueError, SafetensorError, pl.exceptions.PolarsError) as error:
            raise ModelError(f"the bundle {folder} is incomplete ({error}): train again") from error


def _read_manifest(folder: Path) -> BundleManifest:
    path = folder / _MANIFEST
    if not path.exists():
        raise ModelError(f"{folder} holds no bundle: train with `recsys train DATASET`")
    values = json.loads(path.read_text())
    if values.get("format") != BUNDLE_FORMAT:
        raise ModelError(f"{folder} has bundle format {values.get('format')}, this is {BUNDLE_FORMAT}: train again")
    return BundleManifest.parse(values, source=str(path))


def _load_ranking(folder: Path, manifest: BundleManifest) -> Ranking | None:
    config = manifest.stage
    if config is None:
        return None
    tables = ItemTables.from_arrays(load_arrays(folder / _TABLES))
    interest = None
    if config.interest is not None:
        arrays, inputs = load_arrays(folder / _INTEREST_TABLES), manifest.inputs
        customers = Profiles.from_arrays("customers", arrays, inputs.customers.group_names())
        known = InterestTables.build(customers, arrays["products"], list(config.interest.products), inputs.customers)
        affinity = Affinity.from_arrays(arrays, inputs.customers.group_names())
        matched = None if affinity is None else Matched(affinity, inputs.customers)
        interest = Interest(known, tables, BoostedRanker((folder / _INTEREST).read_text()), config.interest, matched)
    return Ranking(tables, load_ranker((folder / _RANKER).read_text()), config, interest)


def _load_cold(folder: Path, config: ColdConfig | None) -> ColdRanker | None:
    if config is None:
        return None
    tables = ColdTables.from_arrays(load_arrays(folder / _COLD_TABLES))
    models = [BoostedRanker((folder / _COLD.format(number)).read_text()) for number in range(config.models)]
    return ColdRanker(tables, models, config)


def _load_response(folder: Path, manifest: BundleManifest) -> ResponseModel | None:
    if manifest.response is None:
        return None
    items = ItemTables.from_arrays(load_arrays(folder / _RESPONSE_TABLES))
    return load_response(folder, manifest.response, manifest.inputs, items)


def _save_popularity(popularity: Popularity, path: Path) -> None:
    arrays = {f"segment:{name}": scores for name, scores in popularity.segments.items()}
    save_arrays({"overall": popularity.overall, **arrays}, path)


def _load_popularity(path: Path) -> Popularity:
    arrays = load_arrays(path)
    segments = {name.removeprefix("segment:"): values for name, values in arrays.items() if name != "overall"}
    return Popularity(arrays["overall"], segments)
