"""The store that `recsys audit` looks into."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from recsys.errors import HomeError, RecsysError
from recsys.home import Home

if TYPE_CHECKING:
    from serving.settings import Settings
    from serving.store.database import Store


@contextmanager
def open_log(home: Home) -> "Iterator[tuple[Store, Settings]]":
    """The store of a home that has one, with what dead servers left in their journals brought into it.

    Raises:
        HomeError: there is nothing to audit yet.
        RecsysError: the store cannot be read.
    """
    from serving.decision_log import JOURNAL_FOLDER, drain_left_over
    from serving.settings import Settings
    from serving.store.database import STORE_FILE, StoreError, open_store

    settings = Settings(home=home.path)
    if settings.database_url is None and not Path(home.path, STORE_FILE).exists():
        raise HomeError(f"there is no store in {home.path}: nothing was decided there yet; name another --home")
    with open_store(settings.store_url()) as store:
        try:
            drain_left_over(home.path / JOURNAL_FOLDER, store)
            yield store, settings
        except StoreError as error:
            raise RecsysError(f"the store {store.name} cannot be read ({type(error).__name__})") from error
