"""What routes ask for by type: who is asking, and the parts of the service."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from serving.auth.keys import KeysUnreadableError
from serving.auth.verifiers import TokenVerifier
from serving.decision_log import DecisionLog
from serving.engine import Clock, RecommendationEngine
from serving.guard import Guard
from serving.ingest import EventIngestor
from serving.loading import ItemTaker
from serving.metrics import Metrics
from serving.models import ModelHolder
from serving.problems import RETRY_AFTER_SECONDS, ProblemError
from serving.reload import Reloader
from serving.store.database import Store
from serving.tokens import ANY_CUSTOMER, AUDIT, CATALOGUE, CONSENT, READ, WRITE, InvalidTokenError, Principal

BEARER = HTTPBearer(auto_error=False, bearerFormat="JWT", description="`recsys token --customer ID` makes one")
Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(BEARER)]


@dataclass(frozen=True)
class Services:
    """The parts of a running service; `app.state.services`."""

    models: ModelHolder
    engine: RecommendationEngine
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


async def get_services(request: Request) -> Services:
    """The parts of the running service."""
    services: Services = request.app.state.services
    return services


ServicesDep = Annotated[Services, Depends(get_services)]


def require(scope: str) -> Callable[[Credentials, ServicesDep], Awaitable[Principal]]:
    """A dependency that lets only tokens with `scope` pass."""

    async def authorise(credentials: Credentials, services: ServicesDep) -> Principal:
        if credentials is None:
            raise _unauthorised("a bearer token is required", "Bearer")
        try:
            principal = await services.tokens.verify(credentials.credentials)
        except InvalidTokenError as error:
            raise _unauthorised("the bearer token is not valid", 'Bearer error="invalid_token"') from error
        except KeysUnreadableError as error:
            retry = {"Retry-After": str(RETRY_AFTER_SECONDS)}
            raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, "no token can be judged now", retry) from error
        if scope not in principal.scopes:
            raise ProblemError(HTTPStatus.FORBIDDEN, f"the token lacks the scope {scope}")
        return principal

    return authorise


Reader = Annotated[Principal, Depends(require(READ))]
Writer = Annotated[Principal, Depends(require(WRITE))]
ConsentWriter = Annotated[Principal, Depends(require(CONSENT))]
Auditor = Annotated[Principal, Depends(require(AUDIT))]
CatalogueWriter = Annotated[Principal, Depends(require(CATALOGUE))]


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
