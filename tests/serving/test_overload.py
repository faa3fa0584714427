"""Too many at once: what is worked on is answered, the rest is told to come back, health routes always answer."""

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from starlette.responses import Response
from starlette.testclient import TestClient
from starlette.types import Message, Receive, Scope, Send

from recsys.testing.tiny_scorer import SEGMENT, tiny_pipeline
from serving.admission import AT_ONCE
from serving.app import create_app
from serving.loading import Components, ServedModel
from serving.metrics import Metrics
from serving.overload import OverloadMiddleware
from serving.settings import Settings
from serving.store.database import Store
from serving.testing import (
    SIGNING_KEY,
    WEIGHTS,
    Clock,
    MemoryFeatures,
    Service,
    add_customer,
    confirm_facts,
    event,
    token_of,
)

LIMIT = AT_ONCE + 1
WAIT_SECONDS = 20.0


class HeldFeatures(MemoryFeatures):
    """A store that answers when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.let = Event()

    def read_customer(self, customer_id: str) -> dict[str, Any] | None:
        assert self.let.wait(WAIT_SECONDS)
        return super().read_customer(customer_id)


@pytest.fixture
def crowded(tmp_path: Path) -> Iterator[Service]:
    settings = Settings(home=tmp_path, secret=SIGNING_KEY, max_in_progress=LIMIT, read_timeout_ms=60_000)
    features, store, clock = HeldFeatures(), Store(settings.store_url()), Clock()
    store.create()
    confirm_facts(store)
    add_customer(store, "anna")
    features.plain["anna"] = {SEGMENT: "young"}
    model = ServedModel(tiny_pipeline(), "test@1", features.manifest.schema_hash, WEIGHTS)
    app = create_app(settings, lambda _: Components(model, features, store), clock)
    with TestClient(app, raise_server_exceptions=False) as client:
        yield Service(client, app, features, store, clock)
        features.let.set()


def facts_read(service: Service) -> float:
    registry = service.app.state.services.metrics.registry
    return float(registry.get_sample_value("recsys_stage_seconds_count", {"stage": "facts"}) or 0)


def until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_overload_answers_what_is_worked_on_and_sheds_the_surplus_with_those_that_wait(crowded: Service) -> None:
    features = crowded.features
    assert isinstance(features, HeldFeatures)
    with ThreadPoolExecutor(LIMIT + 1) as pool:
        entered = [pool.submit(crowded.ask, "anna", token_of("anna")) for _ in range(AT_ONCE)]
        until(lambda: facts_read(crowded) == AT_ONCE)  # then they wait for their features
        others = [pool.submit(crowded.ask, "anna", token_of("anna")) for _ in range(LIMIT - AT_ONCE + 1)]
        for surplus in [other.result(WAIT_SECONDS) for other in others]:  # all but one would wait, and one is too many
            assert surplus.status_code == 429
            assert surplus.headers["retry-after"] == "1"
            assert surplus.headers["content-type"] == "application/problem+json"
            assert surplus.json()["instance"] == surplus.headers["x-request-id"]
        for path in ("/livez", "/readyz", "/metrics"):
            assert crowded.client.get(path).status_code == 200
        assert crowded.send(token_of("anna"), event("e1")).status_code == 200  # has a bound of its own
        features.let.set()
        assert [one.result(WAIT_SECONDS).status_code for one in entered] == [200] * AT_ONCE
    assert crowded.ask("anna", token_of("anna")).status_code == 200
    told = crowded.client.get("/metrics").text
    assert 'recsys_request_seconds_count{route="unmatched",status="429"} 2.0' in told
    assert "recsys_shed_total 2.0" in told


@pytest.mark.parametrize(("method", "bound"), [("GET", 4 * LIMIT), ("POST", LIMIT)])
def test_pages_and_pictures_have_a_wider_bound_than_what_writes(method: str, bound: int) -> None:
    statuses: list[int] = []
    let = asyncio.Event()

    async def held(scope: Scope, receive: Receive, send: Send) -> None:
        await let.wait()
        await Response(status_code=200)(scope, receive, send)

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    async def receive() -> Message:
        return {"type": "http.request", "body": b""}

    async def crowd() -> None:
        app = OverloadMiddleware(held, LIMIT, Metrics())

        def ask(method: str) -> asyncio.Task[None]:
            scope = {"type": "http", "path": "/v1/events", "method": method, "headers": [], "state": {}}
            return asyncio.create_task(app(scope, receive, send))

        tasks = [ask(method) for _ in range(bound + 1)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert statuses == [429]
        tasks.append(ask("POST" if method == "GET" else "GET"))  # it has places of its own
        let.set()
        await asyncio.gather(*tasks)

    asyncio.run(crowd())
    assert statuses == [429, *[200] * (bound + 1)]
