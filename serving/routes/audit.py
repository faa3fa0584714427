"""What staff may ask about decisions."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query, Response

from serving.dependencies import Auditor, ServicesDep
from serving.problems import RETRY_AFTER_SECONDS, ProblemError, problem_responses
from serving.schemas import Identifier, RuleOut, WhyNotResponse
from serving.store.database import StoreError
from serving.store.facts import FactStore
from serving.why_not import UnknownProductError, why_not

router = APIRouter(prefix="/v1/audit", tags=["audit"])
CustomerQuery = Annotated[Identifier, Query(description="About whom", examples=["c000001"])]
ProductQuery = Annotated[Identifier, Query(description="About what", examples=["p0007"])]
ChannelQuery = Annotated[Identifier | None, Query(description="Where it would be shown", examples=["app"])]


@router.get(
    "/why-not",
    summary="Which rules keep a product from a customer (staff only)",
    responses=problem_responses(
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.FORBIDDEN,
        HTTPStatus.NOT_FOUND,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        HTTPStatus.SERVICE_UNAVAILABLE,
    ),
)
async def get_why_not(
    customer_id: CustomerQuery,
    product_id: ProductQuery,
    response: Response,
    principal: Auditor,
    services: ServicesDep,
    channel: ChannelQuery = None,
) -> WhyNotResponse:
    """Names every rule that removes the product now, not only the first. A customer's own token does not open it."""
    if principal.customer_id is not None:
        raise ProblemError(HTTPStatus.FORBIDDEN, "this is for staff: a customer's token does not open it")
    response.headers["Cache-Control"] = "private, no-store"
    now, model = services.clock(), services.engine.model
    try:
        found = why_not(model, FactStore(services.store), customer_id, product_id, now, channel)
    except UnknownProductError as error:
        raise ProblemError(HTTPStatus.NOT_FOUND, str(error)) from error
    except StoreError as error:
        services.metrics.failures.labels("sql").inc()
        retry = {"Retry-After": str(RETRY_AFTER_SECONDS)}
        raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, "the facts cannot be read", retry) from error
    return WhyNotResponse(
        customer_id=customer_id,
        product_id=product_id,
        policy=found.policy,
        suitability=found.suitability,
        judged_at=now,
        rules=[RuleOut(rule=rule.rule, source=rule.source, effective_from=rule.effective_from) for rule in found.rules],
    )
