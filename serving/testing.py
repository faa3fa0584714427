"""A running service over the tiny bank: real SQLite, real HTTP layer, a scorer that can be worked out by hand."""

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

import orjson
from fastapi import FastAPI
from sqlalchemy import delete
from starlette.testclient import TestClient

from recsys.features.spec import ColumnType, Entity, FeatureColumn, FeatureManifest, FeatureView
from recsys.schema import CONSENT_PURPOSES, FeatureKind
from recsys.testing.tiny_scorer import NOW
from serving.store.consents import ConsentStore, GivenConsent
from serving.store.database import Store
from serving.store.decisions import DecisionStore, LoggedDecision
from serving.store.tables import customer_facts, dataset_facts
from serving.tokens import AUDIT, CATALOGUE, CONSENT, READ, WRITE, issue_token

SIGNING_KEY: Final = "only for tests " * 4
WEIGHTS = {"view": 1.0, "click": 1.0, "apply": 3.0, "convert": 5.0}
KEPT = ("segment", "risk_level", "risk_assessed_at", "is_minor", "language")
DAY = timedelta(days=1)
HISTORY_VIEW, BEHAVIOUR_VIEW = "customer_history", "customer_behaviour"
Row = dict[str, Any]


def _view(name: str, **columns: tuple[FeatureKind, ColumnType]) -> FeatureView:
    made = tuple(FeatureColumn(name=column, kind=kind, type=type_) for column, (kind, type_) in columns.items())
    return FeatureView(name=name, entity=Entity.CUSTOMER, columns=made)


def tiny_manifest() -> FeatureManifest:
    """The two views that events change."""
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
    """A FeatureReader that keeps its rows in a dictionary; `broken` makes every call fail as a dead store does.

    `delay` makes every read take so many seconds.
    """

    def __init__(self) -> None:
        self.manifest = tiny_manifest()
        self.views: dict[tuple[str, str], Row] = {}
        self.plain: dict[str, Row] = {}
        self.broken = False
        self.delay = 0.0

    def warm(self) -> None:
        """Reads once."""
        self.read_customer("")

    def read_customer(self, customer_id: str) -> Row | None:
        """All views of a customer."""
        time.sleep(self.delay)
        self._check()
        row = dict(self.plain.get(customer_id, {}))
        for (view, owner), columns in self.views.items():
            if owner == customer_id:
                row |= {f"{view}__{name}": value for name, value in columns.items()}
        return row or None

    def update_customer_view(
        self, view: str, customer_id: str, change: Callable[[Row | None], Row | None]
    ) -> Row | None:
        """Replaces one view's row."""
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
        """The present."""
        return self.now


class Service(NamedTuple):
    """A running service and its parts."""

    client: TestClient
    app: FastAPI
    features: MemoryFeatures
    store: Store
    clock: Clock

    def ask(self, customer_id: str | None, token: str, **body: Any) -> Any:
        """POST /v1/recommendations: three products unless `body` says otherwise."""
        placements = [{"name": "home", "kind": "products", "limit": 3}]
        values = {"customer_id": customer_id, "placements": placements, **body}
        return self.client.post("/v1/recommendations", json=values, headers=bearer(token))

    def consent(self, customer_id: str, token: str, *answers: Row) -> Any:
        """PUT /v1/customers/ID/consents."""
        path = f"/v1/customers/{customer_id}/consents"
        return self.client.put(path, json={"consents": list(answers)}, headers=bearer(token))

    def logged(self) -> list[LoggedDecision]:
        """All decisions, once they have reached the SQL store."""
        self.app.state.services.log.flush()
        return list(DecisionStore(self.store).walk())

    def send(self, token: str, *events: Row) -> Any:
        """POST /v1/events."""
        return self.client.post("/v1/events", json={"events": list(events)}, headers=bearer(token))


def bearer(token: str) -> dict[str, str]:
    """The header that carries a token."""
    return {"Authorization": f"Bearer {token}"}


def token_of(customer_id: str | None, *scopes: str, lifetime: timedelta = timedelta(hours=1)) -> str:
    """A token of a customer, or of a service (None); all scopes unless some are named."""
    return issue_token(
        SIGNING_KEY,
        subject=customer_id or "service",
        scopes=scopes or (READ, WRITE, CONSENT, AUDIT, CATALOGUE),
        customer_id=customer_id,
        lifetime=lifetime,
    )


def event(event_id: str, event_type: str = "click", product_id: str | None = "p03", **values: Any) -> Row:
    """An event of the customer `anna`, now."""
    base = {"event_id": event_id, "customer_id": "anna", "event_type": event_type, "event_timestamp": NOW.isoformat()}
    return {**base, "product_id": product_id, **values}


def add_customer(store: Store, customer_id: str, *refuses: str, **facts: Any) -> None:
    """Stores an adult, `young` and C3 unless `facts` says otherwise, who agreed to every purpose but `refuses`."""
    row = {"customer_id": customer_id, "updated_at": NOW, "segment": "young", "is_minor": False, **facts}
    assessment = {"risk_level": "C3", "risk_assessed_at": NOW - timedelta(days=10)}
    answers = [GivenConsent(purpose, None, purpose not in refuses, NOW - DAY) for purpose in CONSENT_PURPOSES]
    with store.writing() as connection:
        connection.execute(customer_facts.insert(), [{**assessment, **row}])
    ConsentStore(store).put(customer_id, answers)


def confirm_facts(store: Store, at: datetime = NOW, keeps_consents: bool = True) -> None:
    """What loading a dataset leaves behind: which columns the bank keeps, whether consents, and when it was."""
    row = {"id": 1, "keeps_consents": keeps_consents, "kept": orjson.dumps(KEPT).decode(), "confirmed_at": at}
    with store.writing() as connection:
        connection.execute(delete(dataset_facts))
        connection.execute(dataset_facts.insert(), [row])
