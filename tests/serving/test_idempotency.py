"""Idempotency keys: one answer per key, over workers and restarts, gone with the customer."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from serving.settings import Settings
from serving.store.database import Store
from serving.store.erasure import erase_customer, find_customer
from serving.store.idempotency import Attempt, IdempotencyStore, Standing
from serving.testing import NOW, SIGNING_KEY, Service, bearer, event, token_of
from tests.serving.running import running

PLACES = {"placements": [{"name": "home", "kind": "products", "limit": 3}]}
LEASE = timedelta(seconds=10)


def ask(service: Service, key: str | None, body: Any = None, token: str | None = None) -> Any:
    headers = bearer(token or token_of("anna")) | ({} if key is None else {"Idempotency-Key": key})
    return service.client.post("/v1/recommendations", json=body or PLACES, headers=headers)


def test_recommend_same_key_and_body_is_one_decision(service: Service) -> None:
    first, second, other = ask(service, "k-1"), ask(service, "k-1"), ask(service, "k-2")
    assert first.status_code == second.status_code == 200
    assert first.content == second.content
    assert first.headers["idempotency-key"] == "k-1"
    assert "idempotent-replayed" not in first.headers
    assert second.headers["idempotent-replayed"] == "true"
    assert second.headers["cache-control"] == "private, no-store"
    assert other.json()["decision_id"] != first.json()["decision_id"]
    plain = [ask(service, None).json()["decision_id"] for _ in range(2)]
    assert len(set(plain)) == 2
    assert len(service.logged()) == 4
    assert first.json().keys() == ask(service, None).json().keys()


def test_key_with_another_body_path_or_caller_is_another_matter(service: Service) -> None:
    ask(service, "k-1")
    refused = ask(service, "k-1", {"placements": [{"name": "x", "kind": "products"}]})
    assert refused.status_code == 422
    assert "another body" in refused.json()["detail"]
    theirs = ask(service, "k-1", {**PLACES, "customer_id": "anna"}, token_of(None))
    assert theirs.status_code == 200
    assert "idempotent-replayed" not in theirs.headers
    headers = bearer(token_of("anna")) | {"Idempotency-Key": "k-1"}
    assert service.client.post("/v1/events", json=event("e1"), headers=headers).status_code == 200


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, "a\tb"])
def test_key_that_is_none_is_refused(service: Service, key: str) -> None:
    assert ask(service, key).status_code == 422


def test_events_and_consents_same_key_is_the_same_answer(service: Service) -> None:
    headers = bearer(token_of("anna")) | {"Idempotency-Key": "k"}
    sent = [service.client.post("/v1/events", json=event("e1"), headers=headers) for _ in range(2)]
    assert [answer.json()["accepted"] for answer in sent] == [1, 1]
    assert service.send(token_of("anna"), event("e1")).json()["duplicate"] == 1
    body = {"consents": [{"purpose": "profiling", "granted": False}]}
    put = [service.client.put("/v1/customers/anna/consents", json=body, headers=headers) for _ in range(2)]
    assert put[0].content == put[1].content
    assert put[1].headers["idempotent-replayed"] == "true"


def test_refused_request_keeps_no_key(service: Service) -> None:
    future = {"consents": [{"purpose": "profiling", "granted": True, "given_at": "2036-01-01T00:00:00Z"}]}
    headers = bearer(token_of("anna")) | {"Idempotency-Key": "k"}
    url = "/v1/customers/anna/consents"
    assert service.client.put(url, json=future, headers=headers).status_code == 422
    service.app.state.services.models._current, kept = None, service.app.state.services.models._current
    assert ask(service, "k").status_code == 500
    service.app.state.services.models._current = kept
    assert ask(service, "k").status_code == 200


def test_key_is_known_to_other_workers_and_after_a_restart(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, secret=SIGNING_KEY, read_timeout_ms=10_000)
    with running(settings, "anna") as one:
        first = ask(one, "k")
    with running(settings) as two:
        again = ask(two, "k")
        assert again.content == first.content
        assert again.headers["idempotent-replayed"] == "true"
        two.clock.now += timedelta(hours=25)
        assert "idempotent-replayed" not in ask(two, "k").headers


def test_key_under_way_is_a_conflict_and_not_a_second_decision(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, go_on = Event(), Event()
    log = service.app.state.services.log
    append = log.append

    async def slow(entry: Any) -> None:
        import asyncio

        entered.set()
        await asyncio.to_thread(go_on.wait, 10)
        await append(entry)

    monkeypatch.setattr(log, "append", slow)
    with ThreadPoolExecutor(1) as pool:
        running_one = pool.submit(ask, service, "k")
        assert entered.wait(10)
        conflict = ask(service, "k")
        go_on.set()
        first = running_one.result()
    assert conflict.status_code == 409
    assert conflict.headers["retry-after"] == "1"
    assert first.status_code == 200
    assert ask(service, "k").content == first.content
    assert len(service.logged()) == 1


def test_store_that_is_down_costs_the_promise_and_not_the_answer(service: Service) -> None:
    with service.store.writing() as connection:
        connection.exec_driver_sql("DROP TABLE idempotency_keys")
    answer = ask(service, "k")
    assert answer.status_code == 200
    assert answer.json()["placements"][0]["items"]
    assert "idempotency-key" not in answer.headers


def test_erasure_takes_the_kept_answers(service: Service) -> None:
    ask(service, "k")
    batch = {"events": [event("e1"), event("e2", customer_id="ben")]}
    headers = bearer(token_of(None)) | {"Idempotency-Key": "batch"}
    service.client.post("/v1/events", json=batch, headers=headers)
    service.app.state.services.log.flush()
    assert "idempotency_customers.customer_id" in find_customer(service.store, "anna")
    assert erase_customer(service.store, "anna")["idempotency_keys"] == 2
    assert find_customer(service.store, "anna") == []
    assert "idempotent-replayed" not in ask(service, "k").headers


@pytest.fixture
def answers(store: Store) -> IdempotencyStore:
    return IdempotencyStore(store)


def test_claim_is_one_attempts_until_its_lease_ends(answers: IdempotencyStore) -> None:
    first, second = Attempt("k" * 64, "r", "1"), Attempt("k" * 64, "r", "2")
    assert answers.claim(first, ["anna"], NOW, LEASE).standing is Standing.OURS
    assert answers.claim(second, ["anna"], NOW, LEASE).standing is Standing.UNDER_WAY
    assert answers.claim(Attempt("k" * 64, "other", "3"), [], NOW, LEASE).standing is Standing.OTHER_REQUEST
    later = NOW + timedelta(seconds=11)
    assert answers.claim(second, ["anna"], later, LEASE).standing is Standing.OURS
    answers.answer(first, b"too late", later)
    assert answers.claim(first, [], later, LEASE).standing is Standing.UNDER_WAY
    answers.answer(second, b"{}", later + timedelta(hours=1))
    assert answers.claim(first, [], later + timedelta(minutes=30), LEASE).answer == b"{}"
    answers.release(first)
    assert answers.claim(first, [], later, LEASE).standing is Standing.ANSWERED
    answers.release(second)
    assert answers.claim(first, [], later, LEASE).standing is Standing.OURS
