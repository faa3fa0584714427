"""What to show."""

from functools import partial
from time import perf_counter

import orjson
from fastapi import APIRouter, Request, Response

from serving.dependencies import Reader, ServicesDep, one_customer
from serving.deprecations import note_fields
from serving.idempotency import KeyHeader
from serving.languages import accepted_language
from serving.problems import OF_BODIES, problem_responses
from serving.schemas import RecommendationRequest, RecommendationResponse

router = APIRouter(prefix="/v1", tags=["recommendations"])


@router.post(
    "/recommendations",
    summary="Ranked products and creatives for one customer",
    response_model=RecommendationResponse,
    responses=problem_responses(*OF_BODIES),
)
async def recommend(
    body: RecommendationRequest,
    request: Request,
    response: Response,
    principal: Reader,
    services: ServicesDep,
    key: KeyHeader = None,
) -> RecommendationResponse | Response:
    """Fills every placement; no product and no creative comes twice.

    The language is `locale`, else the best that `Accept-Language` names, else the customer's own; `locale_served` says
    which. A customer who is not known gets what is popular, as far as the most restricted customer may see it.
    """
    # In line, not in a thread: the calls are short, and a thread's p99 is worse by far (stack.md, Serving).
    note_fields(request, body)
    if body.locale is None:
        body = body.model_copy(update={"locale": accepted_language(request.headers.get("accept-language"))})
    customer_id = await one_customer(request, principal, body.customer_id, services)
    ask = partial(services.engine.recommend, customer_id, body, request.state.request_id)
    answer = await services.idempotency.once(request, [customer_id], ask)
    told, language = (
        (answer, orjson.loads(answer.body)["locale_served"])
        if isinstance(answer, Response)
        else (response, answer.locale_served)
    )
    told.headers.update({"Content-Language": language, "Vary": "Accept-Language"})
    request.state.answered_at = perf_counter()  # what follows is JSON
    return answer
