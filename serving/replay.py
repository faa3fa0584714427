"""Decides again what was decided, from the log alone, and says whether the answer is the same, and if not, why."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

import orjson

from recsys.decisions.answer import Decision
from recsys.errors import ModelError, RecsysError
from recsys.schema import EVENT_TIMESTAMP, Kind
from serving.engine import decision_request, with_mode
from serving.loading import ServedModel
from serving.ranked import unpack
from serving.recording import Inputs, LoggedVersions, candidates_of, reasons_of, shown_at
from serving.schemas import RecommendationRequest
from serving.store.chain import canonical, digest
from serving.store.decisions import DecisionStore, LoggedDecision
from serving.store.facts import CustomerRecord


class Replay(NamedTuple):
    """What came of deciding again."""

    decision_id: str
    identical: bool
    changed_inputs: list[str]
    """What the decision was made with and is not the same any more."""
    differences: list[str]
    """Where the answers differ."""


class Replayer:
    """Replays decisions.

    Args:
        decisions: the log.
        load: gets the model of a registry version with a revision of the catalogue; raises a ModelError where it is
            gone.
    """

    def __init__(self, decisions: DecisionStore, load: Callable[[str, int], ServedModel]) -> None:
        self._decisions = decisions
        self._load = load

    def replay(self, decision_id: str) -> Replay:
        """Decides again.

        Raises:
            RecsysError: there is no such decision, or what it was made from is not in the log (any more).
            StoreError: the log cannot be read.
        """
        logged = self._decisions.read(decision_id)
        if logged is None:
            raise RecsysError(f"there is no decision {decision_id} in the log")
        record, payload = self._open(logged)
        changed = _changed_parts(logged, record)
        inputs, lost = self._inputs(record, payload, logged)
        changed += lost
        version = record["versions"]["model"]
        try:
            revision = record["versions"].get("catalogue", "").partition("+")[2]
            model = self._load(version.rpartition("@")[2], int(revision or 0))
        except ModelError as error:
            return Replay(decision_id, False, [*changed, f"model: {version} cannot be loaded ({error})"], [])
        changed += _changed_versions(record["versions"], LoggedVersions(model).now())
        differences = _differences(record, payload, _decide(model, inputs))
        if differences and not changed:
            changed = ["none of those that are logged: the machine or the libraries compute otherwise"]
        return Replay(decision_id, not differences, changed, differences)

    def _open(self, logged: LoggedDecision) -> tuple[dict[str, Any], dict[str, Any]]:
        if logged.payload is None:
            raise RecsysError(
                f"decision {logged.decision_id} cannot be made again: what it was made from was erased at "
                f"{logged.erased_at}"
            )
        payload, record = orjson.loads(logged.payload), orjson.loads(logged.record)
        if page_of := record.get("page_of"):
            raise RecsysError(f"decision {logged.decision_id} is a further page of {page_of}: replay that one")
        if "facts" not in payload:
            raise RecsysError(
                f"decision {logged.decision_id} is of the first release, which did not log what it was made from"
            )
        return record, payload

    def _inputs(
        self, record: Mapping[str, Any], payload: Mapping[str, Any], logged: LoggedDecision
    ) -> tuple[Inputs, list[str]]:
        """What the decision was made from, and what of it is gone."""
        wanted, lost = payload["features_sha256"], []
        features = None if wanted is None else self._decisions.read_features(wanted)
        if wanted is not None and features is None:
            lost.append("features: the row that the model read is not in the log any more")
        facts = payload["facts"]
        inputs = Inputs(
            customer_id=payload["customer_id"],
            request=RecommendationRequest.model_validate(payload["request"]),
            request_id=record["request_id"],
            facts=None if facts is None else CustomerRecord.from_json(facts),
            features=None if features is None else _with_times(features),
            now=logged.created_at,
            decision_id=record["decision_id"],
            cached=record.get("cached", False),
            held_back={Kind(kind): ids for kind, ids in record.get("held_back", {}).items()},
        )
        return inputs, lost


def _decide(model: ServedModel, inputs: Inputs) -> Decision:
    facts = None if inputs.facts is None else inputs.facts.as_facts(model.pipeline.catalogue.products)
    decision = model.pipeline.decide(inputs.features, facts, decision_request(inputs, model.pipeline.catalogue))
    return with_mode(decision, inputs)


def _with_times(features: Mapping[str, Any]) -> dict[str, Any]:
    """The row as it was before it became JSON: its times are those of `<view>__event_timestamp`."""
    suffix = f"__{EVENT_TIMESTAMP}"
    return {
        key: datetime.fromisoformat(value) if key.endswith(suffix) and value is not None else value
        for key, value in features.items()
    }


def _changed_parts(logged: LoggedDecision, record: Mapping[str, Any]) -> list[str]:
    """A payload that is not the one that was logged."""
    same = digest(logged.payload or "") == record["payload_sha256"]
    return [] if same else ["payload: request or facts were changed in the log; run `recsys audit verify`"]


def _changed_versions(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    return [f"{name}: was {before[name]}, is {now.get(name)}" for name in before if before[name] != now.get(name)]


def _differences(record: Mapping[str, Any], payload: Mapping[str, Any], decision: Decision) -> list[str]:
    """Where the decision is not what the log says."""
    found: dict[str, tuple[Any, Any]] = {
        "mode": (record["mode"], decision.mode),
        "missing modalities": (record["missing"], list(decision.missing)),
        "suitability": (record["suitability"], decision.suitability),
        "language": (record["language"], decision.language),
    }
    for before, place in zip(record["placements"], decision.placements, strict=True):
        name = f"placement {place.name}"
        found[name] = (before, shown_at(place))
        found[f"{name}, candidates"] = (unpack(payload["candidates"][place.name]), unpack(candidates_of(place)))
        found[f"{name}, reasons"] = (payload["reasons"][place.name], reasons_of(place))
    return [name for name, (before, now) in found.items() if canonical(before) != canonical(now)]
