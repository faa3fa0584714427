"""What the campaign verbs work on: the home's bank with its champion, and its SQL store."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from recsys.home import Home

if TYPE_CHECKING:
    from recsys.campaigns.content.rewriting import Rewriting
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


def open_rewriting(home: Home, writer: Path | None, most: int | None) -> "Rewriting | None":
    """The language model of a file, with how many variants it is asked about; None: no file.

    Raises:
        ConfigError: the file cannot be used.
        ModelError: the model cannot be loaded.
    """
    if writer is None:
        return None
    from recsys.campaigns.content.rewriting import Rewriting
    from serving.copy_writer import open_writer
    from serving.settings import Settings

    return Rewriting(open_writer(writer, Settings(home=home.path)), most)


@contextmanager
def open_desk(home: Home) -> "Iterator[CampaignDesk]":
    """The campaigns in the home's SQL store, or in the one that the settings name."""
    from serving.campaigns.desk import CampaignDesk
    from serving.settings import Settings
    from serving.store.database import open_store

    with open_store(Settings(home=home.path).store_url()) as store:
        yield CampaignDesk(store)
