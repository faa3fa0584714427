"""Who uses the studio: a bearer token, pasted once, becomes a short-lived cookie that no script can read."""

import hmac
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from http import HTTPStatus
from secrets import token_urlsafe
from typing import Annotated, Any, Final, NamedTuple
from urllib.parse import parse_qsl

import jwt
from fastapi import Depends, FastAPI, Request, Response
from fastapi.responses import RedirectResponse

from serving.problems import ProblemError
from serving.tokens import ALGORITHM, CAMPAIGNS_APPROVE, CAMPAIGNS_READ, CAMPAIGNS_WRITE, Principal

COOKIE: Final = "recsys_studio"
LIFETIME: Final = timedelta(hours=1)
ROLES: Final[Mapping[str, tuple[str, ...]]] = {
    "marketer": (CAMPAIGNS_READ, CAMPAIGNS_WRITE),
    "approver": (CAMPAIGNS_READ, CAMPAIGNS_APPROVE),
    "viewer": (CAMPAIGNS_READ,),
}
"""What each may do; whoever holds more scopes has more roles."""
OPENING: Final = frozenset({CAMPAIGNS_READ, CAMPAIGNS_WRITE, CAMPAIGNS_APPROVE})
MOST_BYTES: Final = 400_000
MOST_FIELDS: Final = 2_000
_AUDIENCE: Final = "recsys-studio"
LOGIN: Final = "/studio/login"


class Staff(NamedTuple):
    """Who is at the page."""

    subject: str
    scopes: frozenset[str]
    csrf: str
    """What a form must bring: another site cannot know it."""

    @property
    def writes(self) -> bool:
        """Whether he is a marketer."""
        return CAMPAIGNS_WRITE in self.scopes

    @property
    def approves(self) -> bool:
        """Whether he is an approver."""
        return CAMPAIGNS_APPROVE in self.scopes

    @property
    def role(self) -> str:
        """The strongest word for what he may do."""
        return "approver" if self.approves else "marketer" if self.writes else "viewer"


class LoginNeededError(Exception):
    """Nobody is signed in, or not any more."""


class Sessions:
    """Makes and reads the cookie.

    Args:
        secret: the service's key; the cookie's is derived from it, so that neither passes for the other.
    """

    def __init__(self, secret: str) -> None:
        self._key = hmac.digest(secret.encode(), b"studio-session/1", sha256)

    def open(self, principal: Principal, token: str, response: Response, secure: bool) -> None:
        """Signs somebody in; never for longer than his token holds."""
        now = datetime.now(UTC)
        end = min(now + LIFETIME, _end_of(token))
        scopes = " ".join(sorted(principal.scopes & OPENING))
        claims = {"aud": _AUDIENCE, "sub": principal.subject, "scope": scopes, "exp": end, "jti": token_urlsafe(16)}
        response.set_cookie(
            COOKIE,
            jwt.encode(claims, self._key, ALGORITHM),
            max_age=max(0, int((end - now).total_seconds())),
            path="/studio",
            secure=secure,
            httponly=True,
            samesite="strict",
        )

    def read(self, request: Request) -> Staff:
        """Who sent the cookie.

        Raises:
            LoginNeededError: there is none, or it is not valid (any more).
        """
        try:
            claims: dict[str, Any] = jwt.decode(
                request.cookies.get(COOKIE, ""),
                self._key,
                algorithms=[ALGORITHM],
                audience=_AUDIENCE,
                options={"require": ["exp", "sub", "aud", "jti"]},
            )
        except jwt.PyJWTError as error:
            raise LoginNeededError from error
        csrf = hmac.new(self._key, f"csrf {claims['jti']}".encode(), sha256).hexdigest()
        return Staff(claims["sub"], frozenset(claims["scope"].split()), csrf)


class Form(NamedTuple):
    """What a form sent."""

    values: dict[str, list[str]]

    def one(self, name: str) -> str:
        """A field's only value, without blanks around it; empty where it is not there."""
        return self.values.get(name, [""])[0].strip()

    def many(self, name: str) -> list[str]:
        """The values of boxes that share a name."""
        return self.values.get(name, [])


async def get_staff(request: Request) -> Staff:
    """Who is signed in."""
    sessions: Sessions = request.app.state.sessions
    return sessions.read(request)


StaffDep = Annotated[Staff, Depends(get_staff)]


async def read_form(request: Request) -> Form:
    """A form's fields.

    Raises:
        ProblemError: it is too large, is no form, or comes from another site.
    """
    if request.headers.get("content-type", "").split(";")[0].strip() != "application/x-www-form-urlencoded":
        raise ProblemError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "this takes a form")
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise ProblemError(HTTPStatus.FORBIDDEN, "another site may not send this")
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MOST_BYTES:
            raise ProblemError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the form is larger than {MOST_BYTES:,} bytes")
    try:
        pairs = parse_qsl(bytes(body).decode("utf-8"), keep_blank_values=True, max_num_fields=MOST_FIELDS)
    except ValueError as error:
        raise ProblemError(HTTPStatus.BAD_REQUEST, "the form cannot be read") from error
    values: dict[str, list[str]] = {}
    for name, value in pairs:
        values.setdefault(name, []).append(value.replace("\r\n", "\n").replace("\x00", ""))
    return Form(values)


async def read_signed_form(request: Request, staff: StaffDep) -> Form:
    """A form of somebody who is signed in, sent from a page of ours.

    Raises:
        ProblemError: 403 without the page's token.
    """
    form = await read_form(request)
    if not hmac.compare_digest(form.one("csrf").encode(), staff.csrf.encode()):
        raise ProblemError(HTTPStatus.FORBIDDEN, "this form is of another session: open the page again")
    return form


FormDep = Annotated[Form, Depends(read_signed_form)]


def install_login(app: FastAPI) -> None:
    """Sends whoever is not signed in to the login, and back when he is."""

    async def to_login(request: Request, error: Exception) -> Response:
        place = f"{LOGIN}?next={request.url.path}" if request.method == "GET" else LOGIN
        return RedirectResponse(place, HTTPStatus.SEE_OTHER, headers={"Cache-Control": "no-store"})

    app.add_exception_handler(LoginNeededError, to_login)


def _end_of(token: str) -> datetime:
    """When a token, which was verified before, ends."""
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return datetime.fromtimestamp(float(claims["exp"]), UTC)
