"""The page at `/` and what its script asks beside the API. In production there is a sign at the door, nothing else."""

from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path as FilePath
from typing import Annotated, Any, Final, TypeVar

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse, HTMLResponse

from recsys.schema import Kind
from serving.dependencies import Services, ServicesDep
from serving.problems import RETRY_AFTER_SECONDS, ProblemError
from serving.schemas import Identifier, WireModel
from serving.store.database import StoreError
from serving.tokens import CONSENT, READ, WRITE
from serving.web.local import CUSTOMER_LIFETIME, OwnSite, PageUser, customer_token, own_site, page_token
from serving.web.pages import Pages
from serving.web.showcase.listing import Known, Search
from serving.web.showcase.portrait import Portrait
from serving.web.showcase.showcase import Showcase
from serving.web.showcase.trace import read_trace

PAGES: Final = Pages("showcase")
SCOPES: Final = (READ, WRITE, CONSENT)
"""What the app of a customer may do."""
MAX_ITEMS: Final = 100
SIGNATURES: Final = {b"\xff\xd8\xff": "image/jpeg", b"\x89PNG": "image/png", b"RIFF": "image/webp"}
NO_STORE: Final = {"Cache-Control": "private, no-store"}
Answer = TypeVar("Answer")
CustomerPath = Annotated[Identifier, Path()]

door = APIRouter(include_in_schema=False)
"""For production."""
router = APIRouter(include_in_schema=False)
"""For local servers."""
asked = APIRouter(prefix="/page", include_in_schema=False, dependencies=[Depends(own_site)])
"""What the script asks; every one of them needs the page's token."""
LOCAL: Final = (router, asked)
PRODUCTION: Final = (door,)


async def get_showcase(request: Request) -> Showcase:
    """The parts of the page."""
    showcase: Showcase = request.app.state.showcase
    return showcase


ShowcaseDep = Annotated[Showcase, Depends(get_showcase)]


@door.get("/")
async def sign(request: Request) -> HTMLResponse:
    """Says what this is, and where to read on."""
    return PAGES.render(request, "door.html")


@router.get("/")
async def page(
    request: Request,
    services: ServicesDep,
    showcase: ShowcaseDep,
    _: OwnSite,
    customer: Annotated[Identifier | None, Query()] = None,
    q: Annotated[str, Query(max_length=128)] = "",
    known: Known = Known.ALL,
    page: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
) -> HTMLResponse:
    """The list of customers, or one of them."""
    if customer is None:
        found = await read(showcase.customers.page, Search(q.strip(), known, page))
        return PAGES.render(request, "customers.html", found=found, filters=list(Known), now=services.clock())
    portrait = await _portrait(showcase, services, customer)
    if portrait is None:
        missing = PAGES.render(request, "unknown.html", customer=customer)
        missing.status_code = HTTPStatus.NOT_FOUND
        return missing
    products = services.models.current.pipeline.catalogue
    return PAGES.render(
        request,
        "customer.html",
        person=portrait,
        token=page_token(showcase.signing_key),
        products=sorted(zip(products.products.ids, products.product_titles, strict=True), key=lambda pair: pair[1]),
    )


@asked.get("/customers/{customer_id}")
async def known_part(
    request: Request, customer_id: CustomerPath, services: ServicesDep, showcase: ShowcaseDep, _: PageUser
) -> HTMLResponse:
    """The part of the page that says what is known of a customer, anew."""
    portrait = await _portrait(showcase, services, customer_id)
    if portrait is None:
        raise ProblemError(HTTPStatus.NOT_FOUND, "there is no such customer")
    return PAGES.render(request, "known.html", person=portrait)


class TokenFor(WireModel):
    """Whose token."""

    customer_id: Identifier


@asked.post("/tokens")
async def token_of_customer(
    body: TokenFor, response: Response, services: ServicesDep, showcase: ShowcaseDep, _: PageUser
) -> dict[str, Any]:
    """What the app of this customer would have."""
    response.headers.update(NO_STORE)
    known = body.customer_id not in showcase.erased
    if not known or not await read(showcase.painter.knows, body.customer_id, services.clock()):
        raise ProblemError(HTTPStatus.NOT_FOUND, "there is no such customer")
    token = customer_token(showcase.signing_key, body.customer_id, SCOPES)
    return {"token": token, "expires_in": CUSTOMER_LIFETIME.total_seconds()}


@asked.get("/items")
async def items(
    response: Response,
    showcase: ShowcaseDep,
    _: PageUser,
    products: Annotated[list[Identifier], Query(max_length=MAX_ITEMS)] = [],  # noqa: B006 - FastAPI copies it
    contents: Annotated[list[Identifier], Query(max_length=MAX_ITEMS)] = [],  # noqa: B006
) -> dict[str, Any]:
    """What products and creatives say."""
    response.headers.update(NO_STORE)
    return {
        "products": await read(showcase.items.read, Kind.PRODUCTS, products),
        "contents": await read(showcase.items.read, Kind.CONTENTS, contents),
    }


@asked.get("/pictures/{kind}/{item_id}")
async def picture(kind: Kind, item_id: Annotated[Identifier, Path()], showcase: ShowcaseDep, _: PageUser) -> Response:
    """The picture of a product or a creative."""
    return _as_response(await read(showcase.items.picture, kind, item_id))


@asked.get("/customers/{customer_id}/pictures/{message_id}")
async def sent_picture(
    customer_id: CustomerPath,
    message_id: Annotated[Identifier, Path()],
    services: ServicesDep,
    showcase: ShowcaseDep,
    _: PageUser,
) -> Response:
    """A picture that the customer sent, where it may be looked at."""
    model, now = services.models.current, services.clock()
    if customer_id in showcase.erased or not await read(showcase.painter.may_look, customer_id, model, now):
        raise ProblemError(HTTPStatus.NOT_FOUND, "there is no picture")
    return _as_response(await read(showcase.records.sent_picture, customer_id, message_id))


@asked.get("/decisions/{decision_id}")
async def trace(
    decision_id: Annotated[Identifier, Path()], response: Response, services: ServicesDep, _: PageUser
) -> dict[str, Any]:
    """Which rules removed what, as the decision log has it."""
    response.headers.update(NO_STORE)
    found = await read(read_trace, decision_id, services.log, services.store, services.models.current)
    if found is None:
        raise ProblemError(HTTPStatus.NOT_FOUND, "the log has no such decision")
    places = [place._asdict() | {"removed": [one._asdict() for one in place.removed]} for place in found.placements]
    return found._asdict() | {"placements": places}


async def read(reader: Callable[..., Answer], *arguments: Any) -> Answer:
    """Reads in a thread.

    Raises:
        ProblemError: 503 where the SQL store cannot be read.
    """
    try:
        return await run_in_threadpool(reader, *arguments)
    except StoreError as error:
        retry = {"Retry-After": str(RETRY_AFTER_SECONDS)}
        raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, "the store cannot be read", retry) from error


async def _portrait(showcase: Showcase, services: Services, customer_id: str) -> Portrait | None:
    if customer_id in showcase.erased:
        return None
    return await read(showcase.painter.paint, customer_id, services.models.current, services.clock())


def _as_response(found: FilePath | bytes | None) -> Response:
    if found is None:
        raise ProblemError(HTTPStatus.NOT_FOUND, "there is no picture")
    headers = {"Cache-Control": "private, max-age=300", "Content-Security-Policy": "default-src 'none'"}
    if isinstance(found, bytes):
        kind = next((name for start, name in SIGNATURES.items() if found.startswith(start)), "application/octet-stream")
        return Response(found, media_type=kind, headers=headers)
    return FileResponse(found, headers=headers)
