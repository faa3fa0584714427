"""GET /v1/audit/explain: what adds up to a score, for staff only."""

from typing import Any

import pytest

from recsys.testing.tiny_scorer import HISTORY, SEGMENT, TEXT, asks_for
from serving.testing import Service, add_customer, bearer, token_of
from serving.tokens import AUDIT, READ

ROW = {SEGMENT: "young", HISTORY: ["p01"], TEXT: asks_for(4)}


def ask(service: Service, customer: str, product: str, token: str | None = None) -> Any:
    values = {"customer_id": customer, "product_id": product}
    return service.client.get("/v1/audit/explain", params=values, headers=bearer(token or token_of(None)))


def parts(body: dict[str, Any]) -> dict[str, float]:
    return {part["group"]: part["value"] for part in body["contributions"]}


def test_explain_contributions_add_up_to_the_score_that_is_served(service: Service) -> None:
    service.features.plain["anna"] = ROW
    body = ask(service, "anna", "p04").json()
    shown = service.ask("anna", token_of("anna")).json()["placements"][0]["items"][0]
    assert (shown["product_id"], shown["score"]) == ("p04", body["score"])
    assert shown["reasons"] == body["reasons"]
    assert set(parts(body)) == {"item", "profile", "history", "text"}
    assert sum(parts(body).values()) == pytest.approx(body["score"] - body["average"], abs=1e-6)
    assert (body["mode"], body["allowed"], body["ranker"]) == ("personalised", True, [])


def test_explain_product_that_a_rule_removes_is_explained_without_reasons(service: Service) -> None:
    body = ask(service, "anna", "p11").json()
    assert (body["allowed"], body["reasons"]) == (False, [])
    assert sum(parts(body).values()) == pytest.approx(body["score"] - body["average"], abs=1e-6)


def test_explain_who_refused_profiling_is_explained_by_popularity_alone(service: Service) -> None:
    add_customer(service.store, "bert", "profiling")
    service.features.plain["bert"] = ROW
    body = ask(service, "bert", "p04").json()
    assert (body["mode"], list(parts(body))) == ("popular", ["item"])
    assert body["score"] == 4.0  # what everybody likes, not his segment


def test_explain_text_that_may_not_be_analysed_adds_nothing(service: Service) -> None:
    add_customer(service.store, "cleo", "text_analysis")
    service.features.plain["cleo"] = ROW
    assert "text" not in parts(ask(service, "cleo", "p04").json())


def test_explain_is_for_staff_only(service: Service) -> None:
    assert ask(service, "anna", "p01", token_of("anna")).status_code == 403
    assert ask(service, "anna", "p01", token_of(None, READ)).status_code == 403
    answer = ask(service, "anna", "p01", token_of(None, AUDIT))
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "private, no-store")
    assert service.client.get("/v1/audit/explain?customer_id=anna&product_id=p01").status_code == 401


def test_explain_bad_question_or_dead_store_is_a_problem(service: Service) -> None:
    assert ask(service, "anna", "p99").status_code == 404
    assert service.client.get("/v1/audit/explain", headers=bearer(token_of(None))).status_code == 422
    service.features.broken = True
    answer = ask(service, "anna", "p01")
    assert (answer.status_code, answer.json()["detail"]) == (503, "the features cannot be read")
    with service.store.writing() as connection:
        connection.exec_driver_sql("DROP TABLE customer_facts")
    assert ask(service, "anna", "p01").json()["detail"] == "the facts cannot be read"
