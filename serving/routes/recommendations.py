"""What to show."""

from functools import partial
from http import HTTPStatus
from time import perf_counter

from fastapi import APIRouter, Request, Response

from serving.dependencies import Reader, ServicesDep, one_customer
from serving.deprecations import note_fields
from serving.idempotency import KeyHeader
from serving.problems import problem_responses
from serving.schemas import RecommendationRequest, RecommendationResponse

router = APIRouter(prefix="/v1", tags=["recommendations"])


@router.post(
    "/recommendations",
    summary="Ranked products and creatives for one customer",
    response_model=RecommendationResponse,
    responses=problem_responses(
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.FORBIDDEN,
        HTTPStatus.CONFLICT,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        HTTPStatus.TOO_MANY_REQUESTS,
    ),
)
async def recommend(
    body: RecommendationRequest, request: Request, principal: Reader, services: ServicesDep, key: KeyHeader = None
) -> RecommendationResponse | Response:
    """Fills every placement; no product and no creative comes twice.

    A customer who is not known gets what is popular, as far as the most restricted customer may see it.
    """
    # In line, not in a thread: the calls are short, and a thread's p99 is worse by far (stack.md, Serving).
    note_fields(request, body)
    customer_id = await one_customer(request, principal, body.customer_id, services)
    ask = partial(services.engine.recommend, customer_id, body, request.state.request_id)
    answer = await services.idempotency.once(request, [customer_id], ask)
    request.state.answered_at = perf_counter()  # what follows is JSON
    return answer
