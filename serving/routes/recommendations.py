"""What to show."""

from http import HTTPStatus

from fastapi import APIRouter, Request

from serving.dependencies import Reader, ServicesDep, one_customer
from serving.deprecations import note_fields
from serving.problems import problem_responses
from serving.schemas import RecommendationRequest, RecommendationResponse

router = APIRouter(prefix="/v1", tags=["recommendations"])


@router.post(
    "/recommendations",
    summary="Ranked products and creatives for one customer",
    responses=problem_responses(
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.FORBIDDEN,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        HTTPStatus.TOO_MANY_REQUESTS,
    ),
)
async def recommend(
    body: RecommendationRequest, request: Request, principal: Reader, services: ServicesDep
) -> RecommendationResponse:
    """Fills every placement; no product and no creative comes twice.

    A customer who is not known gets what is popular, as far as the most restricted customer may see it.
    """
    # In line, not in a thread: the calls are short, and a thread's p99 is worse by far (stack.md, Serving).
    note_fields(request, body)
    customer_id = await one_customer(request, principal, body.customer_id, services)
    return await services.engine.recommend(customer_id, body, request.state.request_id)
