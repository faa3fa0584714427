"""The worked example does what it says, against the real service."""

from datetime import UTC, datetime

import httpx
import pytest
from starlette.testclient import TestClient

from serving.examples.client import RecommendationClient
from serving.schemas import RecommendationRequest
from serving.testing import Service, bearer, token_of

REQUEST = {"customer_id": "anna", "placements": [{"name": "home", "kind": "products", "limit": 2}]}


def test_example_client_asks_pages_and_reports(service: Service) -> None:
    http: TestClient = service.client
    http.headers.update(bearer(token_of(None)))
    client = RecommendationClient(http)  # type: ignore[arg-type]
    answer = client.recommend(RecommendationRequest.model_validate(REQUEST))
    home = answer.placements[0]
    rest = list(client.more(answer, home))
    assert rest
    assert [item.rank for item in [*home.items, *rest]] == list(range(1, len(home.items) + len(rest) + 1))
    assert len({item.product_id for item in [*home.items, *rest]}) == len(home.items) + len(rest)
    service.clock.now = datetime.now(UTC)  # the client's events are of now
    assert client.report("click", "anna", home.items[0]).results[0].status == "accepted"


def test_example_client_waits_when_told_and_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr("serving.examples.client.time.sleep", waits.append)
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.headers["idempotency-key"])
        return httpx.Response(429, headers={"Retry-After": "7"})

    http = httpx.Client(base_url="http://bank.example", transport=httpx.MockTransport(answer))
    with http, pytest.raises(httpx.HTTPStatusError):
        RecommendationClient(http).recommend(RecommendationRequest.model_validate(REQUEST))
    assert waits == [7.0] * 3
    assert len(asked) == 4
    assert len(set(asked)) == 1
