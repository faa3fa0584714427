"""More of an answer that was given."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import StringConstraints

from serving.dependencies import Reader, ServicesDep, one_customer
from serving.paging import EndedRankingError
from serving.problems import RETRY_AFTER_SECONDS, ProblemError, problem_responses
from serving.schemas import MAX_LIMIT, Identifier, PageResponse
from serving.store.database import StoreError
from serving.tokens import Cursor

router = APIRouter(prefix="/v1/decisions", tags=["recommendations"])
DecisionPath = Annotated[Identifier, Path(description="Of the answer", examples=["5f0c6d6e7c1e4ac7a3cf4b6f4b3f2a10"])]
CursorQuery = Annotated[
    str, StringConstraints(min_length=1, max_length=2048), Query(description="The placement's `next_cursor`")
]
LimitQuery = Annotated[int | None, Query(ge=1, le=MAX_LIMIT, description="By default as many as the placement has")]


@router.get(
    "/{decision_id}/items",
    summary="More of the ranking of one placement",
    responses=problem_responses(
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.FORBIDDEN,
        HTTPStatus.NOT_FOUND,
        HTTPStatus.GONE,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.SERVICE_UNAVAILABLE,
    ),
)
async def more_items(
    decision_id: DecisionPath,
    cursor: CursorQuery,
    request: Request,
    response: Response,
    principal: Reader,
    services: ServicesDep,
    limit: LimitQuery = None,
) -> PageResponse:
    """Goes on where the answer ended, in the same order, without repeats.

    What was dismissed, sold out, paused or withdrawn meanwhile is left out. 410: ask for a new answer.
    """
    own = principal.customer_id
    if own is not None:  # before anything is looked for: it is waited for
        _require_cursor(services.pager.read_cursor(cursor, decision_id, own))
    try:
        decision = await services.pager.find(decision_id)
    except StoreError as error:
        services.metrics.failures.labels("sql").inc()
        retry = {"Retry-After": str(RETRY_AFTER_SECONDS)}
        raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, "the decision cannot be read", retry) from error
    if decision is None or own not in (None, decision.customer_id):
        raise ProblemError(HTTPStatus.NOT_FOUND, "there is no such decision")
    await one_customer(request, principal, decision.customer_id, services)
    place = _require_cursor(services.pager.read_cursor(cursor, decision_id, decision.customer_id))
    try:
        found = await services.pager.page(decision, place, limit, request.state.request_id)
    except EndedRankingError as error:
        raise ProblemError(HTTPStatus.GONE, f"this ranking cannot be gone on with: {error}") from error
    response.headers["Content-Language"] = found.locale_served
    return found


def _require_cursor(cursor: Cursor | None) -> Cursor:
    if cursor is None:
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "cursor: is none that this decision was answered with")
    return cursor
