"""One tiny bank, trained once: what fairness, model cards and approval are tested on."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from recsys.bundle import SELECTION, Bundle
from recsys.cli.workflows import build_features_and_materialise
from recsys.data.contract import Dataset
from recsys.features.config import FeatureConfig
from recsys.home import Home
from recsys.modeling.config import TowerConfig, TwoTowerConfig
from recsys.policy.pack import PolicyPack
from recsys.testing.tiny_bank import write_tiny_bank
from training.approval import Signatures
from training.config import TrainConfig
from training.fairness.report import measure_fairness
from training.loop import LoopConfig
from training.model_card import RunRecord
from training.promote import GateDecision
from training.ranking_config import RankingConfig
from training.tracking import RegisteredVersion, Tracker
from training.train import Training, TrainingOutcome

CUSTOMERS = 160
CONFIG = TrainConfig(
    features=FeatureConfig(history_length=8),
    model=TwoTowerConfig(tower=TowerConfig(dim=16)),
    loop=LoopConfig(device="cpu", threads=1, epochs=1),
    ranking=RankingConfig(enabled=False),
    refit=False,
)


@dataclass(frozen=True)
class Governed:
    """A run, before it is registered."""

    dataset: Dataset
    home: Home
    outcome: TrainingOutcome
    pack: PolicyPack
    fairness: dict[str, Any]

    def record(self, passed: bool, signatures: Signatures) -> RunRecord:
        decision = GateDecision(passed, ["beats popularity: +0.1 [+0.0, +0.2]"], {})
        return RunRecord(self.outcome, self.fairness, self.dataset.fingerprint(), decision, signatures)

    @property
    def selection(self) -> Bundle:
        return Bundle.load(self.outcome.folder / SELECTION)


def write_governed_bank(path: Path) -> Dataset:
    """The tiny bank with facts that nobody declared: sex by lot (few diverse), a nationality, a name, a latitude."""
    write_tiny_bank(path, CUSTOMERS)
    file = path / "customers.parquet"
    rows = pl.read_parquet(file)
    people = rows.select(pl.col("customer_id").unique().sort())
    rng = np.random.default_rng(1)
    sex = np.where(np.arange(CUSTOMERS) < 4, "diverse", np.where(rng.random(CUSTOMERS) < 0.55, "female", "male"))
    people = people.with_columns(
        pl.Series("sex", sex),
        pl.lit("IE").alias("nationality"),
        pl.format("Name {}", "customer_id").alias("name"),
        pl.Series("latitude", rng.uniform(50, 55, CUSTOMERS)),
    )
    rows.join(people, on="customer_id", maintain_order="left").write_parquet(file)
    return Dataset.open(path)


@pytest.fixture(scope="session")
def governed(tmp_path_factory: pytest.TempPathFactory) -> Governed:
    folder = tmp_path_factory.mktemp("governed")
    dataset, home = write_governed_bank(folder / "data"), Home(folder / "home")
    build_features_and_materialise(home, dataset.path, CONFIG)
    training = Training(dataset, home.path, CONFIG, "tiny")
    outcome = training.run()
    bundle = Bundle.load(outcome.folder / SELECTION)
    fairness = measure_fairness(bundle, outcome.split, home.path, training.pack, CONFIG.fairness, 3)
    return Governed(dataset, home, outcome, training.pack, fairness)


@pytest.fixture
def register(governed: Governed) -> Callable[..., RegisteredVersion]:
    """Registers the run anew, with a gate and signatures of the test's choice."""

    def run(passed: bool = True, approver: str | None = None, needs_approver: bool = False) -> RegisteredVersion:
        tracker = Tracker(governed.home.path)
        with tracker.run("tiny", "tiny"):
            tracker.log_outcome(governed.outcome, CONFIG.model_dump(mode="json"), "f" * 16, 1.0)
            tracker.log_fairness(governed.fairness, [column.key for column in governed.outcome.refused])
            return tracker.register(governed.record(passed, Signatures("Ann", approver, needs_approver)))

    return run
