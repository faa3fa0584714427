"""In and out of the studio."""

from http import HTTPStatus
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query, Request, Response

from serving.auth.keys import KeysUnreadableError
from serving.dependencies import ServicesDep
from serving.settings import Mode, Settings
from serving.tokens import InvalidTokenError, Principal, issue_token
from serving.web.pages import language_of
from serving.web.studio.messages import translate
from serving.web.studio.session import COOKIE, LIFETIME, LOGIN, OPENING, ROLES, Form, FormDep, Sessions, read_form
from serving.web.studio.views import PAGES, go

router = APIRouter(prefix="/studio", include_in_schema=False)
HOME: Final = "/studio"
DEMO: Final = "demo-"
"""Begins the name of whoever signs in without a token, on a local server."""
PlainForm = Annotated[Form, Depends(read_form)]
Next = Annotated[str, Query(max_length=300)]


@router.get("/login")
async def login(request: Request, next: Next = HOME) -> Response:
    """Where a token is pasted."""
    return _page(request, next, "")


@router.post("/login")
async def sign_in(request: Request, form: PlainForm, services: ServicesDep) -> Response:
    """Takes a token, or on a local server the name of a role."""
    settings: Settings = request.app.state.studio_settings
    token = form.one("token")
    role = form.one("role")
    if role in ROLES and settings.mode is Mode.LOCAL:
        subject = f"{DEMO}{role}"
        token = issue_token(
            settings.signing_key(), subject=subject, scopes=ROLES[role], customer_id=None, lifetime=LIFETIME
        )
    try:
        principal: Principal = await services.tokens.verify(token)
    except (InvalidTokenError, KeysUnreadableError):
        return _page(request, form.one("next"), "the token is not valid, or not any more")
    if principal.customer_id is not None or principal.scopes.isdisjoint(OPENING):
        return _page(request, form.one("next"), "the token does not open the studio: it needs a scope of campaigns")
    answer = go(_inside(form.one("next")))
    sessions: Sessions = request.app.state.sessions
    sessions.open(principal, token, answer, secure=request.url.scheme == "https" or settings.mode is Mode.PRODUCTION)
    return answer


@router.post("/logout")
async def sign_out(form: FormDep) -> Response:
    """Forgets who it was."""
    answer = go(LOGIN)
    answer.delete_cookie(COOKIE, path=HOME)
    return answer


def _page(request: Request, next_: str, failure: str) -> Response:
    settings: Settings = request.app.state.studio_settings
    text = translate(failure, language_of(request)) if failure else ""
    roles = list(ROLES) if settings.mode is Mode.LOCAL else []
    page = PAGES.render(request, "studio/login.html", next=_inside(next_), failure=text, roles=roles)
    page.status_code = HTTPStatus.FORBIDDEN if failure else HTTPStatus.OK
    return page


def _inside(place: str) -> str:
    """An address of the studio; whatever else was asked for is its first page."""
    inside = place == HOME or (place.startswith(f"{HOME}/") and "//" not in place and "\\" not in place)
    return place if inside and not place.startswith(LOGIN) else HOME
