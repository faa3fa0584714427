"""GET /v1/audit/why-not: every rule that keeps a product from a customer, for staff only."""

from typing import Any

from recsys.testing.tiny_scorer import NOW
from serving.testing import Service, add_customer, bearer, event, token_of
from serving.tokens import AUDIT, READ


def ask(service: Service, customer: str, product: str, token: str | None = None, **query: str) -> Any:
    values = {"customer_id": customer, "product_id": product, **query}
    return service.client.get("/v1/audit/why-not", params=values, headers=bearer(token or token_of(None)))


def rules(service: Service, customer: str, product: str) -> list[str]:
    return [rule["rule"] for rule in ask(service, customer, product).json()["rules"]]


def test_why_not_product_that_may_be_shown_has_no_rule(service: Service) -> None:
    body = ask(service, "anna", "p01").json()
    assert (body["rules"], body["suitability"]) == ([], "valid")


def test_why_not_names_every_rule_with_its_source_not_the_first_only(service: Service) -> None:
    add_customer(service.store, "carl", risk_level="C1")
    service.send(token_of("carl"), {**event("e1", "dismiss", "p11"), "customer_id": "carl"})
    body = ask(service, "carl", "p11").json()
    named = {rule["rule"]: rule for rule in body["rules"]}
    assert {"ELIG_DECLINED", "SUIT_RISK"} <= set(named)
    assert all(rule["source"] and rule["effective_from"] for rule in named.values())
    assert body["judged_at"] == NOW.isoformat().replace("+00:00", "Z")


def test_why_not_agrees_with_what_is_shown(service: Service) -> None:
    placements = [{"name": "all", "kind": "products", "limit": 50}]
    for customer in ("anna", "nobody"):
        answer = service.ask(customer, token_of(customer), placements=placements).json()
        shown = {item["product_id"] for item in answer["placements"][0]["items"]}
        assert shown == {f"p{number:02}" for number in range(12) if not rules(service, customer, f"p{number:02}")}


def test_why_not_is_for_staff_only(service: Service) -> None:
    assert ask(service, "anna", "p01", token_of("anna")).status_code == 403
    assert ask(service, "anna", "p01", token_of(None, READ)).status_code == 403
    assert ask(service, "anna", "p01", token_of(None, AUDIT)).status_code == 200
    path = "/v1/audit/why-not?customer_id=anna&product_id=p01"
    assert service.client.get(path).status_code == 401


def test_why_not_bad_question_is_a_problem(service: Service) -> None:
    assert ask(service, "anna", "gone").status_code == 404
    assert ask(service, "", "p01").status_code == 422
    with service.store.writing() as connection:
        connection.exec_driver_sql("ALTER TABLE customer_facts RENAME TO away")
    assert ask(service, "anna", "p01").status_code == 503
