"""What customers did."""

from http import HTTPStatus

from fastapi import APIRouter, Request, Response

from recsys.errors import HomeError
from serving.dependencies import ServicesDep, Writer, authorised_customer
from serving.deprecations import note_fields
from serving.guard import UnavailableError
from serving.idempotency import KeyHeader
from serving.problems import OF_BODIES, RETRY_AFTER_SECONDS, ProblemError, problem_responses
from serving.schemas import EventBatch, EventResponse

router = APIRouter(prefix="/v1", tags=["events"])


@router.post(
    "/events",
    summary="Impressions, clicks, dismissals, applications, conversions",
    response_model=EventResponse,
    responses=problem_responses(*OF_BODIES, HTTPStatus.SERVICE_UNAVAILABLE),
)
async def take_events(
    body: EventBatch, request: Request, principal: Writer, services: ServicesDep, key: KeyHeader = None
) -> EventResponse | Response:
    """Stores each event once per `event_id`. What is accepted is durable, and the next answer knows it."""
    note_fields(request, body)
    customers = sorted({event.customer_id for event in body.events})
    for customer_id in customers:
        authorised_customer(principal, customer_id)

    async def store() -> EventResponse:
        try:
            # In a thread: a batch writes to two stores, which must not hold up the answers to others.
            return await services.writes.call(services.ingestor.ingest, body.events)
        except (UnavailableError, HomeError) as error:
            raise ProblemError(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "the events are not known to be stored; send them again",
                {"Retry-After": str(RETRY_AFTER_SECONDS)},
            ) from error

    return await services.idempotency.once(request, customers, store)
