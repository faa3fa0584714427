"""How the service is."""

import asyncio
from http import HTTPStatus
from typing import Final

from fastapi import APIRouter, Depends, Response
from fastapi.concurrency import run_in_threadpool
from prometheus_client import CONTENT_TYPE_LATEST

from serving.dependencies import ServicesDep, metrics_reader
from serving.exposition import exposition
from serving.problems import problem_responses
from serving.schemas import Health
from serving.store.database import StoreError

router = APIRouter(tags=["operations"])
PING_SECONDS: Final = 1.0


@router.get("/livez", summary="Is the process alive?")
async def livez() -> Health:
    """Answers as long as the process does."""
    return Health(status="alive")


@router.get(
    "/readyz",
    summary="Can it answer?",
    responses={HTTPStatus.SERVICE_UNAVAILABLE: {"model": Health, "description": "The SQL store cannot be read"}},
)
async def readyz(response: Response, services: ServicesDep) -> Health:
    """Ready: model, catalogue and policy are loaded (else the process would not listen) and the SQL store answers.

    `detail` says where a newer champion or policy was refused: what was in force before is served on.
    """
    try:
        await asyncio.wait_for(run_in_threadpool(services.store.ping), PING_SECONDS)
    except (StoreError, TimeoutError):
        response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
        return Health(status="unavailable", versions=services.engine.versions(), detail="the SQL store does not answer")
    detail = None if services.reloader is None else services.reloader.detail
    return Health(status="ready", versions=services.engine.versions(), detail=detail)


@router.get(
    "/metrics",
    summary="Prometheus metrics",
    response_class=Response,
    dependencies=[Depends(metrics_reader)],
    responses={
        HTTPStatus.OK: {"content": {"text/plain": {"schema": {"type": "string"}}}},
        **problem_responses(HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.SERVICE_UNAVAILABLE),
    },
)
async def metrics(services: ServicesDep) -> Response:
    """The metrics of all workers. In local mode without a token, in production with the scope `metrics:read`."""
    return Response(exposition(services.metrics.registry), media_type=CONTENT_TYPE_LATEST)
