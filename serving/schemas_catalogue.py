"""What goes over the wire about the catalogue: items in the words of the data contract."""

import binascii
from base64 import b64decode
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, AwareDatetime, Field, StringConstraints

from recsys.data.columns import CONTENT_STATUSES
from recsys.schema import PRODUCT_STATUSES, RISK_RATINGS
from serving.schemas import Identifier, WireModel

MAX_PICTURE_BYTES: Final = 4 << 20
MAX_PUT_BYTES: Final = 8 << 20
"""Of a whole request: a picture in base64 and its texts."""
MAX_TEXT: Final = 8_000
MAX_LIST: Final = 200
Text = Annotated[str, StringConstraints(max_length=MAX_TEXT)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Names = Annotated[list[Identifier], Field(max_length=MAX_LIST)]
ProductStatus = Literal[PRODUCT_STATUSES]  # type: ignore[valid-type]
ContentStatus = Literal[CONTENT_STATUSES]  # type: ignore[valid-type]
Rating = Literal[RISK_RATINGS]  # type: ignore[valid-type]


def _is_base64(text: str) -> str:
    try:
        b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("must be base64 (RFC 4648, section 4)") from error
    return text


Picture = Annotated[
    str, StringConstraints(min_length=4, max_length=4 * MAX_PICTURE_BYTES // 3 + 4), AfterValidator(_is_base64)
]


class ItemIn(WireModel):
    """What products and creatives share."""

    picture: Picture | None = Field(
        default=None, description="JPEG, PNG or WEBP in base64; left out: the one that it has stays"
    )
    features: dict[Identifier, Text | Number | Names | None] = Field(
        default_factory=dict,
        max_length=MAX_LIST,
        description="What the bank's dataset.yaml declares beside the contract",
    )

    def columns(self) -> dict[str, Any]:
        """The item's row, canonical and declared columns, those that were left out as null."""
        return self.model_dump(exclude={"picture", "features"}) | dict(self.features)

    def picture_bytes(self) -> bytes | None:
        """The file; None where none came."""
        return None if self.picture is None else b64decode(self.picture)


class ProductIn(ItemIn):
    """A product, whole: what is left out is not known of it."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=500)] = Field(examples=["Day Saver"])
    category: Identifier | None = Field(default=None, examples=["savings"])
    description: Text | None = None
    currency: Annotated[str, StringConstraints(pattern="^[A-Z]{3}$")] | None = None
    rate: Number | None = None
    fee: Number | None = None
    min_amount: Number | None = None
    term_months: Number | None = None
    issuer_risk: Rating | None = None
    bank_risk: Rating | None = None
    is_credit: bool | None = None
    repeatable: bool | None = None
    status: ProductStatus = Field(description="Anything but `live` withdraws it", examples=["live"])
    available_from: AwareDatetime | None = None
    available_to: AwareDatetime | None = None
    capacity: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    min_age: Number | None = None
    countries: Names | None = None
    segments: Names | None = None
    channels: Names | None = None
    prerequisites: Names | None = None
    value: Number | None = None


class ContentIn(ItemIn):
    """A creative, whole."""

    product_id: Identifier = Field(description="What it is about", examples=["p0007"])
    channel: Identifier | None = None
    language: Identifier | None = Field(default=None, examples=["en"])
    headline: Text | None = None
    body: Text | None = None
    call_to_action: Text | None = None
    disclaimer: Text | None = None
    tone: Identifier | None = None
    status: ContentStatus = Field(description="`withdrawn` takes it out of the next answer", examples=["approved"])
    content_hash: Identifier | None = Field(
        default=None, description="Of what is put, as the approval system computes it"
    )
    approved_hash: Identifier | None = Field(default=None, description="Of what was approved; must be the same")
    valid_from: AwareDatetime | None = None
    valid_to: AwareDatetime | None = None
    ai_generated: bool | None = None


class ItemPut(WireModel):
    """What was stored."""

    kind: str
    item_id: str
    revision: int = Field(description="Of the catalogue; rises with every change")
    changed_at: datetime
    live: bool = Field(description="Whether this worker shows it already; if not, it is held back until it does")


class ProductOut(WireModel):
    """A product as people see it."""

    product_id: str = Field(examples=["p0007"])
    name: str | None
    category: str | None
    description: str | None
    currency: str | None
    rate: float | None
    fee: float | None
    min_amount: float | None
    term_months: float | None
    issuer_risk: str | None
    bank_risk: str | None
    is_credit: bool | None
    status: str | None
    image: str | None = Field(description="Where its picture is", examples=["/v1/catalogue/products/p0007/image"])
    changed_at: str | None


class ContentOut(WireModel):
    """A creative as people see it."""

    content_id: str = Field(examples=["a00012"])
    product_id: str
    headline: str | None
    body: str | None
    call_to_action: str | None
    disclaimer: str | None
    tone: str | None
    language: str | None
    channel: str | None
    ai_generated: bool | None
    status: str | None
    image: str | None = Field(description="Where its picture is", examples=["/v1/catalogue/contents/a00012/image"])
    changed_at: str | None


class ProductList(WireModel):
    """Some products."""

    items: list[ProductOut]
    next_cursor: str | None = Field(description="For the next page; none after the last")


class ContentList(WireModel):
    """Some creatives."""

    items: list[ContentOut]
    next_cursor: str | None = Field(description="For the next page; none after the last")
