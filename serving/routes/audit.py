"""What staff may ask about decisions."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query, Response
from fastapi.concurrency import run_in_threadpool

from serving.dependencies import Auditor, Services, ServicesDep
from serving.engine import reason_out
from serving.explain import FeaturesUnreadableError, Sources, explain
from serving.problems import RETRY_AFTER_SECONDS, ProblemError, problem_responses
from serving.schemas import ContributionOut, ExplainResponse, Identifier, RuleOut, WhyNotResponse
from serving.store.database import StoreError
from serving.store.facts import FactStore
from serving.tokens import Principal
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
        HTTPStatus.TOO_MANY_REQUESTS,
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
    _staff_only(principal, response)
    now, model = services.clock(), services.engine.model
    try:
        found = await run_in_threadpool(
            why_not, model, FactStore(services.store), customer_id, product_id, now, channel
        )
    except UnknownProductError as error:
        raise ProblemError(HTTPStatus.NOT_FOUND, str(error)) from error
    except StoreError as error:
        raise _unreadable(services) from error
    return WhyNotResponse(
        customer_id=customer_id,
        product_id=product_id,
        policy=found.policy,
        suitability=found.suitability,
        judged_at=now,
        rules=[RuleOut(rule=rule.rule, source=rule.source, effective_from=rule.effective_from) for rule in found.rules],
    )


@router.get(
    "/explain",
    summary="What adds up to a product's score for a customer (staff only)",
    responses=problem_responses(
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.FORBIDDEN,
        HTTPStatus.NOT_FOUND,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.SERVICE_UNAVAILABLE,
    ),
)
async def get_explanation(
    customer_id: CustomerQuery,
    product_id: ProductQuery,
    response: Response,
    principal: Auditor,
    services: ServicesDep,
    channel: ChannelQuery = None,
) -> ExplainResponse:
    """Contributions per modality that add up exactly, and the ranker's own. A customer's own token does not open it."""
    _staff_only(principal, response)
    now, sources = services.clock(), Sources(FactStore(services.store), services.engine.features)
    try:
        found = await run_in_threadpool(
            explain, services.engine.model, sources, (customer_id, product_id), now, channel
        )
    except UnknownProductError as error:
        raise ProblemError(HTTPStatus.NOT_FOUND, str(error)) from error
    except StoreError as error:
        raise _unreadable(services) from error
    except FeaturesUnreadableError as error:
        raise _unreadable(services, "features") from error
    return ExplainResponse(
        customer_id=customer_id,
        product_id=product_id,
        model=found.model,
        policy=found.policy,
        mode=found.mode,
        allowed=found.allowed,
        explained_at=now,
        score=found.account.score,
        average=found.account.average,
        contributions=[ContributionOut(group=group, value=value) for group, value in found.account.parts.items()],
        ranker=[ContributionOut(group=group, value=value) for group, value in found.account.ranker.items()],
        reasons=[reason_out(reason) for reason in found.reasons],
    )


def _staff_only(principal: Principal, response: Response) -> None:
    if principal.customer_id is not None:
        raise ProblemError(HTTPStatus.FORBIDDEN, "this is for staff: a customer's token does not open it")
    response.headers["Cache-Control"] = "private, no-store"


def _unreadable(services: Services, dependency: str = "sql") -> ProblemError:
    services.metrics.failures.labels(dependency).inc()
    retry = {"Retry-After": str(RETRY_AFTER_SECONDS)}
    what = "facts" if dependency == "sql" else dependency
    return ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, f"the {what} cannot be read", retry)
