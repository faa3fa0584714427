"""What operators see: a log and traces that name nobody, the numbers of all workers together, a last look."""

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pydantic import SecretStr
from starlette.testclient import TestClient

from recsys.decisions.answer import Decision, PlacementDecision, RankedItem
from recsys.schema import Kind, ServingMode
from recsys.testing.tiny_scorer import tiny_pipeline
from serving.exposition import FOLDER_VARIABLE, LIBRARY_VARIABLE, forget_dead
from serving.last_look import without_violations
from serving.logs import JsonFormatter, configure_logs
from serving.middleware import RequestMiddleware
from serving.settings import Settings
from serving.testing import SIGNING_KEY, Service, event, token_of
from serving.tracing import NoTracer, OtlpTracer, make_tracer

KEY = SecretStr(SIGNING_KEY)
COUNTING = """
import sys
from serving.exposition import exposition
from serving.metrics import Metrics
metrics = Metrics()
metrics.modes.labels("personalised").inc(int(sys.argv[1]))
metrics.up.labels("sql").set(int(sys.argv[2]))
metrics.stages.labels("tower").observe(0.01)
print(exposition(metrics.registry).decode())
sys.stdout.flush()
sys.stdin.read()
"""


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Any]:
    """The lines that the service writes in production, as JSON."""
    root, before = logging.getLogger(), (logging.getLogger().handlers, logging.getLogger().level)
    configure_logs(Settings(home=tmp_path, secret=KEY, json_logs=True))
    path = tmp_path / "log.jsonl"
    handler = logging.FileHandler(path)
    handler.setFormatter(root.handlers[0].formatter)
    root.handlers = [handler]
    yield lambda: [orjson.loads(line) for line in path.read_text().splitlines()]
    root.handlers, root.level = before
    logging.getLogger("recsys.access").setLevel(logging.NOTSET)


def test_log_has_a_line_for_each_request_with_its_id_and_names_nobody(
    service: Service, log: Any, tmp_path: Path
) -> None:
    answer = service.ask("anna", token_of("anna"))
    service.send(token_of("anna"), event("e1"))
    service.consent("anna", token_of("anna"), {"purpose": "profiling", "granted": True})
    service.features.broken = True
    service.ask("anna", token_of("anna"))
    service.ask("bert-unknown", token_of("anna"))
    lines = log()
    answered = [line for line in lines if line["logger"] == "recsys.access"]
    first = answered[0]
    assert first["request_id"] == answer.json()["request_id"]
    assert (first["method"], first["route"], first["status"]) == ("POST", "/v1/recommendations", 200)
    assert first["ms"] > 0
    assert "/v1/customers/{customer_id}/consents" in {line["route"] for line in answered}
    failed = [line for line in lines if line["message"].startswith("features failed")]
    assert failed[0]["request_id"] in {line["request_id"] for line in answered}
    text = (tmp_path / "log.jsonl").read_text()
    for secret in ("anna", "bert", token_of("anna")[:40], "e1"):
        assert f'"{secret}' not in text
        assert f"/{secret}" not in text


def test_log_of_an_error_says_where_and_not_what(log: Any) -> None:
    try:
        raise ValueError("anna's card 4111 1111 1111 1111")
    except ValueError:
        logging.getLogger("recsys.serving").exception("it failed")
    line = log()[-1]
    assert line["error"] == "ValueError"
    assert line["at"][-1].startswith("test_operations.py:")
    assert "4111" not in orjson.dumps(line).decode()


def test_log_lines_are_one_line_each() -> None:
    record = logging.LogRecord("recsys", logging.WARNING, "", 0, "two\nlines", None, None)
    assert "\n" not in JsonFormatter().format(record)


def test_traces_are_off_unless_an_endpoint_is_set(tmp_path: Path) -> None:
    assert isinstance(make_tracer(Settings(home=tmp_path, secret=KEY)), NoTracer)
    on = make_tracer(Settings(home=tmp_path, secret=KEY, otlp_endpoint="http://127.0.0.1:1/v1/traces"))
    assert isinstance(on, OtlpTracer)


def test_traces_name_the_route_and_nobody(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    layer: Any = service.app.middleware_stack
    while not isinstance(layer, RequestMiddleware):
        layer = layer.app
    monkeypatch.setattr(layer, "_tracer", OtlpTracer(provider))
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    client: TestClient = service.client
    path = "/v1/customers/anna/consents?customer_id=anna"
    body = {"consents": [{"purpose": "profiling", "granted": True}]}
    headers = {"Authorization": f"Bearer {token_of('anna')}", "traceparent": parent}
    assert client.put(path, json=body, headers=headers).status_code == 200
    (span,) = exporter.get_finished_spans()
    assert span.name == "PUT /v1/customers/{customer_id}/consents"
    assert span.parent is not None
    assert f"{span.parent.trace_id:032x}" == parent.split("-")[1]
    assert dict(span.attributes or {})["http.response.status_code"] == 200
    assert "anna" not in span.to_json()


def worker(folder: Path, answers: int, up: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", COUNTING, str(answers), str(up)],
        env={**os.environ, LIBRARY_VARIABLE: str(folder), FOLDER_VARIABLE: str(folder)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def read(process: subprocess.Popen[str]) -> str:
    lines: list[str] = []
    while not (lines and lines[-1] == "\n"):
        assert process.stdout is not None
        lines.append(process.stdout.readline())
    return "".join(lines)


def test_metrics_of_one_worker_are_told_though_feast_names_a_folder(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(LIBRARY_VARIABLE, str(tmp_path))
    assert "recsys_request_seconds" in service.client.get("/metrics").text


def test_metrics_of_several_workers_add_up(tmp_path: Path) -> None:
    first = worker(tmp_path, 3, 1)
    read(first)
    second = worker(tmp_path, 4, 0)
    text = read(second)
    assert 'recsys_answers_total{mode="personalised"} 7.0' in text
    assert 'recsys_stage_seconds_count{stage="tower"} 2.0' in text
    assert 'recsys_dependency_up{dependency="sql"} 0.0' in text
    for process in (first, second):
        process.communicate("")
    assert list(tmp_path.glob("gauge_live*"))
    forget_dead(tmp_path)
    assert not list(tmp_path.glob("gauge_live*"))
    assert list(tmp_path.glob("counter*"))


def item(product_id: str) -> RankedItem:
    return RankedItem(1, product_id, None, product_id, 1.0, [])


def decided(*items: RankedItem, removed: int = 0) -> Decision:
    catalogue = tiny_pipeline().catalogue
    rule = np.full(len(catalogue.products), -1, np.int16)
    rule[catalogue.products.index["p01"]] = removed
    places = [PlacementDecision(name, Kind.PRODUCTS, [one], {}, rule) for name, one in zip("ab", items, strict=False)]
    return Decision(ServingMode.PERSONALISED, (), "valid", "en", places)


@pytest.mark.parametrize(
    ("decision", "found", "left"),
    [
        (decided(item("p02"), item("p03")), 0, ["p02", "p03"]),
        (decided(item("p02"), item("p02")), 1, ["p02"]),
        (decided(item("p01"), item("p02")), 1, ["p02"]),
        (decided(item("nowhere"), item("p02")), 1, ["p02"]),
    ],
    ids=["lawful", "twice", "removed by a rule", "unknown"],
)
def test_last_look_takes_out_what_must_not_leave(decision: Decision, found: int, left: list[str]) -> None:
    looked, violations = without_violations(decision, tiny_pipeline().catalogue)
    assert violations == found
    assert [one.product_id for place in looked.placements for one in place.items] == left


def test_metrics_say_how_old_features_are_and_that_nothing_was_unlawful(service: Service) -> None:
    service.send(token_of("anna"), event("e1"))
    service.ask("anna", token_of("anna"))
    text = service.client.get("/metrics").text
    assert "recsys_violations_total 0.0" in text
    assert 'recsys_feature_age_seconds_count{view="customer_history"} 1.0' in text
    for stage in ("auth", "facts", "features", "tower", "policy", "ranker", "top_k", "explanation", "log", "json"):
        assert f'recsys_stage_seconds_count{{stage="{stage}"}} ' in text
