"""The page at `/docs`: Swagger UI over the API's own document, with nothing from elsewhere.

Its script and stylesheet come from a package, and what starts it is a file of its own, so that the content policy of
this page forbids every script that is written into a page, as everywhere else.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Final

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles

from serving.web.pages import CONTENT_SECURITY_POLICY, Pages

PATH: Final = "/docs"
_ASSETS: Final = f"{PATH}/assets"
_PACKAGE: Final = "fastapi_offline"
"""Carries the files of Swagger UI 5, the first that reads OpenAPI 3.1; none of its code is used."""
_PAGES: Final = Pages("showcase")
_POLICY: Final = CONTENT_SECURITY_POLICY.replace("img-src 'self'", "img-src 'self' data:")
"""Swagger UI's stylesheet has its icons in itself."""

router = APIRouter(include_in_schema=False)


def install_reference(app: FastAPI) -> None:
    """Adds the page; for an app that serves its document."""
    app.include_router(router)
    app.mount(_ASSETS, StaticFiles(directory=_files()))


@router.get(PATH)
async def reference(request: Request) -> HTMLResponse:
    """All operations, each with what it takes and gives, to read and to try."""
    page = _PAGES.render(request, "reference.html", document=request.app.openapi_url, assets=_ASSETS)
    page.headers["Content-Security-Policy"] = _POLICY
    return page


def _files() -> Path:
    spec = find_spec(_PACKAGE)  # the package itself is not imported
    assert spec is not None  # noqa: S101 - requirements.txt has it
    assert spec.origin is not None  # noqa: S101
    return Path(spec.origin).parent / "static"
