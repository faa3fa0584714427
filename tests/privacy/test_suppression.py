import hashlib
from pathlib import Path

import polars as pl
import pytest

from recsys.data.contract import Dataset
from recsys.errors import HomeError
from recsys.features.build import FeatureConfig, build_features, is_current
from recsys.home import Home
from recsys.privacy.suppression import SuppressionList
from recsys.schema import CUSTOMER_ID, Table
from recsys.testing.tiny_bank import write_tiny_bank

CONFIG = FeatureConfig(history_length=3, customer_image_dim=8)


@pytest.fixture
def bank(tmp_path: Path) -> Dataset:
    return write_tiny_bank(tmp_path / "bank", customers=8)


@pytest.fixture
def erased(tmp_path: Path) -> SuppressionList:
    return SuppressionList(Home(tmp_path / "home"))


def test_suppression_hides_a_customer_in_every_table_and_nobody_else(bank: Dataset, erased: SuppressionList) -> None:
    erased.add("c003")
    without = erased.apply(bank)
    for table in (table for table in Table if bank.has(table)):
        expected = bank.scan(table).collect()
        if CUSTOMER_ID in expected.columns:
            assert "c003" in expected[CUSTOMER_ID]
            expected = expected.filter(pl.col(CUSTOMER_ID) != "c003")
        assert without.scan(table).collect().equals(expected), table
    assert without.fingerprint() == bank.fingerprint(), "the files are the same"


def test_suppression_of_strangers_changes_nothing(bank: Dataset, erased: SuppressionList) -> None:
    assert erased.apply(bank) is bank
    erased.add("somebody-else")
    assert erased.apply(bank) == bank


def test_suppression_list_holds_keyed_hashes_only(erased: SuppressionList, tmp_path: Path) -> None:
    pseudonym = erased.add("c003")
    assert erased.add("c003") == pseudonym
    assert erased.file.read_text() == f"{pseudonym}\n"
    assert pseudonym != hashlib.sha256(b"c003").hexdigest()
    assert pseudonym != SuppressionList(Home(tmp_path / "another")).pseudonym("c003")
    assert "c003" in erased
    assert "c004" not in erased


def test_suppression_makes_the_tables_stale_and_the_next_build_leaves_him_out(
    bank: Dataset, erased: SuppressionList, tmp_path: Path
) -> None:
    tables, encodings = tmp_path / "features", tmp_path / "encodings"
    build_features(bank, tables, encodings, CONFIG)
    erased.add("c003")
    without = erased.apply(bank)
    assert not is_current(without, tables, CONFIG)
    build_features(without, tables, encodings, CONFIG)
    assert is_current(without, tables, CONFIG)
    for file in tables.glob("customer_*.parquet"):
        assert "c003" not in pl.read_parquet(file)[CUSTOMER_ID], file


def test_suppression_list_that_is_damaged_is_an_error_and_not_an_amnesty(
    bank: Dataset, erased: SuppressionList
) -> None:
    erased.add("c003")
    erased.file.write_text(erased.file.read_text()[:20])
    with pytest.raises(HomeError, match="restore it"):
        erased.apply(bank)
