"""What customers agree to."""

from functools import partial
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from serving.dependencies import ConsentWriter, Services, ServicesDep, one_customer
from serving.deprecations import note_fields
from serving.guard import UnavailableError
from serving.idempotency import KeyHeader
from serving.problems import OF_BODIES, RETRY_AFTER_SECONDS, ProblemError, problem_responses
from serving.schemas import ConsentBatch, ConsentOut, ConsentResponse, Identifier
from serving.store.consents import ConsentStore, GivenConsent

router = APIRouter(prefix="/v1", tags=["consents"])
CustomerPath = Annotated[Identifier, Path(description="Whose", examples=["c000001"])]


@router.put(
    "/customers/{customer_id}/consents",
    summary="What a customer agrees to, or no longer agrees to",
    response_model=ConsentResponse,
    responses=problem_responses(*OF_BODIES, HTTPStatus.SERVICE_UNAVAILABLE),
)
async def put_consents(
    customer_id: CustomerPath,
    body: ConsentBatch,
    request: Request,
    principal: ConsentWriter,
    services: ServicesDep,
    key: KeyHeader = None,
) -> ConsentResponse | Response:
    """Counts from the very next request on. An answer that is older than a stored one changes nothing."""
    note_fields(request, body)
    await one_customer(request, principal, customer_id, services)
    now = services.clock()
    if any(consent.given_at is not None and consent.given_at > now for consent in body.consents):
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "consents: given_at is in the future")
    answers = [
        GivenConsent(consent.purpose, consent.channel, consent.granted, consent.given_at or now)
        for consent in body.consents
    ]
    return await services.idempotency.once(request, [customer_id], partial(_store, services, customer_id, answers))


async def _store(services: Services, customer_id: str, answers: list[GivenConsent]) -> ConsentResponse:
    try:
        stored = await services.writes.call(ConsentStore(services.store).put, customer_id, answers)
    except UnavailableError as error:
        raise ProblemError(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "the consents are not known to be stored; send them again",
            {"Retry-After": str(RETRY_AFTER_SECONDS)},
        ) from error
    return ConsentResponse(
        customer_id=customer_id,
        consents=[
            ConsentOut(purpose=answer.purpose, channel=answer.channel, granted=answer.granted, given_at=answer.since)
            for answer in stored
        ],
    )
