"""Renders pages: Jinja2 with escaping on, the words of a language, and headers that let nothing foreign in."""

from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from fastapi import Request
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from serving.web.languages import HTML_LANGUAGE, LANGUAGES, choose_language, words

ASSETS: Final = "/web"
"""Where stylesheets and scripts are served."""
LANGUAGE_COOKIE: Final = "recsys_language"
_FOLDER: Final = Path(__file__).parent
_STATIC: Final = _FOLDER / "static"
CONTENT_SECURITY_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob:",  # a picture that needs a token is fetched by the script
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
PAGE_HEADERS: Final = {
    "Cache-Control": "private, no-store",
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Vary": "Accept-Language, Cookie",
    "X-Frame-Options": "DENY",
}


class Pages:
    """The pages of one area, such as `showcase`: its words, and the templates and assets that all areas share."""

    def __init__(self, area: str) -> None:
        self._area = area

    def render(self, request: Request, template: str, **values: Any) -> HTMLResponse:
        """A page in the language that `?lang=` or the browser asks for.

        Templates have `t(key, **values)` for words, `asset(name)` for addresses of `static/`, `words` (all of them, for
        scripts), `language`, `languages`, `in_language(code)` (the address of this page in another). A name that is not
        there is an error.
        """
        language = language_of(request)
        known = words(self._area, language)
        page = environment().get_template(template)
        text = page.render(
            t=lambda key, **inserted: known[key].format(**inserted),
            asset=asset,
            words=known,
            language=language,
            html_language=HTML_LANGUAGE[language],
            languages=LANGUAGES,
            has_docs=request.app.openapi_url is not None,
            in_language=lambda code: f"?{request.url.include_query_params(lang=code).query}",
            **values,
        )
        answer = HTMLResponse(text, headers={**PAGE_HEADERS, "Content-Language": HTML_LANGUAGE[language]})
        if request.query_params.get("lang") in LANGUAGES:
            answer.set_cookie(LANGUAGE_COOKIE, language, max_age=365 * 86_400, samesite="lax", httponly=True)
        return answer


def language_of(request: Request) -> str:
    """The language that `?lang=` asks for, else the one that was chosen before, else the browser's."""
    chosen = request.query_params.get("lang") or request.cookies.get(LANGUAGE_COOKIE)
    return choose_language(chosen, request.headers.get("accept-language"))


@cache
def environment() -> Environment:
    """Templates: everything is escaped, whatever the file is called. `|day`, `|moment` (both UTC) and `|amount`."""
    made = Environment(
        loader=FileSystemLoader(_FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"day": _day, "moment": _moment, "amount": _amount}
    return made


def _day(at: datetime) -> str:
    return at.astimezone(UTC).date().isoformat()


def _moment(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M}"


def _amount(value: float, digits: int = 0) -> str:
    return f"{value:,.{digits}f}"


@cache
def asset(name: str) -> str:
    """The address of a file of `static/`, with a digest so that a new one is never mistaken for one in a cache."""
    return f"{ASSETS}/{name}?v={sha256((_STATIC / name).read_bytes()).hexdigest()[:12]}"


def static_files() -> StaticFiles:
    """Serves `static/`; mount it at `ASSETS`."""
    return StaticFiles(directory=_STATIC)
