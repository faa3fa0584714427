"""POST /v1/events: once each, durable, and known to the next answer."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from recsys.home import Home
from recsys.privacy.suppression import SuppressionList
from recsys.testing.tiny_scorer import NOW
from serving.settings import Settings
from serving.store.tables import events, holdings
from serving.testing import BEHAVIOUR_VIEW, HISTORY_VIEW, Service, add_customer, bearer, event, token_of
from serving.tokens import READ, Shown, TrackingSigner

ALL = [{"name": "all", "kind": "products", "limit": 50}]


def stored(service: Service) -> int:
    with service.store.reading() as connection:
        return int(connection.scalar(select(func.count()).select_from(events)) or 0)


def products(service: Service, customer_id: str = "anna") -> list[str]:
    response = service.ask(customer_id, token_of(customer_id), placements=ALL)
    return [item["product_id"] for item in response.json()["placements"][0]["items"]]


def statuses(response: Any) -> list[str]:
    assert response.status_code == 200, response.text
    return [result["status"] for result in response.json()["results"]]


def test_events_click_changes_the_next_answer(service: Service) -> None:
    assert products(service)[0] == "p01"  # `young` likes cards
    assert statuses(service.send(token_of("anna"), event("e1", "click", "p03"))) == ["accepted"]
    answer = service.ask("anna", token_of("anna")).json()
    assert answer["missing_modalities"] == ["text"]
    assert answer["placements"][0]["items"][0]["product_id"] == "p00"  # savings, like p03
    assert answer["placements"][0]["items"][0]["reasons"][0]["text"] == "Similar to what you used: Product 3"
    assert service.features.views[HISTORY_VIEW, "anna"]["event_ids"] == ["e1"]
    assert service.features.views[BEHAVIOUR_VIEW, "anna"]["n_click_7d"] == 1.0


def test_events_conversion_makes_a_holding_and_removes_the_product(service: Service) -> None:
    service.send(token_of("anna"), event("e1", "convert", "p01"))
    assert "p01" not in products(service)
    with service.store.reading() as connection:
        row = connection.execute(select(holdings)).mappings().one()
    assert (row["customer_id"], row["product_id"], row["opened_at"]) == ("anna", "p01", NOW)


def test_events_conversion_of_repeatable_product_keeps_it(service: Service) -> None:
    service.send(token_of("anna"), event("e1", "convert", "p04"))
    assert "p04" in products(service)


def test_events_dismissal_removes_the_product_until_the_cool_off_ends(service: Service) -> None:
    service.send(token_of("anna"), event("e1", "dismiss", "p01"))
    assert "p01" not in products(service)
    service.clock.now = NOW + timedelta(days=29)
    assert "p01" not in products(service)
    service.clock.now = NOW + timedelta(days=30)
    assert "p01" in products(service)


def test_events_older_dismissal_does_not_shorten_the_cool_off(service: Service) -> None:
    service.send(token_of("anna"), event("e1", "dismiss", "p01"))
    service.send(
        token_of("anna"),
        event("e2", "dismiss", "p01", event_timestamp=(NOW - timedelta(days=20)).isoformat()),
    )
    service.clock.now = NOW + timedelta(days=29)
    assert "p01" not in products(service)


def test_events_sent_again_count_once(service: Service) -> None:
    first = service.send(token_of("anna"), event("e1"), event("e2"), event("e1"))
    assert statuses(first) == ["accepted", "accepted", "duplicate"]
    again = service.send(token_of("anna"), event("e1"), event("e3"))
    assert statuses(again) == ["duplicate", "accepted"]
    assert (again.json()["accepted"], again.json()["duplicate"], again.json()["rejected"]) == (1, 1, 0)
    assert stored(service) == 3
    assert service.features.views[BEHAVIOUR_VIEW, "anna"]["n_total"] == 3.0
    assert sorted(service.features.views[HISTORY_VIEW, "anna"]["event_ids"]) == ["e1", "e2", "e3"]


def test_events_late_ones_take_their_place_in_time(service: Service) -> None:
    service.send(token_of("anna"), event("e1"))
    late = (NOW - timedelta(hours=70)).isoformat()
    assert statuses(service.send(token_of("anna"), event("e0", event_timestamp=late))) == ["accepted"]
    assert service.features.views[HISTORY_VIEW, "anna"]["event_ids"] == ["e0", "e1"]


def test_events_content_brings_its_product(service: Service) -> None:
    service.send(token_of("anna"), event("e1", "convert", None, content_id="p01-a"))
    assert "p01" not in products(service)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"event_type": "stroll"}, "unknown event_type"),
        ({"event_timestamp": (NOW + timedelta(seconds=301)).isoformat()}, "event_timestamp is in the future"),
        (
            {"event_timestamp": (NOW - timedelta(hours=72, seconds=1)).isoformat()},
            "event_timestamp is more than 72 hours ago",
        ),
        ({"product_id": None}, "product_id or content_id is required"),
        ({"product_id": "gone"}, "unknown product_id"),
        ({"content_id": "gone"}, "unknown content_id"),
        ({"content_id": "p04-a"}, "content_id is of another product"),
        ({"tracking_token": "forged"}, "tracking_token was not issued to this customer"),
        ({"tracking_token": "é"}, "tracking_token was not issued to this customer"),
        ({"tracking_token": ""}, "tracking_token was not issued to this customer"),
    ],
)
def test_events_bad_one_is_rejected_and_the_others_are_taken(
    service: Service, change: dict[str, Any], reason: str
) -> None:
    response = service.send(token_of("anna"), event("e1"), event("bad", **change), event("e2"))
    assert statuses(response) == ["accepted", "rejected", "accepted"]
    assert response.json()["results"][1]["reason"] == reason
    assert stored(service) == 2


def test_events_of_an_erased_customer_are_refused_from_the_next_batch_on(service: Service, settings: Settings) -> None:
    erased = SuppressionList(Home(settings.home))
    erased.add("somebody")
    assert statuses(service.send(token_of("anna"), event("e1"))) == ["accepted"]
    erased.add("anna")
    response = service.send(token_of("anna"), event("e2"))
    assert statuses(response) == ["rejected"]
    assert response.json()["results"][0]["reason"] == "the customer was erased"
    assert stored(service) == 1


def test_events_where_nobody_knows_who_was_erased_nothing_is_stored(service: Service, settings: Settings) -> None:
    erased = SuppressionList(Home(settings.home))
    erased.add("somebody")
    erased.file.write_text("damaged\n")
    response = service.send(token_of("anna"), event("e1"))
    assert response.status_code == 503
    assert "privacy" not in response.text
    assert stored(service) == 0


def test_events_tracking_token_of_a_decision_that_was_never_made_is_rejected(service: Service) -> None:
    forged = TrackingSigner("another key" * 4).sign(Shown("d1", "p03", None, "home", 1), "anna")
    response = service.send(token_of("anna"), event("e1", tracking_token=forged))
    assert statuses(response) == ["rejected"]
    assert stored(service) == 0


def test_events_clock_a_little_ahead_counts_as_now(service: Service) -> None:
    ahead = (NOW + timedelta(seconds=200)).isoformat()
    assert statuses(service.send(token_of("anna"), event("e1", "convert", "p01", event_timestamp=ahead))) == [
        "accepted"
    ]
    assert "p01" not in products(service)


def test_events_tracking_token_ties_the_event_to_its_decision(service: Service) -> None:
    answer = service.ask("anna", token_of("anna")).json()
    item = answer["placements"][0]["items"][1]
    sent = event("e1", "click", None, tracking_token=item["tracking_token"])
    assert statuses(service.send(token_of("anna"), sent)) == ["accepted"]
    with service.store.reading() as connection:
        row = connection.execute(select(events)).mappings().one()
    assert (row["decision_id"], row["product_id"]) == (answer["decision_id"], item["product_id"])
    assert (row["position"], row["placement"]) == (2, "home")


def test_events_tracking_token_of_another_customer_or_item_is_rejected(service: Service) -> None:
    add_customer(service.store, "bert")
    token = service.ask("anna", token_of("anna")).json()["placements"][0]["items"][0]["tracking_token"]
    foreign = {**event("e1", tracking_token=token), "customer_id": "bert"}
    assert statuses(service.send(token_of("bert"), foreign)) == ["rejected"]
    assert statuses(service.send(token_of("anna"), event("e2", product_id="p06", tracking_token=token))) == ["rejected"]


def test_tracking_signer_changed_token_is_not_read() -> None:
    signer = TrackingSigner("k" * 40)
    shown = Shown("d1", "p1", None, "home", 3)
    token = signer.sign(shown, "anna")
    assert signer.read(token, "anna") == shown
    assert signer.read(token, "bert") is None
    assert TrackingSigner("j" * 40).read(token, "anna") is None
    changed = [
        token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :] for place in range(len(token) - 1)
    ]
    assert all(signer.read(one, "anna") is None for one in changed)
    assert "anna" not in token


def test_events_another_customers_event_is_forbidden_and_nothing_is_stored(service: Service) -> None:
    response = service.send(token_of("anna"), event("e1"), {**event("e2"), "customer_id": "bert"})
    assert response.status_code == 403
    assert stored(service) == 0


def test_events_wrong_scope_is_forbidden(service: Service) -> None:
    assert service.send(token_of("anna", READ), event("e1")).status_code == 403


@pytest.mark.parametrize(
    "body",
    [
        {"events": []},
        {"events": [event(f"e{number}") for number in range(501)]},
        {"events": [{**event("e1"), "event_timestamp": "2026-06-01T12:00:00"}]},
        {"events": [{**event("e1"), "event_timestamp": "yesterday"}]},
        {"events": [{**event("e1"), "colour": "red"}]},
        {"events": [{"event_id": "e1"}]},
        {},
    ],
)
def test_events_malformed_body_is_refused_and_nothing_is_stored(service: Service, body: Any) -> None:
    response = service.client.post("/v1/events", json=body, headers=bearer(token_of("anna")))
    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"
    assert stored(service) == 0


@pytest.mark.parametrize("body", [[event("e1")], event("e1")])
def test_events_bare_list_and_single_event_are_taken(service: Service, body: Any) -> None:
    assert statuses(service.client.post("/v1/events", json=body, headers=bearer(token_of("anna")))) == ["accepted"]


def test_events_full_batch_of_a_service(service: Service) -> None:
    batch = [{**event(f"e{number}"), "customer_id": f"c{number % 50}"} for number in range(500)]
    assert statuses(service.send(token_of(None), *batch)) == ["accepted"] * 500
    assert stored(service) == 500


def test_events_sql_down_is_unavailable_with_retry_after(service: Service) -> None:
    with service.store.writing() as connection:
        connection.exec_driver_sql("ALTER TABLE events RENAME TO gone")
    response = service.send(token_of("anna"), event("e1"))
    assert response.status_code == 503
    assert response.headers["retry-after"] == "5"
    assert response.headers["content-type"] == "application/problem+json"


def test_events_feature_store_down_rules_know_and_the_rest_is_applied_later(service: Service) -> None:
    service.features.broken = True
    assert statuses(service.send(token_of("anna"), event("e1", "convert", "p01"))) == ["accepted"]
    assert "p01" not in products(service)
    service.features.broken = False
    assert not service.features.views
    assert statuses(service.send(token_of("anna"), event("e2", "click", "p03"))) == ["accepted"]
    assert service.features.views[HISTORY_VIEW, "anna"]["event_ids"] == ["e1", "e2"]


def test_events_pending_after_a_crash_are_applied_once_at_the_start(service: Service) -> None:
    service.features.broken = True
    service.send(token_of("anna"), event("e1"))
    service.features.broken = False
    service.app.state.services.ingestor.apply_all_pending()
    service.app.state.services.ingestor.apply_all_pending()
    assert service.features.views[BEHAVIOUR_VIEW, "anna"]["n_total"] == 1.0
