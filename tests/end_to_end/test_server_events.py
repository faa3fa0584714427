"""What events, consents and audits do to the real server, the next answer and the command line."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from serving.features import OnlineFeatures
from serving.tokens import AUDIT
from tests.end_to_end.live import ALL, Live, event
from tests.trained_bank import TrainedBank, run


def test_server_click_counts_once_and_reaches_the_online_history(live: Live, known: Iterator[str]) -> None:
    customer = next(known)
    item = live.ask(customer)["placements"][0]["items"][0]
    before = OnlineFeatures(live.server.home).read_customer(customer) or {}
    click = event(customer, "click-1", "click", item["product_id"], tracking_token=item["tracking_token"])
    assert [result["status"] for result in live.send(click, click)] == ["accepted", "duplicate"]
    assert [result["status"] for result in live.send(click)] == ["duplicate"]
    after = OnlineFeatures(live.server.home).read_customer(customer) or {}
    assert "click-1" not in (before.get("customer_history__event_ids") or [])
    assert after["customer_history__event_ids"].count("click-1") == 1
    assert after["customer_history__product_ids"][-1] == item["product_id"]
    assert after["customer_behaviour__n_total"] == (before.get("customer_behaviour__n_total") or 0) + 1


def test_server_clicks_change_the_next_answer(live: Live, known: Iterator[str]) -> None:
    customer = next(known)
    before = live.ask(customer, ALL)["placements"][0]["items"]
    last = before[-1]["product_id"]
    live.send(*(event(customer, f"change-{number}", "click", last) for number in range(3)))
    after = live.ask(customer, ALL)["placements"][0]["items"]
    assert {item["product_id"]: item["score"] for item in after} != {
        item["product_id"]: item["score"] for item in before
    }


def test_server_stranger_who_agrees_and_clicks_is_known_to_the_next_answer(live: Live) -> None:
    product = live.products("newcomer")[0]
    assert live.ask("newcomer")["mode"] == "popular"
    live.agree("newcomer", "profiling")
    assert live.send(event("newcomer", "first-click", "click", product))[0]["status"] == "accepted"
    answer = live.ask("newcomer")
    assert answer["mode"] == "partial"
    assert "history" not in answer["missing_modalities"]


def test_server_stranger_who_agreed_to_nothing_becomes_no_feature(live: Live) -> None:
    product = live.products("silent")[0]
    assert live.send(event("silent", "silent-click", "click", product))[0]["status"] == "accepted"
    assert live.ask("silent")["mode"] == "popular"
    assert OnlineFeatures(live.server.home).read_customer("silent") is None


def test_server_consent_withdrawn_counts_from_the_very_next_answer(live: Live, known: Iterator[str]) -> None:
    customer = next(known)
    live.agree(customer, "profiling", "marketing")
    before = live.ask(customer)
    assert before["mode"] != "popular"
    assert before["placements"][2]["items"]
    live.agree(customer, "profiling", "marketing", granted=False)
    answer = live.ask(customer)
    assert answer["mode"] == "popular"
    assert not answer["placements"][2]["items"]
    live.server.kill()
    live.server.start()
    assert live.ask(customer)["mode"] == "popular"


def test_server_decisions_replay_to_the_identical_answer(
    live: Live, answers: dict[str, dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    live.server.kill()  # what it answered is in its journal, or in the store
    live.server.start()
    assert run("--home", live.server.home, "audit", "verify", "--json") == 0
    assert json.loads(capsys.readouterr().out)["rows"] >= len(answers)
    by_mode = {answer["mode"]: answer["decision_id"] for answer in answers.values()}
    assert len(by_mode) > 1
    for decision_id in by_mode.values():
        assert run("--home", live.server.home, "audit", "replay", decision_id, "--json") == 0
        found = json.loads(capsys.readouterr().out)
        assert (found["identical"], found["changed_inputs"]) == (True, [])
    assert run("--home", live.server.home, "audit", "replay", "no-such-decision") == 1
    assert "there is no decision no-such-decision" in " ".join(capsys.readouterr().err.split())


def test_server_why_not_says_the_same_over_http_and_on_the_command_line(
    live: Live, answers: dict[str, dict[str, Any]], trained: TrainedBank, capsys: pytest.CaptureFixture[str]
) -> None:
    customer = next(iter(answers))
    shown = set(live.products(customer))
    products = sorted(pl.read_parquet(trained.data / "products.parquet")["product_id"].unique())
    product = next(name for name in products if name not in shown)
    headers = {"Authorization": f"Bearer {live.token(None, AUDIT)}"}
    asked = {"customer_id": customer, "product_id": product, "channel": "app"}
    body = live.client.get("/v1/audit/why-not", params=asked, headers=headers).json()
    assert body["rules"]
    arguments = ("audit", "why-not", customer, product, "--channel", "app", "--json")
    assert run("--home", live.server.home, *arguments) == 0
    found = json.loads(capsys.readouterr().out)
    assert [rule["rule"] for rule in found["rules"]] == [rule["rule"] for rule in body["rules"]]
    assert run("--home", live.server.home, "audit", "why-not", customer, "no-such-product") == 1


def test_server_explanation_adds_up_over_http_and_on_the_command_line(
    live: Live, answers: dict[str, dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    known = {name: answer for name, answer in answers.items() if answer["mode"] == "personalised"}
    customer, answer = next(iter(known.items()))
    product = answer["placements"][0]["items"][0]["product_id"]
    headers = {"Authorization": f"Bearer {live.token(None, AUDIT)}"}
    asked = {"customer_id": customer, "product_id": product, "channel": "app"}
    body = live.client.get("/v1/audit/explain", params=asked, headers=headers).json()
    parts = {part["group"]: part["value"] for part in body["contributions"]}
    assert set(parts) == {"item", "profile", "behaviour", "history", "text", "image"}
    assert sum(parts.values()) == pytest.approx(body["score"] - body["average"], abs=1e-4)
    assert run("--home", live.server.home, "audit", "explain", customer, product, "--channel", "app", "--json") == 0
    assert json.loads(capsys.readouterr().out)["contributions"] == pytest.approx(parts, abs=1e-3)


def test_server_dismissed_product_is_gone_from_the_very_next_answer(live: Live, known: Iterator[str]) -> None:
    customer = next(known)
    item = live.ask(customer)["placements"][0]["items"][0]
    dismissal = event(customer, "dismiss-1", "dismiss", None, tracking_token=item["tracking_token"])
    assert live.send(dismissal)[0]["status"] == "accepted"
    answer = live.ask(customer)
    shown = [item["product_id"] for place in answer["placements"] for item in place["items"]]
    assert item["product_id"] not in shown
    assert item["product_id"] not in live.products(customer)


def test_server_converted_product_is_held_from_the_very_next_answer(
    live: Live, trained: TrainedBank, known: Iterator[str]
) -> None:
    customer = next(known)
    table = pl.read_parquet(trained.data / "products.parquet")
    repeatable = set(table.filter(pl.col("repeatable"))["product_id"])
    shown = live.products(customer)
    product = next(name for name in shown if name not in repeatable)
    assert live.send(event(customer, "convert-1", "convert", product))[0]["status"] == "accepted"
    assert product not in live.products(customer)
    again = next((name for name in shown if name in repeatable), None)
    if again is not None:
        live.send(event(customer, "convert-2", "convert", again))
        assert again in live.products(customer)


def test_server_bad_events_are_refused_one_by_one(live: Live, known: Iterator[str]) -> None:
    customer, other = next(known), next(known)
    item = live.ask(customer)["placements"][0]["items"][0]
    product, later = item["product_id"], (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    results = live.send(
        event(customer, "bad-1", "stroll", product),
        event(customer, "bad-2", "click", product, event_timestamp=later),
        event(customer, "bad-3", "click", "no-such-product"),
        event(other, "bad-4", "click", None, tracking_token=item["tracking_token"]),
        event(customer, "good-1", "click", product),
    )
    assert [result["status"] for result in results] == ["rejected"] * 4 + ["accepted"]
    assert [result["reason"] for result in results[:4]] == [
        "unknown event_type",
        "event_timestamp is in the future",
        "unknown product_id",
        "tracking_token was not issued to this customer",
    ]


def test_server_sigterm_ends_it_with_zero_and_a_restart_keeps_the_events(live: Live, known: Iterator[str]) -> None:
    customer = next(known)
    product = live.products(customer)[0]
    sent = event(customer, "kept-1", "dismiss", product)
    assert live.send(sent)[0]["status"] == "accepted"
    assert live.server.stop() == 0
    live.server.start()
    assert live.send(sent)[0]["status"] == "duplicate"
    assert product not in live.products(customer)


def test_server_on_a_copied_home_leaves_the_original_alone(live: Live, trained: TrainedBank) -> None:
    live.agree("only-in-the-copy", "profiling")
    live.send(event("only-in-the-copy", "copy-1", "click", live.products("only-in-the-copy")[0]))
    assert OnlineFeatures(live.server.home).read_customer("only-in-the-copy") is not None
    assert OnlineFeatures(trained.home).read_customer("only-in-the-copy") is None
