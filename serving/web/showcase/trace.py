"""The policy trace of one answer: which rule removed what, from the decision log itself."""

from datetime import date
from typing import Any, Final, NamedTuple

import orjson

from recsys.schema import Kind
from serving.decision_log import DecisionLog
from serving.loading import ServedModel
from serving.ranked import unpack
from serving.store.database import Store
from serving.store.decisions import DecisionStore, LoggedDecision

NAMED: Final = 40
"""Of the items that a rule removed, so many are named."""


class Removed(NamedTuple):
    """What one rule removed."""

    rule: str
    source: str
    effective_from: date | None
    times: int
    items: list[dict[str, str]]
    """`id` and `title` of the first of them; empty where the catalogue is another by now."""


class PlacementTrace(NamedTuple):
    """What became of the candidates of a placement."""

    name: str
    kind: str
    candidates: int | None
    """None: the catalogue is another by now."""
    removed: list[Removed]
    """The most first."""


class Trace(NamedTuple):
    """What the log says of a decision."""

    decision_id: str
    sequence: int
    hash: str
    placements: list[PlacementTrace]


def read_trace(decision_id: str, log: DecisionLog, store: Store, model: ServedModel) -> Trace | None:
    """The trace; None where the log has no such decision, or an erasure took it out.

    Raises:
        StoreError: the log cannot be read.
    """
    decisions = DecisionStore(store)
    found = decisions.read(decision_id)
    if found is None:
        log.flush()  # it is in the journal of this worker
        found = decisions.read(decision_id)
    return None if found is None or found.payload is None else _trace(found, model)


def _trace(found: LoggedDecision, model: ServedModel) -> Trace:
    record, payload = orjson.loads(found.record), orjson.loads(found.payload or "{}")
    same = record["versions"]["catalogue"] == model.catalogue_version
    placements = []
    for place in record["placements"]:
        rules = unpack(payload["candidates"][place["name"]])[0].tolist()
        of_rule = _items_by_rule(rules, record["rule_ids"], Kind(place["kind"]), model) if same else {}
        removed = [_removed(rule, count, of_rule.get(rule, []), model) for rule, count in place["removals"].items()]
        removed.sort(key=lambda one: (-one.times, one.rule))
        placements.append(PlacementTrace(place["name"], place["kind"], len(rules) if same else None, removed))
    return Trace(found.decision_id, found.sequence, found.hash, placements)


def _items_by_rule(
    rules: list[int], rule_ids: list[str], kind: Kind, model: ServedModel
) -> dict[str, list[dict[str, str]]]:
    catalogue = model.pipeline.catalogue
    found: dict[str, list[dict[str, str]]] = {}
    for place, item_id, title in zip(rules, catalogue.ids(kind), catalogue.titles(kind), strict=False):
        if place >= 0:
            found.setdefault(rule_ids[place], []).append({"id": item_id, "title": title})
    return found


def _removed(rule_id: str, count: int, items: list[Any], model: ServedModel) -> Removed:
    rule = model.pipeline.policy.pack.rule(rule_id)
    source, since = ("", None) if rule is None else (rule.source, rule.effective_from)
    return Removed(rule_id, source, since, count, items[:NAMED])
