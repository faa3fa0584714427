"""The real server, as a process of its own, over a real socket, on the champion of the trained bank."""

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import polars as pl
import pytest
from prometheus_client.parser import text_string_to_metric_families

from recsys.home import Home
from serving.features import OnlineFeatures
from serving.live_server import LiveServer, command_line
from serving.tokens import AUDIT, CONSENT, READ, WRITE, issue_token
from tests.end_to_end.champions import crown
from tests.end_to_end.conftest import TrainedBank, run

PROBLEM = "application/problem+json"
PLACEMENTS: list[dict[str, Any]] = [
    {"name": "home", "kind": "products", "limit": 3},
    {"name": "offers", "kind": "products", "limit": 2},
    {"name": "banner", "kind": "contents", "limit": 2},
]
ALL = [{"name": "all", "kind": "products", "limit": 50}]
PER_LEVEL = 6
"""Customers asked about, of each risk level and of those without one."""


class Live(NamedTuple):
    """The running server and what is needed to talk to it."""

    server: LiveServer
    client: httpx.Client
    key: str

    def token(self, customer: str | None = None, *scopes: str, lifetime: timedelta = timedelta(minutes=5)) -> str:
        """Of a customer, or of a service."""
        granted = scopes or (READ, WRITE)
        return issue_token(
            self.key, subject=customer or "tests", scopes=granted, customer_id=customer, lifetime=lifetime
        )

    def post(self, path: str, body: Any, token: str | None = None) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.token() if token is None else token}"}
        return self.client.post(path, json=body, headers=headers)

    def ask(self, customer: str, placements: list[dict[str, Any]] = PLACEMENTS) -> dict[str, Any]:
        body = {"customer_id": customer, "placements": placements, "channel": "app", "locale": "en"}
        response = self.post("/v1/recommendations", body)
        assert response.status_code == 200, response.text
        return dict(response.json())

    def products(self, customer: str) -> list[str]:
        """All that may be shown to a customer, best first."""
        return [item["product_id"] for item in self.ask(customer, ALL)["placements"][0]["items"]]

    def agree(self, customer: str, *purposes: str, granted: bool = True) -> None:
        """Stores a customer's consents."""
        answers = [{"purpose": purpose, "granted": granted} for purpose in purposes]
        path = f"/v1/customers/{customer}/consents"
        headers = {"Authorization": f"Bearer {self.token(customer, CONSENT)}"}
        response = self.client.put(path, json={"consents": answers}, headers=headers)
        assert response.status_code == 200, response.text

    def send(self, *events: dict[str, Any]) -> list[dict[str, Any]]:
        response = self.post("/v1/events", {"events": list(events)})
        assert response.status_code == 200, response.text
        return list(response.json()["results"])


def event(customer: str, event_id: str, event_type: str, product: str | None, **values: Any) -> dict[str, Any]:
    now = datetime.now(UTC).isoformat()
    base = {"event_id": event_id, "customer_id": customer, "event_type": event_type, "event_timestamp": now}
    return {**base, "product_id": product, **values}


@pytest.fixture(scope="module")
def live(trained: TrainedBank, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A server on a copy of the home, so that events do not reach the other tests."""
    home = tmp_path_factory.mktemp("server") / "state"
    shutil.copytree(trained.home, home)
    crown(home, trained.result["version"])
    with LiveServer(home, home.parent / "server.log") as server, httpx.Client(base_url=server.url, timeout=20) as http:
        yield Live(server, http, Home(home).secret())


@pytest.fixture(scope="module")
def customers(trained: TrainedBank) -> pl.DataFrame:
    """The latest row of `PER_LEVEL` customers of each risk level."""
    rows = pl.read_parquet(trained.data / "customers.parquet").sort("event_timestamp")
    latest = rows.unique("customer_id", keep="last").sort("customer_id")
    return latest.group_by("risk_level", maintain_order=True).head(PER_LEVEL)


@pytest.fixture(scope="module")
def answers(live: Live, customers: pl.DataFrame) -> dict[str, dict[str, Any]]:
    return {customer: live.ask(customer) for customer in customers["customer_id"]}


@pytest.fixture(scope="module")
def known(answers: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Customers whom the model knows; each test that changes one takes the next."""
    return iter([customer for customer, answer in answers.items() if answer["mode"] in ("personalised", "partial")])


def test_server_answer_has_the_promised_shape(answers: dict[str, dict[str, Any]]) -> None:
    for answer in answers.values():
        promised = {"request_id", "decision_id", "mode", "versions", "generated_at", "placements"}
        assert promised <= set(answer)
        assert set(answer["versions"]) == {"model", "policy", "features"}
        assert datetime.fromisoformat(answer["generated_at"]).tzinfo is not None
        assert [place["name"] for place in answer["placements"]] == ["home", "offers", "banner"]
        for place, asked in zip(answer["placements"], PLACEMENTS, strict=True):
            assert set(place) == {"name", "items", "removed_count", "next_cursor"}
            assert [item["rank"] for item in place["items"]] == list(range(1, len(place["items"]) + 1))
            assert len(place["items"]) <= asked["limit"]
            for item in place["items"]:
                fields = {"rank", "product_id", "content_id", "title", "score", "reasons", "tracking_token"}
                assert set(item) == fields | {"campaign_id"}
                assert item["title"]
                assert all(reason["code"] and reason["text"] for reason in item["reasons"])
                assert (item["content_id"] is None) == (asked["kind"] == "products")
    assert any(place["items"] for place in next(iter(answers.values()))["placements"])


def test_server_no_product_or_creative_repeats_across_placements(answers: dict[str, dict[str, Any]]) -> None:
    for answer in answers.values():
        items = [item for place in answer["placements"] for item in place["items"]]
        products = [item["product_id"] for item in items]
        contents = [item["content_id"] for item in items if item["content_id"]]
        assert len(set(products)) == len(products)
        assert len(set(contents)) == len(contents)


def test_server_content_is_of_its_product(trained: TrainedBank, answers: dict[str, dict[str, Any]]) -> None:
    contents = pl.read_parquet(trained.data / "contents.parquet", columns=["content_id", "product_id"])
    owner = dict(contents.iter_rows())
    shown = [item for answer in answers.values() for item in answer["placements"][2]["items"]]
    assert shown
    assert all(owner[item["content_id"]] == item["product_id"] for item in shown)


def test_server_answers_obey_suitability_holdings_and_status(
    trained: TrainedBank, answers: dict[str, dict[str, Any]], customers: pl.DataFrame
) -> None:
    """Worked out from the dataset's own tables, for customers of every risk level."""
    table = pl.read_parquet(trained.data / "products.parquet").sort("event_timestamp")
    products = {row["product_id"]: row for row in table.unique("product_id", keep="last").to_dicts()}
    holdings = pl.read_parquet(trained.data / "holdings.parquet").filter(pl.col("closed_at").is_null())
    held = set(holdings.select("customer_id", "product_id").iter_rows())
    facts = {row["customer_id"]: row for row in customers.to_dicts()}
    assert {row["risk_level"] for row in facts.values()} >= {"C1", "C2", "C3", "C4", "C5"}
    for customer, answer in answers.items():
        level, state = _assessment(facts[customer])
        assert answer["suitability"] == state
        for item in (item for place in answer["placements"] for item in place["items"]):
            product = products[item["product_id"]]
            assert product["status"] == "live"
            assert product["repeatable"] or (customer, product["product_id"]) not in held
            ratings = [product[name] for name in ("issuer_risk", "bank_risk") if product[name] is not None]
            assert max((int(rating[1]) for rating in ratings), default=0) <= level, (customer, product)


def _assessment(facts: dict[str, Any]) -> tuple[int, str]:
    """The level that counts today, 0 without one; a rating older than 365 days is no rating (domain.md)."""
    if facts["risk_level"] is None or facts["risk_assessed_at"] is None:
        return 0, "missing"
    if datetime.now(UTC) - facts["risk_assessed_at"] > timedelta(days=365):
        return 0, "expired"
    return int(facts["risk_level"][1]), "valid"


def test_server_known_customers_are_known_and_strangers_get_what_is_popular(
    live: Live, answers: dict[str, dict[str, Any]]
) -> None:
    modes = {answer["mode"] for answer in answers.values()}
    assert modes & {"personalised", "partial"}
    stranger = live.ask("nobody-ever")
    assert stranger["mode"] == "popular"
    assert stranger["placements"][0]["items"]
    assert all(item["reasons"][0]["code"].startswith("POPULAR") for item in stranger["placements"][0]["items"])


def test_server_token_of_the_command_line_opens_its_own_customer_only(
    live: Live, answers: dict[str, dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    own, other = list(answers)[:2]
    assert run("--home", live.server.home, "token", "--customer", own) == 0
    token = capsys.readouterr().out.strip()
    body = {"placements": PLACEMENTS, "channel": "app", "locale": "en"}
    mine = live.post("/v1/recommendations", {**body, "customer_id": own}, token)
    assert mine.status_code == 200
    assert mine.json()["placements"][0]["items"]
    assert live.post("/v1/recommendations", body, token).status_code == 200
    refused = live.post("/v1/recommendations", {**body, "customer_id": other}, token)
    assert refused.status_code == 403
    assert refused.headers["content-type"] == PROBLEM
    assert refused.json()["title"] == "Forbidden"
    assert live.post("/v1/events", [event(other, "e-foreign", "click", "p0001")], token).status_code == 403


def test_server_missing_garbage_or_expired_token_is_unauthorised(live: Live) -> None:
    body = {"customer_id": "c1", "placements": PLACEMENTS}
    expired = live.token(lifetime=timedelta(seconds=-5))
    responses = [live.post("/v1/recommendations", body, token) for token in ("garbage", "a.b.c", expired)]
    responses += [live.client.post(path, json=body) for path in ("/v1/recommendations", "/v1/events")]
    for response in responses:
        assert response.status_code == 401
        assert response.headers["content-type"] == PROBLEM
        assert response.headers["www-authenticate"].startswith("Bearer")
        assert response.json()["status"] == 401
    assert live.post("/v1/events", body, live.token(None, READ)).status_code == 403


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"customer_id": "c1"}, "/body/placements"),
        ({"customer_id": "c1", "placements": []}, "/body/placements"),
        ({"customer_id": "c1", "placements": [{"name": "a", "kind": "nonsense"}]}, "/body/placements/0/kind"),
        ({"customer_id": "c1", "placements": PLACEMENTS, "colour": "red"}, "/body/colour"),
        ({"customer_id": 7, "placements": PLACEMENTS}, "/body/customer_id"),
        ([1, 2], "/body"),
    ],
)
def test_server_malformed_body_is_a_problem_that_names_the_place(live: Live, body: Any, pointer: str) -> None:
    response = live.post("/v1/recommendations", body)
    assert response.status_code == 422
    assert response.headers["content-type"] == PROBLEM
    assert [finding["pointer"] for finding in response.json()["errors"]] == [pointer]


def test_server_body_that_is_not_json_is_a_problem(live: Live) -> None:
    headers = {"Authorization": f"Bearer {live.token()}", "content-type": "application/json"}
    response = live.client.post("/v1/recommendations", content=b'{"customer_id": ', headers=headers)
    assert response.status_code == 400
    assert response.headers["content-type"] == PROBLEM


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


def test_server_process_has_loaded_nothing_that_only_training_needs(live: Live) -> None:
    """The libraries that a process has mapped; each of these costs some ten MB of every worker, and seconds."""
    mapped = Path(f"/proc/{live.server.pid}/maps").read_text()
    assert "libtorch_cpu" in mapped
    for name in ("fbgemm", "lightgbm", "_duckdb", "sklearn", "highspy"):
        assert name not in mapped, name


def test_server_health_says_what_is_served(live: Live, trained: TrainedBank) -> None:
    assert live.client.get("/livez").json()["status"] == "alive"
    ready = live.client.get("/readyz").json()
    assert ready["status"] == "ready"
    assert ready["versions"]["model"].endswith(f"@{trained.result['version']}")


def test_server_metrics_are_prometheus_text(live: Live) -> None:
    live.ask("somebody")
    families = {family.name: family for family in text_string_to_metric_families(live.client.get("/metrics").text)}
    stages = {sample.labels["stage"] for sample in families["recsys_stage_seconds"].samples}
    assert {"auth", "facts", "features", "policy", "log", "json"} <= stages
    assert {"recsys_request_seconds", "recsys_answers", "recsys_policy_removals", "recsys_model_info"} <= set(families)
    failed = [sample for sample in families["recsys_dependency_failures"].samples if sample.value]
    assert not failed


def test_server_openapi_examples_can_be_sent(live: Live) -> None:
    document = live.client.get("/openapi.json").json()
    assert {"/v1/recommendations", "/v1/events", "/livez", "/readyz", "/metrics"} <= set(document["paths"])
    schemas = document["components"]["schemas"]
    for path, name in (("/v1/recommendations", "RecommendationRequest"), ("/v1/events", "EventBatch")):
        assert document["paths"][path]["post"]["security"]
        for example in schemas[name]["examples"]:
            assert live.post(path, example).status_code == 200
    assert live.client.get("/docs").status_code == 200


def test_server_busy_port_is_refused_within_seconds(live: Live) -> None:
    started = time.monotonic()
    arguments: list[str | Path] = [command_line(), "--home", live.server.home, "serve", "--port", str(live.server.port)]
    second = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False)
    assert second.returncode == 1
    said = " ".join(second.stderr.split())
    assert f"cannot listen on 127.0.0.1:{live.server.port}" in said
    assert "--port" in said
    assert "Traceback" not in said
    assert time.monotonic() - started < 20
    assert live.client.get("/livez").status_code == 200


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


def test_server_without_champion_does_not_start(tmp_path: Path) -> None:
    server = LiveServer(tmp_path / "no-such-home", tmp_path / "server.log")
    with pytest.raises(RuntimeError, match="no champion"):
        server.start()
    assert not (tmp_path / "no-such-home").exists()
