"""The service over the tiny bank in this process, with the customers that a test needs."""

from collections.abc import Iterator
from contextlib import contextmanager

from starlette.testclient import TestClient

from recsys.testing.tiny_scorer import SEGMENT, tiny_pipeline
from serving.app import create_app
from serving.loading import Components, ServedModel
from serving.settings import Settings
from serving.store.database import Store
from serving.testing import WEIGHTS, Clock, MemoryFeatures, Service, add_customer, confirm_facts


@contextmanager
def running(settings: Settings, *customers: str) -> Iterator[Service]:
    """A service; customers are known, with every consent."""
    features, store, clock = MemoryFeatures(), Store(settings.store_url(), settings.sqlite_synchronous), Clock()
    store.create()
    confirm_facts(store)
    for customer in customers:
        add_customer(store, customer)
        features.plain[customer] = {SEGMENT: "young"}
    model = ServedModel(tiny_pipeline(), "test@1", features.manifest.schema_hash, WEIGHTS)
    app = create_app(settings, load=lambda _: Components(model, features, store), clock=clock)
    with TestClient(app, raise_server_exceptions=False) as client:
        yield Service(client, app, features, store, clock)
