"""What every request passes: headers, limits, scopes, and in local mode the door to other machines."""

import re
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from serving.settings import Mode, Settings
from serving.testing import SIGNING_KEY, Service, bearer, event, token_of
from serving.tokens import AUDIT, CATALOGUE, CONSENT, READ, WRITE
from tests.serving.identity_provider import AUDIENCE, ISSUER, Key, Provider
from tests.serving.running import running

ALWAYS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "cache-control": "private, no-store",
    "cross-origin-resource-policy": "same-origin",
    "api-version": "1.0.0",
}
PLACES = [{"name": "home", "kind": "products", "limit": 1}]
KEY = Key("rsa-1")


@contextmanager
def serving(at: Path, **changes: Any) -> Iterator[Service]:
    settings = Settings(**{"home": at, "secret": SIGNING_KEY, "read_timeout_ms": 10_000, **changes})
    with running(settings, "anna", "ben") as service:
        yield service


def production(tmp_path: Path, **changes: Any) -> dict[str, Any]:
    file = tmp_path / "keys.json"
    file.write_bytes(Provider(KEY).document())
    given = {"mode": Mode.PRODUCTION, "jwks_file": file, "token_issuer": ISSUER, "token_audience": AUDIENCE}
    return {**given, "secret": "a-secret-of-the-bank-0123456789-abcdef", **changes}


# -- headers


def test_every_answer_has_the_security_headers(service: Service) -> None:
    token = token_of("anna")
    answers = [
        service.ask("anna", token),
        service.ask("ben", token),
        service.ask("anna", "nonsense"),
        service.send(token, event("e1")),
        service.consent("anna", token, {"purpose": "profiling", "granted": True}),
        service.client.get("/livez"),
        service.client.get("/metrics"),
        service.client.get("/nowhere"),
        service.client.delete("/v1/events"),
        service.client.post("/v1/events", content=b"{", headers={**bearer(token), "Content-Type": "application/json"}),
        service.client.post("/v1/events", content=b"x" * 3_000_000, headers=bearer(token)),
        service.client.get("/v1/audit/why-not", params={"customer_id": "anna", "product_id": "p03"}),
    ]
    service.app.state.services.models._current = None
    answers.append(service.ask("anna", token))
    assert [answer.status_code for answer in answers] == [
        200, 403, 401, 200, 200, 200, 200, 404, 405, 400, 413, 401, 500
    ]  # fmt: skip
    for answer in answers:
        assert {name: answer.headers.get(name) for name in ALWAYS} == ALWAYS, answer.request.url
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"])
        assert "strict-transport-security" not in answer.headers
        assert "deprecation" not in answer.headers


def test_production_answers_ask_for_tls_and_hide_what_only_operators_need(tmp_path: Path) -> None:
    with serving(tmp_path, **production(tmp_path)) as service:
        assert service.ask("anna", KEY.sign()).headers["strict-transport-security"].startswith("max-age=")
        for path in ("/docs", "/redoc", "/openapi.json"):
            assert service.client.get(path).status_code == 404
        assert service.client.get("/metrics").status_code == 401
        assert service.client.get("/metrics", headers=bearer(KEY.sign())).status_code == 403
        operator = KEY.sign(customer_id=None, scope="metrics:read")
        assert "recsys_answers" in service.client.get("/metrics", headers=bearer(operator)).text
        assert service.client.get("/livez").status_code == 200
        assert service.client.get("/readyz").status_code == 200
    with serving(tmp_path / "two", **production(tmp_path, docs=True, metrics_open=True)) as service:
        assert service.client.get("/openapi.json").status_code == 200
        assert service.client.get("/metrics").status_code == 200


# -- local mode


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "192.0.2.9:8000", "[2001:db8::1]:80"])
def test_local_mode_answers_under_its_own_names_only(service: Service, host: str) -> None:
    assert service.client.get("/livez", headers={"Host": host}).status_code == 421
    for own in ("127.0.0.1:8000", "localhost", "[::1]:8000"):
        assert service.client.get("/livez", headers={"Host": own}).status_code == 200


def test_local_mode_answers_no_other_machine(service: Service) -> None:
    for client, status in ((("192.0.2.9", 7), 421), (("127.0.0.1", 7), 200), (("::1", 7), 200)):
        with TestClient(service.app, client=client) as elsewhere:
            assert elsewhere.get("/livez").status_code == status


def test_production_answers_any_host(tmp_path: Path) -> None:
    with serving(tmp_path, **production(tmp_path)) as service:
        assert service.client.get("/livez", headers={"Host": "api.bank.example"}).status_code == 200


# -- bodies


def test_body_that_is_too_long_is_refused_whether_it_says_so_or_not(tmp_path: Path) -> None:
    token = bearer(token_of(None)) | {"Content-Type": "application/json"}
    with serving(tmp_path, max_body_kb=4) as service:

        def pieces(size: int) -> Iterator[bytes]:
            for _ in range(size):
                yield b" " * 1024

        def post(body: Any) -> Any:
            return service.client.post("/v1/recommendations", content=body, headers=token)

        for body in (b" " * 4097, pieces(5)):
            answer = post(body)
            assert answer.status_code == 413
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["detail"] == "the body is longer than 4096 bytes"
        for body in (b" " * 4096, pieces(4)):
            assert post(body).status_code == 400
        picture = b'{"name": "x", "status": "live", "picture": "' + b"A" * 8192 + b'"}'
        put = service.client.put("/v1/catalogue/products/p1", content=picture, headers=token)
        assert put.status_code == 422
        long = service.client.put("/v1/catalogue/products/p1", content=b" " * ((8 << 20) + 1), headers=token)
        assert long.status_code == 413


# -- rates


def test_rate_limit_of_a_customer_holds_for_him_only_and_ends(tmp_path: Path) -> None:
    now = 1_000_000_040.0
    with serving(tmp_path, rate_limit_customer=3) as service:
        service.app.state.services.limiter._clock = lambda: now
        for left in (2, 1, 0):
            answer = service.ask("anna", token_of("anna"))
            assert answer.status_code == 200
            assert answer.headers["ratelimit"] == f'"customer";r={left};t=40'
            assert answer.headers["ratelimit-policy"] == '"customer";q=3;w=60'
        refused = service.ask("anna", token_of("anna"))
        assert refused.status_code == 429
        assert refused.headers["retry-after"] == "40"
        assert refused.headers["ratelimit"] == '"customer";r=0;t=40'
        assert refused.headers["content-type"] == "application/problem+json"
        by_service = service.ask("anna", token_of(None))
        assert by_service.status_code == 429
        assert service.send(token_of("anna"), event("e1")).status_code == 429
        assert service.ask("ben", token_of("ben")).status_code == 200
        now += 41
        assert service.ask("anna", token_of("anna")).status_code == 200


def test_rate_limit_of_a_client_counts_all_that_it_asks(tmp_path: Path) -> None:
    with serving(tmp_path, rate_limit_client=4, rate_limit_seconds=3_600) as service:
        token = token_of(None)
        answers = [service.ask(who, token) for who in ("anna", "ben", "anna")]
        answers += [service.send(token, event("e1")), service.ask("ben", token)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 200, 429]
        assert '"client";r=1;' in answers[2].headers["ratelimit"]
        assert '"customer";r=' in answers[2].headers["ratelimit"]
        assert service.ask("anna", token_of("anna")).status_code == 200


@pytest.fixture
def redis_port() -> Iterator[tuple[int, Any]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    call = ["redis-server", "--port", str(port), "--save", "", "--appendonly", "no"]
    server = subprocess.Popen(call, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 10
    while socket.socket().connect_ex(("127.0.0.1", port)):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    yield port, server
    server.kill()
    server.wait()


def test_rate_limit_in_redis_holds_across_workers_and_lets_requests_pass_while_it_is_down(
    tmp_path: Path, redis_port: tuple[int, Any]
) -> None:
    port, server = redis_port
    given = {"rate_limit_customer": 3, "rate_limit_seconds": 3_600, "rate_limit_redis_url": f"redis://127.0.0.1:{port}"}
    with serving(tmp_path / "one", **given) as one, serving(tmp_path / "two", **given) as two:
        token = token_of("anna")
        asked = [worker.ask("anna", token).status_code for worker in (one, two, one, two, one)]
        assert asked == [200, 200, 200, 429, 429]
        keys = subprocess.run(
            ["redis-cli", "-p", str(port), "--scan"], capture_output=True, text=True, check=True
        ).stdout
        assert keys.startswith("recsys")
        assert "anna" not in keys
        server.kill()
        server.wait()
        while_down = [one.ask("anna", token) for _ in range(4)]
        assert [answer.status_code for answer in while_down] == [200, 200, 200, 429]
        assert 'recsys_dependency_up{dependency="rate_limits"} 0.0' in one.client.get("/metrics").text


# -- scopes


def operations(service: Service) -> Iterator[tuple[str, str, dict[str, Any]]]:
    document = service.client.get("/openapi.json").json()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


OPEN = {"/livez", "/readyz", "/metrics"}
"""Without a token; `/metrics` in local mode only."""
SCOPE_OF = {
    "/v1/recommendations": READ,
    "/v1/decisions": READ,
    "/v1/events": WRITE,
    "/v1/customers": CONSENT,
    "/v1/audit": AUDIT,
}
BODIES: dict[str, Any] = {
    "/v1/recommendations": lambda who: {"customer_id": who, "placements": PLACES},
    "/v1/events": lambda who: {"events": [event("e1", customer_id=who)]},
    "/v1/customers/{customer_id}/consents": lambda who: {"consents": [{"purpose": "profiling", "granted": True}]},
}


def call(service: Service, method: str, path: str, who: str, token: str | None) -> Any:
    filled = path.replace("{customer_id}", who)
    filled = re.sub(r"\{\w+\}", "p03", filled)
    query = {"customer_id": who, "product_id": "p03"} if path.startswith("/v1/audit") else {}
    body = BODIES[path](who) if path in BODIES else None
    headers = {} if token is None else bearer(token)
    return service.client.request(method.upper(), filled, params=query, json=body, headers=headers)


def test_every_route_needs_a_token_and_its_scope(service: Service) -> None:
    walked = 0
    for method, path, operation in operations(service):
        if path in OPEN:
            continue
        walked += 1
        assert call(service, method, path, "anna", None).status_code == 401, path
        assert operation["security"], path
        assert {"401", "403", "429"} <= set(operation["responses"]), path
        nothing = call(service, method, path, "anna", token_of("anna", "other:scope"))
        assert nothing.status_code == 403, path
        assert "lacks the scope" in nothing.json()["detail"], path
    assert walked >= 7


def test_every_route_that_names_a_customer_refuses_anothers_token(service: Service) -> None:
    walked = []
    for method, path, operation in operations(service):
        if not _takes_customer(service, path, operation):
            continue
        walked.append(path)
        wrong = call(service, method, path, "ben", token_of("anna"))
        assert wrong.status_code == 403, path
        if path.startswith("/v1/audit"):
            continue  # not even about himself
        assert call(service, method, path, "anna", token_of("anna")).status_code == 200, path
    assert set(BODIES) <= set(walked)
    assert {"/v1/audit/why-not", "/v1/audit/explain"} <= set(walked)


def _takes_customer(service: Service, path: str, operation: dict[str, Any]) -> bool:
    """By a parameter, or somewhere in its body's schema."""
    if any(parameter["name"] == "customer_id" for parameter in operation.get("parameters", ())):
        return True
    document = service.client.get("/openapi.json").json()
    seen: set[str] = set()
    todo = [operation.get("requestBody", {})]
    while todo:
        part = todo.pop()
        if isinstance(part, dict):
            if "customer_id" in part.get("properties", {}):
                return True
            name = part.get("$ref", "")
            if name and name not in seen:
                seen.add(name)
                todo.append(document["components"]["schemas"][name.rpartition("/")[2]])
            todo.extend(part.values())
        elif isinstance(part, list):
            todo.extend(part)
    return False


def test_staff_routes_do_not_open_to_a_customer_with_their_scope(service: Service) -> None:
    for path in ("/v1/audit/why-not", "/v1/audit/explain"):
        assert call(service, "get", path, "anna", token_of("anna", AUDIT)).status_code == 403
    put = service.client.put("/v1/catalogue/products/p1", json={}, headers=bearer(token_of("anna", CATALOGUE)))
    assert put.status_code in (403, 422)
