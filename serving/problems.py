"""Problem details (RFC 9457): what every error of the API looks like. Never an internal, never what was sent."""

import logging
import traceback
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from serving.headers import PRIVATE

_COMPONENT: Final = "#/components/schemas/{model}"
MEDIA_TYPE: Final = "application/problem+json"
RETRY_AFTER_SECONDS: Final = 5
"""When an app may ask again after a failure that passes."""
LOGGER = logging.getLogger("recsys.serving")


class Finding(BaseModel):
    """One thing that is wrong with a request."""

    pointer: str = Field(description="Where, as a JSON pointer (RFC 6901)", examples=["/body/placements/0/limit"])
    detail: str = Field(description="What", examples=["Input should be less than or equal to 50"])


class Problem(BaseModel):
    """An error (RFC 9457)."""

    type: str = Field(default="about:blank", examples=["about:blank"])
    title: str = Field(examples=["Forbidden"])
    status: int = Field(examples=[403])
    detail: str | None = Field(default=None, examples=["this token answers for its own customer only"])
    instance: str | None = Field(default=None, description="The request id", examples=["5f0c6d6e7c1e4ac7"])
    errors: list[Finding] | None = None


class ProblemError(Exception):
    """Ends a request with a problem."""

    def __init__(
        self,
        status: HTTPStatus,
        detail: str,
        headers: Mapping[str, str] | None = None,
        findings: Sequence[Finding] = (),
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers
        self.findings = findings


OF_BODIES: Final = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.CONFLICT,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
    HTTPStatus.TOO_MANY_REQUESTS,
)
"""What may be wrong with a request that has a body."""


def problem_responses(*statuses: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI description of the problems that a route answers with."""
    return {
        int(status): {
            "description": status.phrase,
            "content": {MEDIA_TYPE: {"schema": {"$ref": _COMPONENT.format(model="Problem")}}},
        }
        for status in statuses
    }


def problem_schemas() -> dict[str, Any]:
    """The schemas that `problem_responses` refers to; FastAPI describes only what routes return."""
    schema = Problem.model_json_schema(ref_template=_COMPONENT)
    return {**schema.pop("$defs"), "Problem": schema}


def install_problem_handlers(app: FastAPI) -> None:
    """Turns every error of the app into a problem, and describes it."""
    describe = app.openapi

    def described() -> dict[str, Any]:
        document = describe()
        document["components"]["schemas"] |= problem_schemas()
        return document

    app.openapi = described  # type: ignore[method-assign]
    app.add_exception_handler(ProblemError, _on_problem)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)


async def _on_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, ProblemError)  # noqa: S101 - Starlette hands over what was registered
    return respond(request, error.status, error.detail, error.findings, error.headers)


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101
    status = HTTPStatus(error.status_code)
    detail = error.detail if error.detail != status.phrase else None
    return respond(request, status, detail, headers=error.headers)


async def _on_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    findings = [Finding(pointer=_pointer(item["loc"]), detail=item["msg"]) for item in error.errors()]
    if any(item["type"] == "json_invalid" for item in error.errors()):
        return respond(request, HTTPStatus.BAD_REQUEST, "the body is not JSON", findings)
    return respond(request, HTTPStatus.UNPROCESSABLE_ENTITY, "the request does not fit the contract", findings)


def on_failure(request: Request, error: Exception) -> Response:
    """The answer to a request that our own fault ended. The log has where it was, and not what it was about."""
    where = traceback.extract_tb(error.__traceback__)[-1:]
    places = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in where]
    LOGGER.error("request %s failed: %s at %s", _request_id(request), type(error).__name__, "".join(places))
    return respond(request, HTTPStatus.INTERNAL_SERVER_ERROR, "the request could not be answered; it was logged")


def respond(
    request: Request,
    status: HTTPStatus,
    detail: str | None,
    findings: Sequence[Finding] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """The response to a request that ends with a problem."""
    problem = Problem(
        title=status.phrase,
        status=status,
        detail=detail,
        instance=_request_id(request),
        errors=list(findings) or None,
    )
    body = orjson.dumps(problem.model_dump(exclude_none=True))
    return Response(body, status, media_type=MEDIA_TYPE, headers={"Cache-Control": PRIVATE, **(headers or {})})


def _request_id(request: Request) -> str | None:
    return getattr(request.state, "request_id", None)


def _pointer(location: Sequence[str | int]) -> str:
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in location)
