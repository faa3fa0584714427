"""A decision made again from the log alone is the same, or it is said which input changed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import orjson
import pytest
from sqlalchemy import delete
from starlette.testclient import TestClient

from recsys.decisions.pipeline import DecisionPipeline
from recsys.errors import ModelError, RecsysError
from recsys.policy.engine import PolicyEngine
from recsys.testing.tiny_scorer import HISTORY, NOW, SEGMENT, TEXT, asks_for, tiny_pipeline
from serving.app import create_app
from serving.loading import Components, ServedModel
from serving.replay import Replay, Replayer
from serving.settings import Settings
from serving.store.database import Store
from serving.store.decisions import DecisionEntry, DecisionStore
from serving.store.tables import decision_features
from serving.testing import WEIGHTS, Clock, MemoryFeatures, Service, add_customer, confirm_facts, event, token_of

BOTH = [
    {"name": "home", "kind": "products", "limit": 5},
    {"name": "banner", "kind": "contents", "limit": 3},
]
VERSION = "1"


def decide(service: Service, customer: str = "anna", **body: Any) -> str:
    response = service.ask(customer, token_of(customer), placements=BOTH, **body)
    service.logged()
    return str(response.json()["decision_id"])


def replay(service: Service, decision_id: str, model: ServedModel | None = None) -> Replay:
    served: ServedModel = model or service.app.state.services.engine.model

    def load(version: str, revision: int) -> ServedModel:
        assert (version, revision) == (VERSION, served.catalogue_revision)
        return served

    return Replayer(DecisionStore(service.store), load).replay(decision_id)


def test_replay_of_every_mode_is_identical_although_the_world_moved_on(service: Service) -> None:
    service.features.plain["anna"] = {
        SEGMENT: "young",
        TEXT: [0.1 + value / 3 for value in asks_for(7)],
        HISTORY: ["p03", "p04"],
        "customer_profile__event_timestamp": NOW - timedelta(days=1),
    }
    add_customer(service.store, "bert", "profiling", "marketing")
    made = [decide(service, channel="app", locale="zh"), decide(service, "bert"), decide(service, "nobody")]
    with service.store.writing() as connection:
        connection.exec_driver_sql("ALTER TABLE customer_facts RENAME TO gone")
    made.append(decide(service))
    with service.store.writing() as connection:
        connection.exec_driver_sql("ALTER TABLE gone RENAME TO customer_facts")
        connection.exec_driver_sql("UPDATE customer_facts SET risk_level = 'C1'")
    service.send(token_of("anna"), event("e1", "convert", "p01"), event("e2", "dismiss", "p04"))
    service.features.plain["anna"] = {SEGMENT: "affluent"}
    service.clock.now = NOW + timedelta(days=400)
    modes = [row.record.split('"mode":"')[1].split('"')[0] for row in service.logged()]
    assert modes == ["personalised", "popular", "popular", "safe"]
    for decision_id in made:
        assert replay(service, decision_id) == Replay(decision_id, True, [], [])


def test_replay_under_another_policy_says_so(service: Service) -> None:
    decision_id = decide(service)
    model: ServedModel = service.app.state.services.engine.model
    rules = tuple(rule for rule in model.pipeline.policy.pack.rules if rule.id != "LIFE_PAUSED")
    pack = model.pipeline.policy.pack.model_copy(update={"rules": rules, "version": "other"})
    found = replay(service, decision_id, with_policy(model, PolicyEngine(pack)))
    assert not found.identical
    assert any(line.startswith("policy: was") and line.endswith("@other") for line in found.changed_inputs)
    assert any(line.startswith("policy_sha256: was") for line in found.changed_inputs)
    assert "placement home" in found.differences


def exploring_service(settings: Settings) -> Iterator[Service]:
    """One that fills half of the places by a draw."""
    features, store, clock = MemoryFeatures(), Store(settings.store_url()), Clock()
    store.create()
    confirm_facts(store)
    add_customer(store, "anna")
    features.plain["anna"] = {SEGMENT: "young", TEXT: asks_for(7)}
    model = ServedModel(tiny_pipeline(exploration=0.5), "test@1", features.manifest.schema_hash, WEIGHTS)
    app = create_app(settings, load=lambda _: Components(model, features, store), clock=clock)
    with TestClient(app) as client:
        yield Service(client, app, features, store, clock)


def test_replay_of_decisions_that_tried_something_out_is_identical(settings: Settings) -> None:
    with contextmanager(exploring_service)(settings) as service:
        made = [decide(service) for _ in range(12)]
        logged = [orjson.loads(row.record)["placements"] for row in service.logged()]
        found = [replay(service, decision_id) for decision_id in made]
    assert found == [Replay(decision_id, True, [], []) for decision_id in made]
    shown = [tuple(item["product_id"] for place in places for item in place["items"]) for places in logged]
    assert len(set(shown)) > 6  # each decision draws for itself
    chances = {item["propensity"] for places in logged for place in places for item in place["items"]}
    assert all(0 < chance <= 1 for chance in chances)
    assert len(chances) > 2


def with_policy(model: ServedModel, policy: PolicyEngine) -> ServedModel:
    pipeline = DecisionPipeline(model.pipeline.scorer, policy, model.pipeline.catalogue)
    return model._replace(pipeline=pipeline)


def test_replay_with_another_catalogue_or_model_that_answers_alike_is_identical_and_says_so(service: Service) -> None:
    decision_id = decide(service)
    model: ServedModel = service.app.state.services.engine.model
    found = replay(service, decision_id, model._replace(catalogue_version="new", version="other@1"))
    assert found.identical
    assert found.changed_inputs == ["catalogue: was , is new", "model: was test@1, is other@1"]


def test_replay_without_the_model_says_so(service: Service) -> None:
    decision_id = decide(service)

    def gone(version: str, revision: int) -> ServedModel:
        raise ModelError(f"no version {version}")

    found = Replayer(DecisionStore(service.store), gone).replay(decision_id)
    assert found == Replay(decision_id, False, ["model: test@1 cannot be loaded (no version 1)"], [])


def test_replay_without_the_feature_row_says_so(service: Service) -> None:
    service.features.plain["anna"] = {TEXT: asks_for(7)}
    decision_id = decide(service)
    with service.store.writing() as connection:
        connection.execute(delete(decision_features))
    found = replay(service, decision_id)
    assert not found.identical
    assert found.changed_inputs == ["features: the row that the model read is not in the log any more"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("SET payload = replace(payload, 'C3', 'C1')", "payload: request or facts were changed"),
        ('SET record = replace(record, \'"product_id":"p01"\', \'"product_id":"p02"\')', "none of those"),
    ],
)
def test_replay_of_a_falsified_row_is_not_identical(service: Service, change: str, expected: str) -> None:
    decision_id = decide(service)
    with service.store.writing() as connection:
        connection.exec_driver_sql("DROP TRIGGER decisions_keep")
        connection.exec_driver_sql(f"UPDATE decisions {change}")
    found = replay(service, decision_id)
    assert found.changed_inputs[0].startswith(expected)


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda log, decision_id: None, "no decision unknown"),
        (lambda log, decision_id: log.erase_customer("anna", NOW), "was erased"),
        (lambda log, decision_id: None, "of the first release"),
    ],
)
def test_replay_of_what_cannot_be_made_again_is_an_error(
    service: Service, prepare: Callable[[DecisionStore, str], Any], message: str
) -> None:
    decision_id, log = decide(service), DecisionStore(service.store)
    prepare(log, decision_id)
    old = {"customer_id": "anna", "salt": "s", "request": {}, "answer": {}}
    log.append([DecisionEntry.build({"decision_id": "old"}, old, None, NOW)])
    asked = {"no decision unknown": "unknown", "of the first release": "old"}.get(message, decision_id)
    with pytest.raises(RecsysError, match=message):
        replay(service, asked)
