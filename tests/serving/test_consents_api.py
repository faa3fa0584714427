"""PUT /v1/customers/ID/consents: what a customer agrees to counts from the very next request on."""

from datetime import timedelta
from typing import Any

import pytest

from recsys.testing.tiny_scorer import NOW, SEGMENT, TEXT, asks_for
from serving.store.decisions import DecisionStore
from serving.testing import DAY, HISTORY_VIEW, Service, add_customer, confirm_facts, event, token_of
from serving.tokens import CONSENT, READ, WRITE

ALL = [{"name": "all", "kind": "products", "limit": 50}]
BANNER = [{"name": "banner", "kind": "contents", "limit": 3}]


def answer(purpose: str, granted: bool, **values: Any) -> dict[str, Any]:
    return {"purpose": purpose, "granted": granted, **values}


def put(service: Service, purpose: str, granted: bool, customer: str = "anna", **values: Any) -> Any:
    response = service.consent(customer, token_of(customer), answer(purpose, granted, **values))
    assert response.status_code == 200, response.text
    return response.json()


def ask(service: Service, customer: str = "anna", placements: Any = ALL) -> Any:
    return service.ask(customer, token_of(customer), placements=placements).json()


def products(service: Service, customer: str = "anna") -> list[str]:
    return [item["product_id"] for item in ask(service, customer)["placements"][0]["items"]]


def test_profiling_withdrawn_no_feature_is_read_from_the_next_request_on(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ask(service)["mode"] == "partial"
    put(service, "profiling", False)
    read: list[str] = []
    monkeypatch.setattr(service.features, "read_customer", lambda customer: read.append(customer))
    assert ask(service)["mode"] == "popular"
    assert not read


def test_profiling_refused_customers_of_equal_eligibility_get_the_same_whatever_they_did(service: Service) -> None:
    for name, product in (("bert", 0), ("cora", 10)):
        add_customer(service.store, name, "profiling")
        service.features.plain[name] = {SEGMENT: "young", TEXT: asks_for(product)}
        service.send(token_of(name), {**event(f"e-{name}", "click", f"p{product:02}"), "customer_id": name})
    assert products(service, "bert") == products(service, "cora")


def test_profiling_refused_events_are_stored_for_the_rules_and_become_no_feature(service: Service) -> None:
    put(service, "profiling", False)
    service.send(token_of("anna"), event("e1", "click", "p03"), event("e2", "dismiss", "p01"))
    assert not service.features.views
    assert "p01" not in products(service)
    put(service, "profiling", True, given_at=(NOW + timedelta(0)).isoformat())  # of one time the refusal stands
    assert ask(service)["mode"] == "popular"
    service.clock.now = NOW + timedelta(seconds=1)
    put(service, "profiling", True)
    service.send(token_of("anna"), event("e3", "click", "p04"))
    assert service.features.views[HISTORY_VIEW, "anna"]["event_ids"] == ["e3"]


def test_stranger_counts_as_a_refusal_until_he_agrees(service: Service) -> None:
    service.send(token_of("new"), {**event("e1"), "customer_id": "new"})
    assert not service.features.views
    assert ask(service, "new")["mode"] == "popular"
    put(service, "profiling", True, customer="new")
    service.send(token_of("new"), {**event("e2"), "customer_id": "new"})
    assert ask(service, "new")["mode"] == "partial"


def test_dataset_without_consents_allows_what_nobody_refused(service: Service) -> None:
    confirm_facts(service.store, keeps_consents=False)
    service.features.plain["free"] = {SEGMENT: "young"}
    assert ask(service, "free")["mode"] == "partial"
    put(service, "profiling", False, customer="free")
    assert ask(service, "free")["mode"] == "popular"


def test_text_analysis_withdrawn_the_modality_is_missing_from_the_next_request_on(service: Service) -> None:
    service.features.plain["anna"] = {SEGMENT: "young", TEXT: asks_for(0)}
    before = ask(service)
    assert "text" not in before["missing_modalities"]
    assert before["placements"][0]["items"][0]["product_id"] == "p00"
    put(service, "text_analysis", False)
    after = ask(service)
    assert (after["mode"], "text" in after["missing_modalities"]) == ("partial", True)
    assert after["placements"][0]["items"][0]["product_id"] == "p01"
    (_, last) = service.logged()
    assert TEXT not in (last.payload or "")


def test_image_analysis_withdrawn_nothing_of_pictures_is_read_from_the_next_request_on(service: Service) -> None:
    pictures = {"customer_images__n_images": 7, "customer_images__image_embedding": [0.25, 0.75]}
    service.features.plain["anna"] = {SEGMENT: "young", TEXT: asks_for(0), **pictures}
    ask(service)
    put(service, "image_analysis", False)
    after = ask(service)
    assert "text" not in after["missing_modalities"]
    digests = [decision.features_digest for decision in service.logged()]
    first, last = (str(DecisionStore(service.store).read_features(digest or "")) for digest in digests)
    assert all(name in first for name in pictures)
    assert "customer_images" not in last
    assert TEXT in last


def test_marketing_withdrawn_no_content_is_shown(service: Service) -> None:
    assert ask(service, placements=BANNER)["placements"][0]["items"]
    put(service, "marketing", False)
    assert not ask(service, placements=BANNER)["placements"][0]["items"]
    assert products(service)


def test_consents_answer_lists_what_holds_now(service: Service) -> None:
    put(service, "marketing", False, channel="email")
    body = put(service, "profiling", False)
    held = {(one["purpose"], one["channel"]): one["granted"] for one in body["consents"]}
    assert held[("marketing", "email")] is False
    assert held[("marketing", None)] is True
    assert held[("profiling", None)] is False


def test_consents_older_answer_changes_nothing(service: Service) -> None:
    put(service, "profiling", False, given_at=(NOW - 2 * DAY).isoformat())
    assert ask(service)["mode"] == "partial"


def test_consents_in_the_future_is_refused_and_nothing_is_stored(service: Service) -> None:
    later = answer("marketing", False, given_at=(NOW + timedelta(seconds=1)).isoformat())
    response = service.consent("anna", token_of("anna"), answer("profiling", False), later)
    assert response.status_code == 422
    assert response.json()["detail"] == "consents: given_at is in the future"
    assert ask(service)["mode"] == "partial"


@pytest.mark.parametrize(
    "body",
    [
        [],
        [answer("spying", True)],
        [answer("profiling", True), answer("profiling", False)],
        [{"purpose": "profiling"}],
        [answer("profiling", True, given_at="2026-01-01T00:00:00")],
        [answer("profiling", True, colour="red")],
    ],
)
def test_consents_malformed_body_is_refused(service: Service, body: list[dict[str, Any]]) -> None:
    response = service.consent("anna", token_of("anna"), *body)
    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"


def test_consents_of_another_customer_or_without_the_scope_are_forbidden(service: Service) -> None:
    assert service.consent("bert", token_of("anna"), answer("profiling", True)).status_code == 403
    assert service.consent("anna", token_of("anna", READ, WRITE), answer("profiling", True)).status_code == 403
    assert service.consent("bert", token_of(None, CONSENT), answer("profiling", True)).status_code == 200


def test_consents_store_down_is_unavailable(service: Service) -> None:
    with service.store.writing() as connection:
        connection.exec_driver_sql("ALTER TABLE consents RENAME TO gone")
    response = service.consent("anna", token_of("anna"), answer("profiling", True))
    assert response.status_code == 503
    assert response.headers["retry-after"] == "5"
