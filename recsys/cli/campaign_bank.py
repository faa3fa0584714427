"""What the campaign verbs work on: the home's bank with its champion, and its SQL store."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from recsys.home import Home

if TYPE_CHECKING:
    from serving.campaigns.desk import CampaignDesk
    from training.campaign import BankCustomers


def open_bank(home: Home, data: Path | None = None) -> "BankCustomers":
    """The home's dataset and champion, as the planner reads them.

    Raises:
        RecsysError: the dataset is another home's, there is no champion, or its features are not those of the home.
    """
    from recsys.bundle import Bundle
    from recsys.cli.workflows import check_schema, open_known
    from training.campaign import BankCustomers
    from training.tracking import Tracker

    dataset = open_known(home, data or home.dataset_path())
    bundle = Bundle.load(Tracker(home.path).bundle_folder())
    check_schema(home, bundle.manifest.schema_hash)
    record = home.record()  # `open_known` found its fingerprint to be the dataset's
    return BankCustomers(dataset, home.path, bundle, record.features_of if record else "")


@contextmanager
def open_desk(home: Home) -> "Iterator[CampaignDesk]":
    """The campaigns in the home's SQL store, or in the one that the settings name."""
    from serving.campaigns.desk import CampaignDesk
    from serving.settings import Settings
    from serving.store.database import open_store

    with open_store(Settings(home=home.path).store_url()) as store:
        yield CampaignDesk(store)
