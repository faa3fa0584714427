"""The home's dataset and the champion's catalogue, as briefs and copy are checked against them while somebody waits."""

from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import NamedTuple

import polars as pl

from recsys.campaigns.bank import DatasetCustomers, Shelf
from recsys.campaigns.content.facts import ProductFacts as CopyFacts
from recsys.campaigns.content.facts import facts_of
from recsys.data.contract import Dataset
from recsys.errors import HomeError, RecsysError
from recsys.home import Home
from recsys.policy.facts import ProductFacts
from recsys.privacy.suppression import SuppressionList
from recsys.schema import CONTENT_ID, PRODUCT_ID
from serving.loading import find_champion
from serving.models import ModelHolder


class NoBankError(RecsysError):
    """This service has no dataset or no catalogue to check campaigns against."""


class OpenBank(NamedTuple):
    """What is known of the bank."""

    version: str
    """Of the champion."""
    customers: DatasetCustomers
    products: Mapping[str, CopyFacts]
    """By product id, what copy may state."""


class CampaignBank:
    """Opens the bank when it is first needed, and again for a new champion or policy."""

    def __init__(self, home: Path, models: ModelHolder) -> None:
        self._home = home
        self._models = models
        self._lock = Lock()
        self._open: OpenBank | None = None

    def open(self) -> OpenBank:
        """The bank as it is now.

        Raises:
            NoBankError: the home has no dataset, or its champion's catalogue cannot be read.
        """
        model = self._models.current
        version = f"{model.version} {model.policy_version}"
        with self._lock:
            if self._open is None or self._open.version != version:
                self._open = self._read(version)
            return self._open

    def dataset(self) -> Dataset:
        """The home's dataset.

        Raises:
            NoBankError: it has none.
        """
        return self.open().customers.dataset

    def segments(self) -> list[str]:
        """The segments that customers are in."""
        customers = self.open().customers
        found = customers.audience(pl.lit(value=True), ())["segment"]
        return sorted(str(name) for name in found.drop_nulls().unique())

    def _read(self, version: str) -> OpenBank:
        model = self._models.current
        try:
            home = Home(self._home)
            dataset = SuppressionList(home).apply(Dataset.open(home.dataset_path()))
            folder = find_champion(self._home, model.registry_version).folder
            products = pl.read_parquet(folder / "products.parquet")
            file = folder / "contents.parquet"
            contents = pl.read_parquet(file) if file.exists() else pl.DataFrame(schema=_NO_CONTENTS)
            shelf = Shelf(model.pipeline.policy, ProductFacts.from_frame(products), contents)
            customers = DatasetCustomers(dataset, home.features, shelf)
        except (HomeError, OSError) as error:
            raise NoBankError(f"there is no bank to plan campaigns for: {error}") from error
        except RecsysError as error:
            raise NoBankError(f"the bank cannot be read: {error}") from error
        facts = {row[PRODUCT_ID]: facts_of(row) for row in products.iter_rows(named=True)}
        return OpenBank(version, customers, facts)


_NO_CONTENTS = {CONTENT_ID: pl.String, PRODUCT_ID: pl.String}
