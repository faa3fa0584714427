"""A tiny public data set with one obvious law, prepared as far as the second stage: untrained towers and questions.

Products stand in a ring, and who has taken one mostly takes the next. The towers have learned nothing, so whatever is
found is the second stage's. The last customers refuse profiling.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import torch
import yaml

from feature_repo.operations import apply_and_materialise
from feature_repo.settings import StoreSettings
from recsys.bundle import PriorConfig
from recsys.data.contract import Dataset
from recsys.data.splits import Part
from recsys.features.build import FeatureConfig, build_features
from recsys.modeling.config import TowerConfig, TwoTowerConfig
from recsys.modeling.two_tower import TwoTower
from recsys.ranking.boosted import BoostedConfig
from training.answers import FirstStage
from training.config import TrainConfig
from training.dataset import DatasetBuilder
from training.evaluate import FrozenSplit, load_split
from training.examples import Ragged
from training.loop import LoopConfig
from training.packing import BundlePacker
from training.queries import Queries
from training.ranking_config import FactorsConfig, RankingConfig, TablesConfig
from training.second_stage import SecondStage

START = datetime(2026, 1, 1, tzinfo=UTC)
PRODUCTS, AGREEING, REFUSING, STEPS = 16, 90, 15, 6
RANKING = RankingConfig(
    tables=TablesConfig(factors=FactorsConfig(size=4, iterations=3)),
    rankers=(BoostedConfig(rounds=40, min_rows_in_leaf=10),),
    round_step=20,
    one_missing=0.0,
)
CONFIG = TrainConfig(
    features=FeatureConfig(history_length=8),
    model=TwoTowerConfig(tower=TowerConfig(dim=16)),
    loop=LoopConfig(device="cpu", threads=1),
    ranking=RANKING,
)


@dataclass(frozen=True)
class Carousel:
    """What the second stage starts from."""

    first: FirstStage
    split: FrozenSplit
    """With the questions of everybody."""
    parts: pl.DataFrame
    """Positives of those who agreed to profiling."""

    def stage(self, ranking: RankingConfig = RANKING, split: FrozenSplit | None = None) -> SecondStage:
        """The second stage of a split, by default that of those who agreed."""
        config = CONFIG.model_copy(update={"ranking": ranking})
        return SecondStage(self.first, self.agreeing() if split is None else split, self.parts, config)

    def agreeing(self) -> FrozenSplit:
        """The split without the questions of who refused."""
        return self.split.of(set(self.parts["customer_id"]))


def build_carousel(folder: Path) -> Carousel:
    """Writes, builds and joins all of it in `folder`."""
    dataset, home = write_dataset(folder / "data"), folder / "home"
    build_features(dataset, home / "features", home / "encodings", CONFIG.features)
    apply_and_materialise(home, settings=StoreSettings(online_store="sqlite"))
    split = load_split(dataset, home)
    builder = DatasetBuilder(dataset, home, CONFIG.encoding)
    prepared = builder.build((Part.TRAIN,), split.catalogue)
    torch.manual_seed(0)
    model = TwoTower(prepared.inputs, CONFIG.model)
    packer = BundlePacker(dataset, split.parts, CONFIG, "tiny", builder.manifest.schema_hash)
    return Carousel(FirstStage(packer, model, prepared, PriorConfig()), split, builder.parts)


def write_dataset(path: Path) -> Dataset:
    """Customers, products, events and consents; the last two events of each customer are the questions."""
    rng = np.random.default_rng(0)
    customers = [f"c{number:03}" for number in range(AGREEING + REFUSING)]
    jumps = np.where(rng.random((len(customers), STEPS)) < 0.1, rng.integers(2, PRODUCTS, (len(customers), STEPS)), 1)
    taken = np.cumsum(jumps, axis=1) + rng.integers(0, PRODUCTS, (len(customers), 1))
    hours = np.sort(rng.integers(0, 60 * 24, taken.shape), axis=1)
    rows = [(name, row, step) for row, name in enumerate(customers) for step in range(STEPS)]
    events = pl.DataFrame(
        {
            "event_id": [f"{name}-{step}" for name, _, step in rows],
            "customer_id": [name for name, _, _ in rows],
            "event_timestamp": [START + timedelta(hours=int(hours[row, step])) for _, row, step in rows],
            "event_type": ["view"] * len(rows),
            "product_id": [f"p{taken[row, step] % PRODUCTS:02}" for _, row, step in rows],
        }
    )
    products = pl.DataFrame(
        {"product_id": [f"p{number:02}" for number in range(PRODUCTS)], "rate": rng.uniform(0, 9, PRODUCTS)}
    )
    purposes = pl.DataFrame(
        {"customer_id": customers, "granted": [number < AGREEING for number in range(len(customers))]}
    )
    before = pl.lit(START - timedelta(days=1)).alias("event_timestamp")
    path.mkdir(parents=True)
    pl.DataFrame({"customer_id": customers, "segment": ["mass"] * len(customers)}).with_columns(before).write_parquet(
        path / "customers.parquet"
    )
    products.with_columns(before, name=pl.lit("A product")).write_parquet(path / "products.parquet")
    purposes.with_columns(before, purpose=pl.lit("profiling")).write_parquet(path / "consents.parquet")
    events.write_parquet(path / "events.parquet")
    config = {"name": "carousel", "policy": "none", "repeatable": True, "split": {"kind": "leave_last_out"}}
    (path / "dataset.yaml").write_text(yaml.safe_dump(config))
    return Dataset.open(path)


def answered(queries: Queries, products: np.ndarray) -> Queries:
    """The same questions with one other answer each, [Q]."""
    return replace(queries, relevant=ragged(list(products[:, None])))


def ragged(lists: list[np.ndarray]) -> Ragged:
    """One list an owner."""
    owner = np.repeat(np.arange(len(lists)), [len(items) for items in lists])
    return Ragged.group(owner, np.concatenate([*lists, np.zeros(0, np.int64)]), len(lists))
