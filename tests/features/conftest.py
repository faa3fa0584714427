"""A tiny bank and its feature tables, built once with the packaged encoders."""

from pathlib import Path

import pytest

from recsys.data.contract import Dataset
from recsys.features.build import BuildReport, FeatureConfig, build_features
from recsys.features.consent import Consent
from recsys.features.plan import Encodings, Sources
from recsys.testing.tiny_bank import write_tiny_bank

HISTORY_LENGTH = 5


@pytest.fixture(scope="session")
def config() -> FeatureConfig:
    return FeatureConfig(history_length=HISTORY_LENGTH, customer_image_dim=16)


@pytest.fixture(scope="session")
def encodings_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("encodings")


@pytest.fixture(scope="session")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return write_tiny_bank(tmp_path_factory.mktemp("data") / "bank")


@pytest.fixture(scope="session")
def sources(bank: Dataset, encodings_folder: Path, config: FeatureConfig) -> Sources:
    return Sources(bank, config, Encodings(encodings_folder, config), Consent(bank))


@pytest.fixture(scope="session")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home") / "features"


@pytest.fixture(scope="session")
def built(bank: Dataset, tables: Path, encodings_folder: Path, config: FeatureConfig) -> BuildReport:
    return build_features(bank, tables, encodings_folder, config)
