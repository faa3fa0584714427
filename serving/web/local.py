"""Who may use the pages of a local server: a browser on the page itself and not on a foreign site.

A page carries a token for staff, which its script sends as a header. A foreign site can neither read it (the browser
keeps origins apart) nor make a browser send it. That nobody reaches a local server from another machine, or under
another name than this machine's own, is `serving.bounds.LocalOnlyMiddleware`'s doing.
"""

from collections.abc import Sequence
from datetime import timedelta
from http import HTTPStatus
from typing import Annotated, Final

from fastapi import Depends, Request

from serving.dependencies import require
from serving.problems import ProblemError
from serving.tokens import AUDIT, Principal, issue_token

PAGE: Final = "page:read"
"""The scope of what only pages ask; `recsys token` grants it to nobody unless it is named."""
PAGE_SCOPES: Final = (PAGE, AUDIT)
PAGE_HOURS: Final = timedelta(hours=8)
CUSTOMER_LIFETIME: Final = timedelta(minutes=15)
_OWN_SITE: Final = ("same-origin", "none")
"""`none`: the user typed the address, or followed a bookmark."""


async def own_site(request: Request) -> None:
    """Refuses what the script of another site asks; to follow a link from there to a page is no harm.

    Raises:
        ProblemError: 403.
    """
    site, navigates = request.headers.get("sec-fetch-site"), request.headers.get("sec-fetch-mode") == "navigate"
    if site is not None and site not in _OWN_SITE and not navigates:
        raise ProblemError(HTTPStatus.FORBIDDEN, "another site may not ask this")


OwnSite = Annotated[None, Depends(own_site)]
PageUser = Annotated[Principal, Depends(require(PAGE))]


def page_token(key: str) -> str:
    """What a page's script shows to the page's own routes, and to those for auditors."""
    return _token(key, "page", PAGE_SCOPES, None, PAGE_HOURS)


def customer_token(key: str, customer_id: str, scopes: Sequence[str]) -> str:
    """What the app of this customer would show to the API, for a short time."""
    return _token(key, customer_id, scopes, customer_id, CUSTOMER_LIFETIME)


def _token(key: str, subject: str, scopes: Sequence[str], customer_id: str | None, lifetime: timedelta) -> str:
    return issue_token(key, subject=subject, scopes=scopes, customer_id=customer_id, lifetime=lifetime)
