"""What the real server answers over a real socket: its shape, its lawfulness, its refusals and its operation."""

import re
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from prometheus_client.parser import text_string_to_metric_families

from serving.live_server import LiveServer, command_line
from serving.tokens import READ
from tests.end_to_end.live import PLACEMENTS, PROBLEM, Live, event
from tests.trained_bank import TrainedBank, run


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


def test_server_process_has_loaded_nothing_that_only_training_needs(live: Live) -> None:
    """Each of these costs some ten MB of every worker, and seconds."""
    assert "libllvmlite" in live.mapped
    for name in ("libtorch", "fbgemm", "lightgbm", "_duckdb", "sklearn", "highspy"):
        assert not re.findall(f".*{name}.*", live.mapped)


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


def test_server_without_champion_does_not_start(tmp_path: Path) -> None:
    server = LiveServer(tmp_path / "no-such-home", tmp_path / "server.log")
    with pytest.raises(RuntimeError, match="no champion"):
        server.start()
    assert not (tmp_path / "no-such-home").exists()
