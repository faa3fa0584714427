"""The parts of the page, made once when the service starts, and opened when the page is."""

from functools import cached_property

from recsys.home import Home
from serving.erased import ErasedCustomers
from serving.settings import Settings
from serving.store.catalogue import CatalogueStore
from serving.store.database import Store
from serving.web.showcase.items import ItemCards
from serving.web.showcase.listing import CustomerList
from serving.web.showcase.portrait import PortraitPainter
from serving.web.showcase.records import Records


class Showcase:
    """What the page's routes read from.

    Args:
        settings: the operator's.
        store: of the running service.
    """

    def __init__(self, settings: Settings, store: Store) -> None:
        home = Home(settings.home)
        self.signing_key = settings.signing_key()
        self.records = Records(home)
        self.erased = ErasedCustomers(home)
        self.customers = CustomerList(store, home.features)
        self.painter = PortraitPainter(store, self.records)
        self._store = store

    @cached_property
    def items(self) -> ItemCards:
        """What products and creatives say."""
        return ItemCards(self.records.dataset, CatalogueStore(self._store))
