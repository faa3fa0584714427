"""What can be shown: words, terms and pictures, as they are now, for apps to keep."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from bisect import bisect_right
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path as FilePath
from typing import Annotated, Any, Final, TypeVar

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import StringConstraints

from recsys.schema import Kind
from serving.conditional import MINUTES, picture_type, tagged
from serving.dependencies import Reader, Services, ServicesDep
from serving.problems import RETRY_AFTER_SECONDS, ProblemError, problem_responses
from serving.routes.catalogue import ContentPath, ProductPath
from serving.schemas import WireModel
from serving.schemas_catalogue import ContentList, ContentOut, ProductList, ProductOut
from serving.store.database import StoreError
from serving.tokens import Principal
from serving.web.showcase.items import ItemCards

router = APIRouter(prefix="/v1/catalogue", tags=["catalogue"])
MAX_PAGE: Final = 100
CursorQuery = Annotated[
    Annotated[str, StringConstraints(min_length=1, max_length=512)] | None,
    Query(description="The `next_cursor` of the page before"),
]
LimitQuery = Annotated[int, Query(ge=1, le=MAX_PAGE)]
SHOWN_TO_CUSTOMERS: Final = {Kind.PRODUCTS: "live", Kind.CONTENTS: "approved"}
NOT_MODIFIED: Final[dict[int | str, dict[str, Any]]] = {
    304: {"description": "Not Modified: what If-None-Match names is what it is"}
}
PICTURE: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The file",
        "content": {
            f"image/{name}": {"schema": {"type": "string", "format": "binary"}}
            for name in ("jpeg", "png", "webp", "gif")
        },
    }
}
PROBLEMS: Final = problem_responses(
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.UNPROCESSABLE_ENTITY,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.SERVICE_UNAVAILABLE,
)
ONE: Final = {**PROBLEMS, **problem_responses(HTTPStatus.NOT_FOUND), **NOT_MODIFIED}
T = TypeVar("T")


@router.get("/products", summary="All products", response_model=ProductList, responses={**PROBLEMS, **NOT_MODIFIED})
async def list_products(
    request: Request, principal: Reader, services: ServicesDep, cursor: CursorQuery = None, limit: LimitQuery = 50
) -> Response:
    """In the order of their ids. A customer sees those that are live."""
    items, following = await _page(Kind.PRODUCTS, (cursor, limit), principal, request)
    return _tagged(request, ProductList(items=[_product(*pair) for pair in items], next_cursor=following))


@router.get("/contents", summary="All creatives", response_model=ContentList, responses={**PROBLEMS, **NOT_MODIFIED})
async def list_contents(
    request: Request, principal: Reader, services: ServicesDep, cursor: CursorQuery = None, limit: LimitQuery = 50
) -> Response:
    """In the order of their ids. A customer sees those that are approved."""
    items, following = await _page(Kind.CONTENTS, (cursor, limit), principal, request)
    return _tagged(request, ContentList(items=[_content(*pair) for pair in items], next_cursor=following))


@router.get("/products/{product_id}", summary="A product", response_model=ProductOut, responses=ONE)
async def get_product(product_id: ProductPath, request: Request, principal: Reader, services: ServicesDep) -> Response:
    """As it is now."""
    return _tagged(request, _product(product_id, await _card(Kind.PRODUCTS, product_id, principal, request)))


@router.get("/contents/{content_id}", summary="A creative", response_model=ContentOut, responses=ONE)
async def get_content(content_id: ContentPath, request: Request, principal: Reader, services: ServicesDep) -> Response:
    """As it is now."""
    return _tagged(request, _content(content_id, await _card(Kind.CONTENTS, content_id, principal, request)))


@router.get(
    "/products/{product_id}/image",
    summary="A product's picture",
    response_class=Response,
    responses={**ONE, **PICTURE},
)
async def get_product_image(
    product_id: ProductPath, request: Request, principal: Reader, services: ServicesDep
) -> Response:
    """The file; it may be kept for some minutes."""
    return await _image(Kind.PRODUCTS, product_id, principal, request)


@router.get(
    "/contents/{content_id}/image",
    summary="A creative's picture",
    response_class=Response,
    responses={**ONE, **PICTURE},
)
async def get_content_image(
    content_id: ContentPath, request: Request, principal: Reader, services: ServicesDep
) -> Response:
    """The file; it may be kept for some minutes."""
    return await _image(Kind.CONTENTS, content_id, principal, request)


async def _image(kind: Kind, item_id: str, principal: Principal, request: Request) -> Response:
    await _card(kind, item_id, principal, request)
    found = await _read(request, _bytes, _cards(request), kind, item_id)
    media_type = None if found is None else picture_type(found)
    if found is None or media_type is None:
        raise ProblemError(HTTPStatus.NOT_FOUND, f"{item_id} has no picture")
    return tagged(request, found, media_type, MINUTES)


def _bytes(cards: ItemCards, kind: Kind, item_id: str) -> bytes | None:
    found = cards.picture(kind, item_id)
    return found.read_bytes() if isinstance(found, FilePath) else found


async def _card(kind: Kind, item_id: str, principal: Principal, request: Request) -> dict[str, Any]:
    found = (await _read(request, _cards(request).read, kind, [item_id])).get(item_id)
    if found is None or not _may_see(kind, found, principal):
        raise ProblemError(HTTPStatus.NOT_FOUND, f"there is no {item_id}")
    return found


async def _page(
    kind: Kind, asked: tuple[str | None, int], principal: Principal, request: Request
) -> tuple[list[tuple[str, dict[str, Any]]], str | None]:
    """The items after the cursor, and the cursor after them: it names the last id, so that it outlives changes."""
    cursor, limit = asked
    services: Services = request.app.state.services
    ids = sorted(services.models.current.pipeline.catalogue.ids(kind))
    start = 0 if cursor is None else bisect_right(ids, _id_of(cursor))
    cards = _cards(request)
    items: list[tuple[str, dict[str, Any]]] = []
    while start < len(ids) and len(items) < limit:
        wanted = ids[start : start + limit - len(items)]
        start += len(wanted)
        found = await _read(request, cards.read, kind, wanted)
        items += [(one, found[one]) for one in wanted if one in found and _may_see(kind, found[one], principal)]
    return items, _cursor_of(ids[start - 1]) if start < len(ids) else None


def _may_see(kind: Kind, card: dict[str, Any], principal: Principal) -> bool:
    return principal.customer_id is None or card["status"] in (None, SHOWN_TO_CUSTOMERS[kind])


def _cursor_of(item_id: str) -> str:
    return urlsafe_b64encode(item_id.encode()).decode().rstrip("=")


def _id_of(cursor: str) -> str:
    try:
        item_id = urlsafe_b64decode(cursor.encode() + b"=" * (-len(cursor) % 4)).decode()
    except (Base64Error, ValueError):
        item_id = ""
    if _cursor_of(item_id) != cursor:
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "cursor: is none of this list's")
    return item_id


def _product(product_id: str, card: dict[str, Any]) -> ProductOut:
    shown, image = _shown(card, f"/v1/catalogue/products/{product_id}/image")
    return ProductOut(product_id=product_id, image=image, **shown)


def _content(content_id: str, card: dict[str, Any]) -> ContentOut:
    shown, image = _shown(card, f"/v1/catalogue/contents/{content_id}/image")
    return ContentOut(content_id=content_id, image=image, **shown)


def _shown(card: dict[str, Any], image: str) -> tuple[dict[str, Any], str | None]:
    return {name: value for name, value in card.items() if name != "picture"}, image if card["picture"] else None


def _tagged(request: Request, answer: WireModel) -> Response:
    return tagged(request, answer.model_dump_json().encode(), "application/json")


def _cards(request: Request) -> ItemCards:
    cards: ItemCards = request.app.state.showcase.items
    return cards


async def _read(request: Request, reader: Callable[..., T], *arguments: Any) -> T:
    try:
        return await run_in_threadpool(reader, *arguments)
    except (StoreError, OSError) as error:
        services: Services = request.app.state.services
        services.metrics.failures.labels("sql").inc()
        retry = {"Retry-After": str(RETRY_AFTER_SECONDS)}
        raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, "the catalogue cannot be read now", retry) from error
