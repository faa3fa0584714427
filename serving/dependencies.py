"""What routes ask for by type: who is asking, and the parts of the service."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from time import perf_counter
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from serving.auth.keys import KeysUnreadableError
from serving.auth.verifiers import TokenVerifier
from serving.campaigns.workshop import Workshop
from serving.decision_log import DecisionLog
from serving.engine import Clock, RecommendationEngine
from serving.guard import Guard
from serving.idempotency import Idempotency
from serving.ingest import EventIngestor
from serving.loading import ItemTaker
from serving.metrics import Metrics
from serving.models import ModelHolder
from serving.paging import Pager
from serving.problems import RETRY_AFTER_SECONDS, ProblemError
from serving.rate_limits import RateLimiter
from serving.reload import Reloader
from serving.settings import Mode, Settings
from serving.store.database import Store
from serving.tokens import (
    ANY_CUSTOMER,
    AUDIT,
    CAMPAIGNS_APPROVE,
    CAMPAIGNS_READ,
    CAMPAIGNS_WRITE,
    CATALOGUE,
    CONSENT,
    METRICS,
    READ,
    WRITE,
    InvalidTokenError,
    Principal,
)

BEARER = HTTPBearer(auto_error=False, bearerFormat="JWT", description="`recsys token --customer ID` makes one")
Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(BEARER)]


@dataclass(frozen=True)
class Services:
    """The parts of a running service; `app.state.services`."""

    models: ModelHolder
    engine: RecommendationEngine
    pager: Pager
    ingestor: EventIngestor
    writes: Guard
    """Through which apps write into the SQL store."""
    log: DecisionLog
    store: Store
    metrics: Metrics
    clock: Clock
    catalogue: ItemTaker | None
    """None: the catalogue is the model's."""
    reloader: Reloader | None
    """None: what is served stays."""
    tokens: TokenVerifier
    limiter: RateLimiter
    idempotency: Idempotency
    settings: Settings
    workshop: Workshop
    """Campaigns."""


async def get_services(request: Request) -> Services:
    """The parts of the running service."""
    services: Services = request.app.state.services
    return services


ServicesDep = Annotated[Services, Depends(get_services)]


def require(*scopes: str) -> Callable[[Request, Credentials, ServicesDep], Awaitable[Principal]]:
    """A dependency that lets only tokens with one of `scopes` pass, as often as they may."""

    async def authorise(request: Request, credentials: Credentials, services: ServicesDep) -> Principal:
        started = perf_counter()
        principal = await identify(credentials, services)
        request.state.subject = principal.subject
        if principal.customer_id is None:
            await services.limiter.spend_client(request, principal.subject)
        else:
            await services.limiter.spend_customer(request, principal.customer_id)
        services.metrics.stages.labels("auth").observe(perf_counter() - started)
        if principal.scopes.isdisjoint(scopes):
            raise ProblemError(HTTPStatus.FORBIDDEN, f"the token lacks the scope {' or '.join(scopes)}")
        return principal

    return authorise


def require_staff(*scopes: str) -> Callable[[Request, Credentials, ServicesDep], Awaitable[Principal]]:
    """The same, and no customer's token, whatever it says."""
    authorise = require(*scopes)

    async def authorise_staff(request: Request, credentials: Credentials, services: ServicesDep) -> Principal:
        principal = await authorise(request, credentials, services)
        if principal.customer_id is not None:
            raise ProblemError(HTTPStatus.FORBIDDEN, "this is for staff: a customer's token does not open it")
        return principal

    return authorise_staff


async def identify(credentials: HTTPAuthorizationCredentials | None, services: Services) -> Principal:
    """Who a request's token speaks for.

    Raises:
        ProblemError: 401 where there is none or it is not valid; 503 where nobody can say.
    """
    if credentials is None:
        raise _unauthorised("a bearer token is required", "Bearer")
    try:
        return await services.tokens.verify(credentials.credentials)
    except InvalidTokenError as error:
        raise _unauthorised("the bearer token is not valid", 'Bearer error="invalid_token"') from error
    except KeysUnreadableError as error:
        retry = {"Retry-After": str(RETRY_AFTER_SECONDS)}
        raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, "no token can be judged now", retry) from error


Reader = Annotated[Principal, Depends(require(READ))]
Writer = Annotated[Principal, Depends(require(WRITE))]
ConsentWriter = Annotated[Principal, Depends(require(CONSENT))]
Auditor = Annotated[Principal, Depends(require(AUDIT))]
CatalogueWriter = Annotated[Principal, Depends(require(CATALOGUE))]
CampaignReader = Annotated[Principal, Depends(require_staff(CAMPAIGNS_READ, CAMPAIGNS_WRITE, CAMPAIGNS_APPROVE))]
CampaignWriter = Annotated[Principal, Depends(require_staff(CAMPAIGNS_WRITE))]
CampaignApprover = Annotated[Principal, Depends(require_staff(CAMPAIGNS_APPROVE))]
CampaignStopper = Annotated[Principal, Depends(require_staff(CAMPAIGNS_WRITE, CAMPAIGNS_APPROVE))]
"""Whoever may start a campaign or let it start may stop it."""


async def metrics_reader(credentials: Credentials, services: ServicesDep) -> None:
    """Lets operators pass: everybody in local mode, in production a token with the scope `metrics:read`."""
    settings = services.settings
    if settings.mode is Mode.LOCAL if settings.metrics_open is None else settings.metrics_open:
        return
    principal = await identify(credentials, services)
    if METRICS not in principal.scopes:
        raise ProblemError(HTTPStatus.FORBIDDEN, f"the token lacks the scope {METRICS}")


async def one_customer(request: Request, principal: Principal, customer_id: str | None, services: Services) -> str:
    """The customer that a request is about, who may be asked about only so often.

    Raises:
        ProblemError: see `authorised_customer`; 429 where a service asks about him too often.
    """
    customer = authorised_customer(principal, customer_id)
    if principal.customer_id is None:  # a customer's own request was counted as his when he was let in
        await services.limiter.spend_customer(request, customer)
    return customer


def authorised_customer(principal: Principal, customer_id: str | None) -> str:
    """The customer that a request is about: what it says, as far as its token goes.

    Raises:
        ProblemError: 403 where the token is another customer's, or nobody's; 422 where nobody is named.
    """
    if principal.customer_id is not None:
        if customer_id not in (None, principal.customer_id):
            raise ProblemError(HTTPStatus.FORBIDDEN, "this token answers for its own customer only")
        return principal.customer_id
    if not principal.any_customer:
        raise ProblemError(HTTPStatus.FORBIDDEN, f"the token names no customer and lacks the scope {ANY_CUSTOMER}")
    if customer_id is None:
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "customer_id is required with a service's token")
    return customer_id


def _unauthorised(detail: str, challenge: str) -> ProblemError:
    return ProblemError(HTTPStatus.UNAUTHORIZED, detail, {"WWW-Authenticate": challenge})
