"""What the studio's pages share: how they are shown, how errors are, and the parts that they read."""

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Annotated, Any, Final, NamedTuple, ParamSpec, TypeVar

from fastapi import Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, RedirectResponse

from recsys.errors import RecsysError
from serving.campaigns.bank import NoBankError
from serving.campaigns.briefs import InvalidBriefError
from serving.campaigns.workshop import NoPlanError, Workshop
from serving.dependencies import ServicesDep
from serving.problems import ProblemError
from serving.store.campaigns import Campaign, CampaignError, NoCampaignError
from serving.store.database import StoreError
from serving.web.pages import Pages, language_of
from serving.web.studio.messages import translate
from serving.web.studio.session import Staff

PAGES: Final = Pages("studio")
PATH: Final = ("draft", "generated", "validated", "submitted", "approved", "scheduled", "sending", "completed")
"""The states of a campaign that goes well."""
TONES: Final[Mapping[str, str]] = {
    "draft": "",
    "generated": "brand",
    "validated": "brand",
    "submitted": "warn",
    "rejected": "bad",
    "approved": "good",
    "scheduled": "good",
    "sending": "good",
    "paused": "warn",
    "completed": "",
    "withdrawn": "bad",
}
"""The colour of a state's badge."""
P = ParamSpec("P")
T = TypeVar("T")


async def get_workshop(services: ServicesDep) -> Workshop:
    """Campaigns."""
    return services.workshop


WorkshopDep = Annotated[Workshop, Depends(get_workshop)]


class Failure(NamedTuple):
    """What went wrong, for the page."""

    text: str
    status: HTTPStatus
    fields: Mapping[str, str]
    """By place in the brief."""


def show(request: Request, staff: Staff, template: str, *, status: int = HTTPStatus.OK, **values: Any) -> HTMLResponse:
    """A page of the studio."""
    page = PAGES.render(
        request,
        f"studio/{template}",
        staff=staff,
        tones=TONES,
        done=request.query_params.get("done", ""),
        translated=lambda text: translate(text, language_of(request)),
        **{"failure": None, "campaign": None, "tab": "", **values},
    )
    page.status_code = status
    return page


def go(place: str, done: str = "") -> RedirectResponse:
    """Post, redirect, get."""
    return RedirectResponse(
        f"{place}?done={done}" if done else place, HTTPStatus.SEE_OTHER, headers={"Cache-Control": "no-store"}
    )


async def try_to(request: Request, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | Failure:
    """What a function gives, from a thread; its errors in the reader's language."""
    language = language_of(request)
    try:
        return await run_in_threadpool(function, *args, **kwargs)
    except InvalidBriefError as error:
        fields = {one.place: translate(one.detail, language) for one in error.findings}
        return Failure(translate(str(error), language), HTTPStatus.UNPROCESSABLE_ENTITY, fields)
    except (NoCampaignError, NoPlanError) as error:
        return Failure(translate(str(error), language), HTTPStatus.NOT_FOUND, {})
    except (CampaignError, NoBankError) as error:
        return Failure(translate(str(error), language), HTTPStatus.CONFLICT, {})
    except RecsysError as error:
        return Failure(translate(str(error), language), HTTPStatus.UNPROCESSABLE_ENTITY, {})
    except StoreError:
        text = translate("the store does not answer: try again in a moment", language)
        return Failure(text, HTTPStatus.SERVICE_UNAVAILABLE, {})


async def must(request: Request, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The same where a page cannot do without.

    Raises:
        ProblemError: what went wrong.
    """
    found = await try_to(request, function, *args, **kwargs)
    if isinstance(found, Failure):
        raise ProblemError(found.status, found.text)
    return found


def require_role(allowed: bool) -> None:
    """Refuses who may not do this.

    Raises:
        ProblemError: 403.
    """
    if not allowed:
        raise ProblemError(HTTPStatus.FORBIDDEN, "your role does not allow this")


def has_plan(campaign: Campaign) -> bool:
    """Whether there is a plan to look at."""
    return "plan" in campaign.plan
