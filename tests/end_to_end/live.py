"""The real server, as a process of its own, over a real socket, on the champion of the trained bank: its fixtures."""

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import polars as pl
import pytest

from recsys.home import Home
from serving.live_server import LiveServer
from serving.tokens import CONSENT, READ, WRITE, issue_token
from tests.end_to_end.champions import crown
from tests.trained_bank import TrainedBank

PROBLEM = "application/problem+json"
PLACEMENTS: list[dict[str, Any]] = [
    {"name": "home", "kind": "products", "limit": 3},
    {"name": "offers", "kind": "products", "limit": 2},
    {"name": "banner", "kind": "contents", "limit": 2},
]
ALL = [{"name": "all", "kind": "products", "limit": 50}]
PER_LEVEL = 6
"""Customers asked about, of each risk level and of those without one."""


class Live(NamedTuple):
    """The running server and what is needed to talk to it."""

    server: LiveServer
    client: httpx.Client
    key: str
    mapped: str
    """The libraries that the process had mapped after its first answer; an explanation asked later needs more."""

    def token(self, customer: str | None = None, *scopes: str, lifetime: timedelta = timedelta(minutes=5)) -> str:
        """Of a customer, or of a service."""
        granted = scopes or (READ, WRITE)
        return issue_token(
            self.key, subject=customer or "tests", scopes=granted, customer_id=customer, lifetime=lifetime
        )

    def post(self, path: str, body: Any, token: str | None = None) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.token() if token is None else token}"}
        return self.client.post(path, json=body, headers=headers)

    def ask(self, customer: str, placements: list[dict[str, Any]] = PLACEMENTS) -> dict[str, Any]:
        body = {"customer_id": customer, "placements": placements, "channel": "app", "locale": "en"}
        response = self.post("/v1/recommendations", body)
        assert response.status_code == 200, response.text
        return dict(response.json())

    def products(self, customer: str) -> list[str]:
        """All that may be shown to a customer, best first."""
        return [item["product_id"] for item in self.ask(customer, ALL)["placements"][0]["items"]]

    def agree(self, customer: str, *purposes: str, granted: bool = True) -> None:
        """Stores a customer's consents."""
        answers = [{"purpose": purpose, "granted": granted} for purpose in purposes]
        path = f"/v1/customers/{customer}/consents"
        headers = {"Authorization": f"Bearer {self.token(customer, CONSENT)}"}
        response = self.client.put(path, json={"consents": answers}, headers=headers)
        assert response.status_code == 200, response.text

    def send(self, *events: dict[str, Any]) -> list[dict[str, Any]]:
        response = self.post("/v1/events", {"events": list(events)})
        assert response.status_code == 200, response.text
        return list(response.json()["results"])


def event(customer: str, event_id: str, event_type: str, product: str | None, **values: Any) -> dict[str, Any]:
    now = datetime.now(UTC).isoformat()
    base = {"event_id": event_id, "customer_id": customer, "event_type": event_type, "event_timestamp": now}
    return {**base, "product_id": product, **values}


@pytest.fixture(scope="module")
def live(trained: TrainedBank, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A server on a copy of the home, so that events do not reach the other tests."""
    home = tmp_path_factory.mktemp("server") / "state"
    shutil.copytree(trained.home, home)
    crown(home, trained.result["version"])
    with LiveServer(home, home.parent / "server.log") as server, httpx.Client(base_url=server.url, timeout=20) as http:
        live = Live(server, http, Home(home).secret(), "")
        live.ask("somebody")
        yield live._replace(mapped=Path(f"/proc/{server.pid}/maps").read_text())


@pytest.fixture(scope="module")
def customers(trained: TrainedBank) -> pl.DataFrame:
    """The latest row of `PER_LEVEL` customers of each risk level."""
    rows = pl.read_parquet(trained.data / "customers.parquet").sort("event_timestamp")
    latest = rows.unique("customer_id", keep="last").sort("customer_id")
    return latest.group_by("risk_level", maintain_order=True).head(PER_LEVEL)


@pytest.fixture(scope="module")
def answers(live: Live, customers: pl.DataFrame) -> dict[str, dict[str, Any]]:
    return {customer: live.ask(customer) for customer in customers["customer_id"]}


@pytest.fixture(scope="module")
def known(answers: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Customers whom the model knows; each test that changes one takes the next."""
    return iter([customer for customer, answer in answers.items() if answer["mode"] in ("personalised", "partial")])
