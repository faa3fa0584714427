"""What can be shown: products and creatives as they are now."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Response
from fastapi.concurrency import run_in_threadpool

from recsys.schema import Kind
from serving.dependencies import CatalogueWriter, Services, ServicesDep
from serving.items import NewItem, RefusedItemError
from serving.problems import RETRY_AFTER_SECONDS, ProblemError, problem_responses
from serving.schemas import Identifier
from serving.schemas_catalogue import ContentIn, ItemIn, ItemPut, ProductIn
from serving.store.database import StoreError
from serving.tokens import Principal

router = APIRouter(prefix="/v1/catalogue", tags=["catalogue"])
ProductPath = Annotated[Identifier, Path(examples=["p0007"])]
ContentPath = Annotated[Identifier, Path(examples=["a00012"])]
PROBLEMS = problem_responses(
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.SERVICE_UNAVAILABLE,
)


@router.put("/products/{product_id}", summary="Add or change a product, or withdraw it", responses=PROBLEMS)
async def put_product(
    product_id: ProductPath, body: ProductIn, response: Response, principal: CatalogueWriter, services: ServicesDep
) -> ItemPut:
    """Live within seconds, without retraining. What it was before is not shown from the next answer on."""
    return await _put(Kind.PRODUCTS, product_id, body, response, principal, services)


@router.put("/contents/{content_id}", summary="Add or change a creative, or withdraw it", responses=PROBLEMS)
async def put_content(
    content_id: ContentPath, body: ContentIn, response: Response, principal: CatalogueWriter, services: ServicesDep
) -> ItemPut:
    """Live within seconds, without retraining. What it was before is not shown from the next answer on."""
    return await _put(Kind.CONTENTS, content_id, body, response, principal, services)


async def _put(
    kind: Kind, item_id: str, body: ItemIn, response: Response, principal: Principal, services: Services
) -> ItemPut:
    if principal.customer_id is not None:
        raise ProblemError(HTTPStatus.FORBIDDEN, "this is for staff: a customer's token does not open it")
    response.headers["Cache-Control"] = "no-store"
    item = NewItem(kind, item_id, body.columns(), body.picture_bytes())
    try:
        # In a thread: text and picture are encoded, which takes as long as many answers.
        return await run_in_threadpool(_store, item, principal.subject, services)
    except RefusedItemError as error:
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from error
    except StoreError as error:
        services.metrics.failures.labels("sql").inc()
        retry = {"Retry-After": str(RETRY_AFTER_SECONDS)}
        raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, "nothing was stored; put the item again", retry) from error


def _store(item: NewItem, subject: str, services: Services) -> ItemPut:
    catalogue = services.catalogue
    if catalogue is None:
        raise RefusedItemError("the catalogue of this service cannot be changed: it was started without a home")
    if item.kind is Kind.CONTENTS:
        _require_product(str(item.columns["product_id"]), services)
    revision = catalogue.put(item, subject, services.clock())
    return ItemPut(
        kind=str(item.kind),
        item_id=item.item_id,
        revision=revision.number,
        changed_at=revision.change.changed_at,
        live=services.models.current.catalogue_revision >= revision.number,
    )


def _require_product(product_id: str, services: Services) -> None:
    known = product_id in services.models.current.pipeline.catalogue.products.index
    if (
        not known
        and services.catalogue is not None
        and services.catalogue.store.latest(Kind.PRODUCTS, product_id) is None
    ):
        raise RefusedItemError(f"product_id: there is no product {product_id} in the catalogue: put it first")
