"""A running service over the tiny bank: real SQLite, real HTTP layer, a scorer that can be worked out by hand."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from recsys.features.spec import ColumnType, Entity, FeatureColumn, FeatureManifest, FeatureView
from recsys.schema import FeatureKind
from recsys.testing.tiny_scorer import NOW, SEGMENT, tiny_pipeline
from serving.app import create_app
from serving.loading import Components, ServedModel
from serving.settings import Settings
from serving.store.database import Store
from serving.store.tables import customer_facts
from serving.tokens import READ, WRITE, issue_token

SECRET = "only-for-tests-" + "x" * 40
WEIGHTS = {"view": 1.0, "click": 1.0, "apply": 3.0, "convert": 5.0}
HISTORY_VIEW, BEHAVIOUR_VIEW = "customer_history", "customer_behaviour"
Row = dict[str, Any]


def _view(name: str, **columns: tuple[FeatureKind, ColumnType]) -> FeatureView:
    made = tuple(FeatureColumn(name=column, kind=kind, type=type_) for column, (kind, type_) in columns.items())
    return FeatureView(name=name, entity=Entity.CUSTOMER, columns=made)


def tiny_manifest() -> FeatureManifest:
    ids = (FeatureKind.CATEGORICAL_LIST, ColumnType.STRING_LIST)
    number, time = (FeatureKind.NUMERIC, ColumnType.FLOAT), (FeatureKind.TIMESTAMP, ColumnType.INT)
    history = _view(
        HISTORY_VIEW,
        product_ids=ids,
        content_ids=ids,
        event_types=ids,
        event_ids=ids,
        timestamps=(FeatureKind.NUMERIC, ColumnType.INT_LIST),
    )
    behaviour = _view(
        BEHAVIOUR_VIEW, n_click_7d=number, n_click_30d=number, n_total=number, last_event_at=time, last_positive_at=time
    )
    return FeatureManifest(
        dataset="tiny",
        fingerprint="0" * 16,
        history_length=50,
        text_encoder="",
        image_encoder="",
        views=(history, behaviour),
    )


class MemoryFeatures:
    """A FeatureReader that keeps its rows in a dictionary; `broken` makes every call fail as a dead store does."""

    def __init__(self) -> None:
        self.manifest = tiny_manifest()
        self.views: dict[tuple[str, str], Row] = {}
        self.plain: dict[str, Row] = {}
        self.broken = False

    def warm(self) -> None:
        self.read_customer("")

    def read_customer(self, customer_id: str) -> Row | None:
        self._check()
        row = dict(self.plain.get(customer_id, {}))
        for (view, owner), columns in self.views.items():
            if owner == customer_id:
                row |= {f"{view}__{name}": value for name, value in columns.items()}
        return row or None

    def update_customer_view(
        self, view: str, customer_id: str, change: Callable[[Row | None], Row | None]
    ) -> Row | None:
        self._check()
        new = change(self.views.get((view, customer_id)))
        if new is not None:
            self.views[view, customer_id] = new
        return new

    def _check(self) -> None:
        if self.broken:
            raise ConnectionError("the feature store is down")


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now


class Service(NamedTuple):
    """A running service and its parts."""

    client: TestClient
    app: FastAPI
    features: MemoryFeatures
    store: Store
    clock: Clock

    def ask(self, customer_id: str | None, token: str, **body: Any) -> Any:
        placements = [{"name": "home", "kind": "products", "limit": 3}]
        values = {"customer_id": customer_id, "placements": placements, **body}
        return self.client.post("/v1/recommendations", json=values, headers=bearer(token))

    def send(self, token: str, *events: Row) -> Any:
        return self.client.post("/v1/events", json={"events": list(events)}, headers=bearer(token))


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def token_of(customer_id: str | None, *scopes: str, lifetime: timedelta = timedelta(hours=1)) -> str:
    return issue_token(
        SECRET,
        subject=customer_id or "service",
        scopes=scopes or (READ, WRITE),
        customer_id=customer_id,
        lifetime=lifetime,
    )


def event(event_id: str, event_type: str = "click", product_id: str | None = "p03", **values: Any) -> Row:
    base = {"event_id": event_id, "customer_id": "anna", "event_type": event_type, "event_timestamp": NOW.isoformat()}
    return {**base, "product_id": product_id, **values}


def add_customer(store: Store, customer_id: str, **facts: Any) -> None:
    row = {"customer_id": customer_id, "updated_at": NOW, "segment": "young", "is_minor": False, **facts}
    assessment = {"risk_level": "C3", "risk_assessed_at": NOW - timedelta(days=10)}
    with store.writing() as connection:
        connection.execute(customer_facts.insert(), [{**assessment, **row}])


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, secret=SECRET, sqlite_synchronous="NORMAL")


@pytest.fixture
def service(settings: Settings) -> Iterator[Service]:
    features, store, clock = MemoryFeatures(), Store(settings.store_url(), settings.sqlite_synchronous), Clock()
    store.create()
    add_customer(store, "anna")
    features.plain["anna"] = {SEGMENT: "young"}
    model = ServedModel(tiny_pipeline(), "test@1", features.manifest.schema_hash, WEIGHTS)
    app = create_app(settings, load=lambda _: Components(model, features, store), clock=clock)
    with TestClient(app, raise_server_exceptions=False) as client:
        yield Service(client, app, features, store, clock)
