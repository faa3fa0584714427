"""POST /v1/recommendations: the answer, who may ask, and what happens when a part is broken."""

import errno
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import numpy as np
import orjson
import pytest

from recsys.policy.pack import load_pack
from recsys.schema import PolicyName
from recsys.testing.tiny_scorer import NOW, SEGMENT, TEXT, asks_for
from serving.journal import SUFFIX
from serving.ranked import unpack
from serving.store.database import StoreError
from serving.store.decisions import DecisionStore
from serving.testing import SIGNING_KEY, Service, add_customer, bearer, token_of
from serving.tokens import AUDIENCE, ISSUER, READ, WRITE

BOTH = [
    {"name": "home", "kind": "products", "limit": 3},
    {"name": "banner", "kind": "contents", "limit": 2},
]
PROBLEM = "application/problem+json"


def items(response: Any, place: int = 0) -> list[str]:
    return [item["content_id"] or item["product_id"] for item in response.json()["placements"][place]["items"]]


def test_recommend_customers_own_token_has_the_promised_shape(service: Service) -> None:
    response = service.ask("anna", token_of("anna"), placements=BOTH, channel="app", locale="en-GB")
    assert response.status_code == 200
    assert response.headers["cache-control"] == "private, no-store"
    body = response.json()
    assert body["request_id"] == response.headers["x-request-id"]
    assert body["mode"] == "partial"
    assert body["missing_modalities"] == ["history", "text"]
    assert body["suitability"] == "valid"
    assert body["locale_served"] == "en"
    assert body["versions"] == {
        "model": "test@1",
        "policy": f"bank@{load_pack(PolicyName.BANK).version}",
        "features": service.features.manifest.schema_hash,
    }
    assert datetime.fromisoformat(body["generated_at"]) == NOW
    assert [place["name"] for place in body["placements"]] == ["home", "banner"]
    first = body["placements"][0]["items"][0]
    names = {"rank", "product_id", "content_id", "title", "score", "reasons", "tracking_token", "campaign_id"}
    assert set(first) == names
    assert first["rank"] == 1
    evidence = {"view": "customer_profile", "feature": "", "value": ""}
    assert first["reasons"] == [{"code": "PROFILE", "text": "Fits customers like you", "evidence": evidence}]
    shown = [item["product_id"] for place in body["placements"] for item in place["items"]]
    assert len(shown) == len(set(shown)) == 5


def test_recommend_customers_token_needs_no_id_in_the_body(service: Service) -> None:
    assert items(service.ask(None, token_of("anna"))) == items(service.ask("anna", token_of("anna")))


def test_recommend_another_customers_id_is_forbidden(service: Service) -> None:
    response = service.ask("bert", token_of("anna"))
    assert response.status_code == 403
    assert response.headers["content-type"] == PROBLEM
    assert response.json()["detail"] == "this token answers for its own customer only"


def test_recommend_service_token_answers_for_all_and_needs_an_id(service: Service) -> None:
    assert service.ask("anna", token_of(None)).status_code == 200
    assert service.ask(None, token_of(None)).status_code == 422


def test_recommend_unknown_customer_gets_the_popular_list(service: Service) -> None:
    response = service.ask("nobody", token_of(None), placements=[{"name": "all", "kind": "products", "limit": 50}])
    assert response.json()["mode"] == "popular"
    assert items(response) == ["p06", "p03", "p00", "p10", "p07", "p04", "p01"]  # no fund for the unknown
    assert response.json()["placements"][0]["removed_count"] == 5


def test_recommend_level_lowered_counts_from_the_next_request(service: Service) -> None:
    add_customer(service.store, "dora", risk_level="C5")
    service.features.plain["dora"] = {SEGMENT: "affluent", TEXT: asks_for(11)}
    assert items(service.ask("dora", token_of("dora")))[0] == "p11"  # R4
    with service.store.writing() as connection:
        connection.exec_driver_sql("UPDATE customer_facts SET risk_level = 'C3' WHERE customer_id = 'dora'")
    assert "p11" not in items(service.ask("dora", token_of("dora")))


def test_recommend_expired_assessment_is_named(service: Service) -> None:
    add_customer(service.store, "eve", risk_assessed_at=NOW - timedelta(days=366))
    assert service.ask("eve", token_of("eve")).json()["suitability"] == "expired"


def test_recommend_feature_store_down_is_popular_and_lawful(service: Service) -> None:
    service.features.broken = True
    response = service.ask("anna", token_of("anna"))
    assert response.status_code == 200
    assert response.json()["mode"] == "popular"
    assert items(response) == ["p10", "p07", "p04"]
    metrics = service.client.get("/metrics").text
    assert 'recsys_dependency_failures_total{dependency="features"} 1.0' in metrics
    service.features.broken = False
    assert service.ask("anna", token_of("anna")).json()["mode"] == "partial"


def test_recommend_facts_unreadable_is_safe(service: Service) -> None:
    with service.store.writing() as connection:
        connection.exec_driver_sql("ALTER TABLE customer_facts RENAME TO gone")
    response = service.ask("anna", token_of("anna"), placements=[{"name": "all", "kind": "products", "limit": 50}])
    assert response.status_code == 200
    assert (response.json()["mode"], response.json()["suitability"]) == ("safe", "unreadable")
    assert not {"p02", "p05", "p08", "p11"} & set(items(response))


def test_recommend_stale_facts_are_safe(service: Service) -> None:
    limit = service.app.state.services.engine.model.pipeline.policy.pack.rule("DATA_STALE").max_age_hours
    service.clock.now = NOW + timedelta(hours=limit, seconds=1)
    response = service.ask("anna", token_of("anna"), placements=BOTH)
    assert response.json()["mode"] == "safe"
    assert items(response) == items(service.ask("nobody", token_of(None), placements=BOTH))


def test_recommend_decision_log_down_still_answers_and_keeps_the_decision(service: Service) -> None:
    rename(service, "decisions", "gone")
    body = service.ask("anna", token_of("anna")).json()
    with pytest.raises(StoreError):
        service.app.state.services.log.flush()
    rename(service, "gone", "decisions")
    assert [row.decision_id for row in service.logged()] == [body["decision_id"]]


def test_recommend_journal_full_goes_into_the_store_at_once(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    fill_disk(monkeypatch)
    body = service.ask("anna", token_of("anna")).json()
    assert [row.decision_id for row in DecisionStore(service.store).walk()] == [body["decision_id"]]
    assert 'dependency="decision_log"} 1.0' in service.client.get("/metrics").text


def test_recommend_that_can_be_recorded_nowhere_shows_nothing_and_says_why(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_disk(monkeypatch)
    rename(service, "decisions", "gone")
    response = service.ask("anna", token_of("anna"))
    body = response.json()
    assert (response.status_code, body["mode"], body["notice"]) == (200, "safe", "unrecorded")
    assert [place["items"] for place in body["placements"]] == [[]]
    assert 'recsys_answers_total{mode="safe"} 1.0' in service.client.get("/metrics").text
    monkeypatch.undo()
    rename(service, "gone", "decisions")
    body = service.ask("anna", token_of("anna")).json()
    assert (body["mode"], body["notice"]) == ("partial", None)
    assert len(service.logged()) == 1


def rename(service: Service, before: str, after: str) -> None:
    with service.store.writing() as connection:
        connection.exec_driver_sql(f"ALTER TABLE {before} RENAME TO {after}")


def fill_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk has room for half a line."""
    write = os.write

    def half(descriptor: int, content: Any) -> int:
        if not str(Path(f"/proc/self/fd/{descriptor}").readlink()).endswith(SUFFIX):
            return write(descriptor, content)
        write(descriptor, bytes(content[: len(content) // 2]))
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("serving.journal.os.write", half)


def test_recommend_decision_is_logged_with_all_that_it_was_made_from(service: Service) -> None:
    body = service.ask("anna", token_of("anna"), placements=BOTH, channel="app", locale="en").json()
    (row,) = service.logged()
    record, payload = orjson.loads(row.record), orjson.loads(row.payload or "")
    assert (row.sequence, row.decision_id, row.customer_id, row.created_at) == (1, body["decision_id"], "anna", NOW)
    assert (record["request_id"], record["mode"]) == (body["request_id"], "partial")
    assert {"model", "policy", "policy_sha256", "features", "catalogue", "program"} == set(record["versions"])
    for logged, answered in zip(record["placements"], body["placements"], strict=True):
        assert sum(logged["removals"].values()) == answered["removed_count"]
        for item, shown in zip(logged["items"], answered["items"], strict=True):
            assert {name: item[name] for name in ("rank", "product_id", "content_id")} == {
                name: shown[name] for name in ("rank", "product_id", "content_id")
            }
            assert (item["score"], item["propensity"]) == (shown["score"], 1.0)
            assert item["reasons"] == [reason["code"] for reason in shown["reasons"]]
    removing, scores = unpack(payload["candidates"]["home"])
    rules = [record["rule_ids"][rule] if rule >= 0 else None for rule in removing]
    assert rules[9] == "LIFE_PAUSED"
    assert len(scores) == len(rules) == 12
    assert [np.isnan(score) for score in scores] == [rule is not None for rule in rules]
    assert payload["request"]["placements"] == BOTH
    assert payload["facts"]["facts"]["risk_level"] == "C3"
    assert DecisionStore(service.store).read_features(row.features_digest or "") == {SEGMENT: "young"}
    assert "anna" not in row.record


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"placements": []}, "/body/placements"),
        ({"placements": None}, "/body/placements"),
        ({"placements": [{"name": "a", "kind": "films"}]}, "/body/placements/0/kind"),
        ({"placements": [{"name": "a", "kind": "products", "limit": 0}]}, "/body/placements/0/limit"),
        ({"placements": [{"name": "a", "kind": "products", "limit": 51}]}, "/body/placements/0/limit"),
        ({"placements": [{"name": "a", "kind": "products"}] * 2}, "/body"),
        ({"colour": "red"}, "/body/colour"),
        ({"customer_id": "a\u0000b"}, "/body/customer_id"),
        ({"customer_id": "x" * 129}, "/body/customer_id"),
        ({"locale": "not a locale"}, "/body/locale"),
    ],
)
def test_recommend_malformed_body_is_a_problem_with_a_pointer(
    service: Service, change: dict[str, Any], pointer: str
) -> None:
    body = {"customer_id": "anna", "placements": BOTH, **change}
    response = service.client.post("/v1/recommendations", json=body, headers=bearer(token_of(None)))
    assert response.status_code == 422
    assert response.headers["content-type"] == PROBLEM
    assert pointer in [error["pointer"] for error in response.json()["errors"]]
    assert set(response.json()["errors"][0]) == {"pointer", "detail"}  # never what was sent


@pytest.mark.parametrize("body", ["", "{", "nope", "[1, 2"])
def test_recommend_body_that_is_not_json_is_a_bad_request(service: Service, body: str) -> None:
    headers = {**bearer(token_of("anna")), "Content-Type": "application/json"}
    response = service.client.post("/v1/recommendations", content=body, headers=headers)
    assert response.status_code in (400, 422)
    assert response.headers["content-type"] == PROBLEM


def _forged(key: str = SIGNING_KEY, algorithm: str = "HS256", **changes: Any) -> str:
    now = datetime.now(UTC)
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "anna", "iat": now, "exp": now + timedelta(hours=1)}
    claims |= {"scope": READ, "customer_id": "anna"} | changes
    return jwt.encode({name: value for name, value in claims.items() if value is not None}, key, algorithm=algorithm)


@pytest.mark.parametrize(
    "token",
    [
        "nonsense",
        _forged(key="another-key-" + "y" * 40),
        _forged(algorithm="HS512"),
        _forged(key="", algorithm="none"),
        _forged(aud="another-api"),
        _forged(aud=None),
        _forged(iss="somebody"),
        _forged(exp=datetime.now(UTC) - timedelta(seconds=1)),
        _forged(exp=None),
        _forged(customer_id=7),
        _forged(customer_id=""),
    ],
)
def test_recommend_token_that_is_not_ours_is_unauthorised(service: Service, token: str) -> None:
    response = service.ask("anna", token)
    assert response.status_code == 401
    assert response.headers["content-type"] == PROBLEM
    assert response.headers["www-authenticate"].startswith("Bearer")
    assert response.json()["detail"] == "the bearer token is not valid"


def test_recommend_no_token_and_wrong_scope(service: Service) -> None:
    assert service.client.post("/v1/recommendations", json={"placements": BOTH}).status_code == 401
    response = service.ask("anna", token_of("anna", WRITE))
    assert response.status_code == 403
    assert READ in response.json()["detail"]


def test_unknown_path_and_method_are_problems(service: Service) -> None:
    for response, status in ((service.client.get("/nope"), 404), (service.client.get("/v1/recommendations"), 405)):
        assert response.status_code == status
        assert response.headers["content-type"] == PROBLEM


def test_failure_of_our_own_is_a_problem_without_internals(service: Service) -> None:
    service.app.state.services.models._current = None
    response = service.ask("anna", token_of("anna"))
    assert response.status_code == 500
    assert response.headers["content-type"] == PROBLEM
    assert "NoneType" not in response.text


def test_request_id_of_the_client_is_kept_if_harmless(service: Service) -> None:
    assert service.client.get("/livez", headers={"X-Request-Id": "abc-1"}).headers["x-request-id"] == "abc-1"
    assert (
        service.client.get("/livez", headers={"X-Request-Id": "a b<script>"}).headers["x-request-id"] != "a b<script>"
    )
