from pathlib import Path

import polars as pl
import pytest

from recsys.data.contract import Dataset
from recsys.features.config import FeatureConfig
from recsys.features.consent import Consent
from recsys.features.plan import CustomerRange, Encodings, Sources
from recsys.features.transactions import plan_transactions
from recsys.privacy.merchants import is_sensitive
from recsys.simulator.world import MERCHANTS, SALARY
from recsys.testing.tiny_bank import write_tiny_bank

SENSITIVE = (
    "health", "Health & Beauty", "HEALTH_CARE", "HealthCare", "healthcare-services", "mental.health", "Hospitals",
    "PHARMACY", "Drugstore/Pharmacy", "onlinepharmacy", "Apotheke", "Pharmacie", "药店", "医院", "MCC 8062", "8011",
    "5912 - Drug Stores and Pharmacies", "mcc_5912", "8661 Religious Organizations", "Church donations", "Mosque",
    "慈善捐款", "Political parties", "Trade Union", "union_dues", "Gewerkschaft", "Adult entertainment", "dating",
    "Gambling", "OnlineCasino", "ONLINECASINO", "betting", "Lottery", "7995", "彩票", "psychotherapist", "ＣＡＳＩＮＯ",
)  # fmt: skip
HARMLESS = (
    "groceries", "salary", "Union Pay", "credit union", "Western Union", "fuel", "betterment", "travel", "5411",
    "MCC 5812", "online shopping", "hotels", "templates", "diy",
)  # fmt: skip
PLANTED = {"health", "religion", "gambling"}
"""What the simulated bank has, so that somebody notices if it came through."""


@pytest.mark.parametrize("category", SENSITIVE)
def test_merchant_category_that_reveals_something_is_sensitive(category: str) -> None:
    assert is_sensitive(category)


@pytest.mark.parametrize("category", [*HARMLESS, *sorted({*MERCHANTS} - PLANTED), SALARY])
def test_merchant_category_of_everyday_life_is_not(category: str) -> None:
    assert not is_sensitive(category)


def test_transactions_of_sensitive_merchants_change_no_feature(tmp_path: Path) -> None:
    """Rows in every spelling are added to a bank: its feature table stays the same."""
    plain, mixed = write_tiny_bank(tmp_path / "plain"), write_tiny_bank(tmp_path / "mixed")
    rows = pl.read_parquet(mixed.path / "transactions.parquet")
    some = rows.head(len(SENSITIVE)).with_columns(
        pl.Series("merchant_category", SENSITIVE),
        amount=pl.lit(-1e4),
        transaction_id=pl.concat_str(pl.lit("s"), "transaction_id"),
    )
    pl.concat([rows, some]).write_parquet(mixed.path / "transactions.parquet")
    tables = [_table(dataset, tmp_path) for dataset in (plain, Dataset.open(mixed.path))]
    assert tables[0].equals(tables[1])
    shares = [name for name in tables[0].columns if name.startswith("share_")]
    assert shares
    assert not any(is_sensitive(name) for name in shares)


def _table(dataset: Dataset, folder: Path) -> pl.DataFrame:
    config = FeatureConfig()
    plan = plan_transactions(Sources(dataset, config, Encodings(folder, config), Consent(dataset)))
    assert plan is not None
    return pl.concat(list(plan.frames(CustomerRange())))
