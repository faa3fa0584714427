"""Pages through the ranking of one decision: nothing twice, and nothing that may not be shown now.

The order is the decision's own, from the log. What is shown is judged again with the facts of now, explained, and
logged as a decision that names the one it goes on with.
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final, NamedTuple

import numpy as np
import orjson
from fastapi.concurrency import run_in_threadpool

from recsys.decisions.answer import Decision, DecisionRequest, Placement, RankedItem
from recsys.decisions.catalogue import Catalogue
from recsys.decisions.judge import Judge
from recsys.decisions.pipeline import DecisionPipeline
from recsys.policy.facts import CustomerFacts, IntArray
from recsys.schema import Kind, ServingMode
from serving.decision_log import DecisionLog
from serving.engine import RecommendationEngine, decision_request, with_mode
from serving.models import ModelHolder
from serving.ranked import unpack
from serving.ranking_rest import rest_of_ranking
from serving.recording import Inputs
from serving.schemas import PageResponse, RecommendationRequest, RecommendationResponse
from serving.store.database import Store
from serving.store.decisions import DecisionStore, LoggedDecision
from serving.store.facts import CustomerRecord
from serving.tokens import Cursor, CursorSigner

PATIENCE_SECONDS: Final = 1.5
"""How long a decision is waited for: another worker brings what it answered into the store within that time."""
PAUSE_SECONDS: Final = 0.1


class EndedRankingError(Exception):
    """The ranking cannot be gone on with: the app has to ask for a new answer. The message says why."""


class OpenDecision(NamedTuple):
    """A decision of the log, as far as paging needs it."""

    decision_id: str
    customer_id: str
    record: dict[str, Any]
    payload: dict[str, Any]

    @property
    def shown(self) -> set[str]:
        """The products that the answer showed anywhere."""
        return {item["product_id"] for place in self.record["placements"] for item in place["items"]}


class Pager:
    """Answers with further pages.

    Args:
        engine: decides and records.
        models: know the catalogues of earlier decisions.
        log: may still hold a decision that is not in the store.
        store: of decisions.
        cursors: reads and makes them.
    """

    def __init__(
        self,
        engine: RecommendationEngine,
        models: ModelHolder,
        log: DecisionLog,
        store: Store,
        cursors: CursorSigner,
    ) -> None:
        self._engine = engine
        self._models = models
        self._log = log
        self._decisions = DecisionStore(store)
        self._cursors = cursors

    async def find(self, decision_id: str) -> OpenDecision | None:
        """A decision that can be gone on with; None: there is none (any more).

        Raises:
            StoreError: the log cannot be read.
        """
        logged = await run_in_threadpool(self._read, decision_id)
        if logged is None or logged.payload is None or logged.customer_id is None:
            return None
        payload, record = orjson.loads(logged.payload), orjson.loads(logged.record)
        return None if "page_of" in record else OpenDecision(decision_id, logged.customer_id, record, payload)

    def read_cursor(self, text: str, decision_id: str, customer_id: str) -> Cursor | None:
        """The cursor; None where it is not one of this decision and customer."""
        cursor = self._cursors.read(text, customer_id)
        return cursor if cursor is not None and cursor.decision_id == decision_id else None

    async def page(self, decision: OpenDecision, cursor: Cursor, limit: int | None, request_id: str) -> PageResponse:
        """The items that follow in the decision's order, as far as they may be shown now.

        Raises:
            EndedRankingError: nothing may or can be taken from that ranking any more.
        """
        asked = RecommendationRequest.model_validate(decision.payload["request"])
        wanted = next(place for place in asked.placements if place.name == cursor.placement)
        body = asked.model_copy(update={"placements": [wanted]})
        model, facts, inputs = await self._engine.gather(decision.customer_id, body, request_id)
        inputs = inputs._replace(page_of=decision.decision_id)
        _require_lawful(model.pipeline, facts, inputs, decision)
        order = self._order(decision, cursor.placement, wanted.kind)
        request = decision_request(inputs, model.pipeline.catalogue)
        chosen, position = _choose(order, (model.pipeline, facts, request), cursor.position, limit or wanted.limit)
        request = replace(
            request,
            placements=(Placement(wanted.name, wanted.kind, len(chosen)),),
            candidates={wanted.kind: model.pipeline.catalogue.mask(wanted.kind, chosen)},
            boosts=(),
            seed=None,
        )
        made = with_mode(model.pipeline.decide(inputs.features, facts, request), inputs)
        made = _in_order(made, chosen, cursor.shown)
        answer = await self._engine.recorded(model, made, self._engine.answer(model, made, inputs), inputs)
        items = answer.placements[0].items
        following = Cursor(decision.decision_id, wanted.name, position, cursor.shown + len(items))
        more = answer.notice is None and position < len(order.items)
        text = self._cursors.sign(following, decision.customer_id) if more else None
        return page_response(answer, decision.decision_id, text)

    def _order(self, decision: OpenDecision, placement: str, kind: Kind) -> "_Order":
        catalogue = self._models.catalogue(decision.record["versions"]["catalogue"])
        if catalogue is None:
            raise EndedRankingError("the catalogue that it was made with is not served any more")
        arrays = unpack(decision.payload["candidates"][placement])
        held_back = {Kind(name): ids for name, ids in decision.record["held_back"].items()}
        return _Order(kind, catalogue, rest_of_ranking(kind, arrays, decision.shown, held_back, catalogue))

    def _read(self, decision_id: str) -> LoggedDecision | None:
        """A decision that was answered a moment ago is still in a journal: of this worker, or of another one."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (found := self._decisions.read(decision_id)) is None and time.monotonic() < deadline:
            self._log.flush()
            time.sleep(PAUSE_SECONDS)
        return found


class _Order(NamedTuple):
    """What of the ranking of a placement the answer did not show."""

    kind: Kind
    catalogue: Catalogue
    items: IntArray
    """Positions in the decision's catalogue, best first."""


Judged = tuple[DecisionPipeline, CustomerFacts | None, DecisionRequest]


def page_response(answer: RecommendationResponse, page_of: str, cursor: str | None) -> PageResponse:
    """A page as it goes over the wire."""
    return PageResponse.model_construct(
        request_id=answer.request_id,
        decision_id=answer.decision_id,
        page_of=page_of,
        mode=answer.mode,
        locale_served=answer.locale_served,
        versions=answer.versions,
        generated_at=answer.generated_at,
        notice=answer.notice,
        placement=answer.placements[0].model_copy(update={"next_cursor": cursor}),
    )


def _choose(order: _Order, judged: Judged, position: int, limit: int) -> tuple[list[str], int]:
    """The next items that are there and allowed now, and where the page after them begins."""
    pipeline, facts, request = judged
    catalogue = pipeline.catalogue
    known = CustomerFacts.unknown(1) if facts is None else facts
    allowed = Judge(pipeline.policy, catalogue, known, request)(order.kind).allowed[0]
    if order.kind in request.candidates:
        allowed = allowed & np.atleast_2d(request.candidates[order.kind])[0]
    ids = catalogue.ids(order.kind)
    open_now = {ids[item] for item in np.flatnonzero(allowed)}
    before = order.catalogue.ids(order.kind)
    chosen: list[str] = []
    while position < len(order.items) and len(chosen) < limit:
        item_id = before[int(order.items[position])]
        position += 1
        if item_id in open_now:
            chosen.append(item_id)
    return chosen, position


def _in_order(made: Decision, chosen: Sequence[str], shown: int) -> Decision:
    """The items as the decision had ranked them, with ranks that go on where the last page ended."""
    place = made.placements[0]
    by_id: dict[str, RankedItem] = {item.content_id or item.product_id: item for item in place.items}
    found = [by_id[item_id] for item_id in chosen if item_id in by_id]
    items = [item._replace(rank=shown + number) for number, item in enumerate(found, start=1)]
    return made._replace(placements=[place._replace(items=items)])


def _require_lawful(
    pipeline: DecisionPipeline, facts: CustomerFacts | None, inputs: Inputs, decision: OpenDecision
) -> None:
    """A ranking that rests on a profile is not gone on with where none may be made any more, or nobody can say."""
    policy = pipeline.policy
    if (
        facts is not None
        and not policy.profiling_refused(facts, inputs.now)[0]
        and not policy.stale(facts, inputs.now)[0]
    ):
        return
    then = datetime.fromisoformat(decision.record["created_at"])
    kept = decision.payload["facts"]
    before = None if kept is None else CustomerRecord.from_json(kept).as_facts(pipeline.catalogue.products)
    impersonal = decision.record["mode"] == ServingMode.SAFE or before is None
    if not impersonal and before is not None and not policy.profiling_refused(before, then)[0]:
        raise EndedRankingError("it rests on a profile, which may not be used any more, or cannot be read now")
