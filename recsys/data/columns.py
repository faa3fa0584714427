"""The canonical columns of every table (data-contract.md) and which physical types may stand for them."""

from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple

import polars as pl
from polars.datatypes import DataType, DataTypeClass

from recsys.schema import CONSENT_PURPOSES, PRODUCT_STATUSES, RISK_LEVELS, RISK_RATINGS, FeatureKind, Table

CONTENT_STATUSES: Final = (
    "draft",
    "generated",
    "validated",
    "submitted",
    "approved",
    "scheduled",
    "sending",
    "completed",
    "withdrawn",
)
"""The states of a creative (domain.md, Marketing content)."""
MESSAGE_SOURCES: Final = ("chat", "search", "call", "note")
TIME_DTYPE: Final = pl.Datetime("us", "UTC")


class ValueType(StrEnum):
    """What a column means; `DTYPES` says how a scan yields it and `misfit` which types a file may hold it in."""

    ID = "string"
    CATEGORY = "category"
    NUMBER = "number"
    FLAG = "boolean"
    TIME = "timestamp with a time zone"
    STRING_LIST = "list of strings"


DTYPES: Final = MappingProxyType(
    {
        ValueType.ID: pl.String(),
        ValueType.CATEGORY: pl.String(),
        ValueType.NUMBER: pl.Float64(),
        ValueType.FLAG: pl.Boolean(),
        ValueType.TIME: TIME_DTYPE,
        ValueType.STRING_LIST: pl.List(pl.String()),
    }
)

FEATURE_TYPES: Final = MappingProxyType(
    {
        FeatureKind.NUMERIC: ValueType.NUMBER,
        FeatureKind.CATEGORICAL: ValueType.CATEGORY,
        FeatureKind.CATEGORICAL_LIST: ValueType.STRING_LIST,
        FeatureKind.TEXT: ValueType.ID,
        FeatureKind.IMAGE: ValueType.ID,
        FeatureKind.TIMESTAMP: ValueType.TIME,
    }
)
"""What a declared feature of each kind must hold; the kinds that are missing here cannot be declared."""


class Column(NamedTuple):
    """A canonical column."""

    type: ValueType
    required: bool = False
    """The column must be there and have no null."""
    values: tuple[str, ...] = ()
    """The only values that it may take; empty: any."""


class TableSchema(NamedTuple):
    """A canonical table."""

    key: tuple[str, ...]
    """The columns that together name a row."""
    columns: MappingProxyType[str, Column]


ID, CATEGORY, NUMBER, FLAG, TIME = (
    Column(kind) for kind in (ValueType.ID, ValueType.CATEGORY, ValueType.NUMBER, ValueType.FLAG, ValueType.TIME)
)
STRING_LIST = Column(ValueType.STRING_LIST)
TEXT = ID
KEY_ID, KEY_TIME = Column(ValueType.ID, required=True), Column(ValueType.TIME, required=True)


def _one_of(*values: str, required: bool = False) -> Column:
    return Column(ValueType.CATEGORY, required, values)


def _table(key: tuple[str, ...], **columns: Column) -> TableSchema:
    return TableSchema(key, MappingProxyType(columns))


SCHEMAS: Final = MappingProxyType(
    {
        Table.CUSTOMERS: _table(
            ("customer_id", "event_timestamp"),
            customer_id=KEY_ID,
            event_timestamp=KEY_TIME,
            segment=CATEGORY,
            region=CATEGORY,
            country=CATEGORY,
            time_zone=CATEGORY,
            language=CATEGORY,
            joined_at=TIME,
            income_band=CATEGORY,
            risk_level=_one_of(*RISK_LEVELS),
            risk_assessed_at=TIME,
            kyc_status=CATEGORY,
            liquid_amount=NUMBER,
            horizon_months=NUMBER,
            knowledge_level=CATEGORY,
            is_minor=FLAG,
            in_arrears=FLAG,
            bereaved=FLAG,
            fraud_victim=FLAG,
            open_complaint=FLAG,
        ),
        Table.PRODUCTS: _table(
            ("product_id", "event_timestamp"),
            product_id=KEY_ID,
            event_timestamp=KEY_TIME,
            name=Column(ValueType.ID, required=True),
            category=CATEGORY,
            description=TEXT,
            image_path=TEXT,
            currency=CATEGORY,
            rate=NUMBER,
            fee=NUMBER,
            min_amount=NUMBER,
            term_months=NUMBER,
            issuer_risk=_one_of(*RISK_RATINGS),
            bank_risk=_one_of(*RISK_RATINGS),
            is_credit=FLAG,
            repeatable=FLAG,
            status=_one_of(*PRODUCT_STATUSES),
            available_from=TIME,
            available_to=TIME,
            capacity=NUMBER,
            min_age=NUMBER,
            countries=STRING_LIST,
            segments=STRING_LIST,
            channels=STRING_LIST,
            prerequisites=STRING_LIST,
            value=NUMBER,
        ),
        Table.CONTENTS: _table(
            ("content_id", "event_timestamp"),
            content_id=KEY_ID,
            event_timestamp=KEY_TIME,
            product_id=KEY_ID,
            channel=CATEGORY,
            language=CATEGORY,
            headline=TEXT,
            body=TEXT,
            call_to_action=TEXT,
            disclaimer=TEXT,
            image_path=TEXT,
            tone=CATEGORY,
            status=_one_of(*CONTENT_STATUSES),
            content_hash=TEXT,
            approved_hash=TEXT,
            valid_from=TIME,
            valid_to=TIME,
            ai_generated=FLAG,
        ),
        Table.EVENTS: _table(
            ("event_id",),
            event_id=KEY_ID,
            customer_id=KEY_ID,
            event_timestamp=KEY_TIME,
            event_type=Column(ValueType.CATEGORY, required=True),
            product_id=ID,
            content_id=ID,
            channel=CATEGORY,
            placement=CATEGORY,
            value=NUMBER,
            request_id=ID,
            position=NUMBER,
            propensity=NUMBER,
            arm=CATEGORY,
        ),
        Table.MESSAGES: _table(
            ("message_id",),
            message_id=KEY_ID,
            customer_id=KEY_ID,
            event_timestamp=KEY_TIME,
            text=TEXT,
            source=_one_of(*MESSAGE_SOURCES),
            language=CATEGORY,
            image_path=TEXT,
        ),
        Table.TRANSACTIONS: _table(
            ("transaction_id",),
            transaction_id=KEY_ID,
            customer_id=KEY_ID,
            event_timestamp=KEY_TIME,
            amount=Column(ValueType.NUMBER, required=True),
            merchant_category=CATEGORY,
            merchant=CATEGORY,
            channel=CATEGORY,
        ),
        Table.HOLDINGS: _table(
            ("customer_id", "product_id", "opened_at"),
            customer_id=KEY_ID,
            product_id=KEY_ID,
            opened_at=KEY_TIME,
            closed_at=TIME,
        ),
        Table.CONSENTS: _table(
            ("customer_id", "purpose", "channel", "event_timestamp"),
            customer_id=KEY_ID,
            purpose=_one_of(*CONSENT_PURPOSES, required=True),
            event_timestamp=KEY_TIME,
            channel=CATEGORY,
            granted=Column(ValueType.FLAG, required=True),
        ),
    }
)


def misfit(dtype: DataType | DataTypeClass, type_: ValueType) -> str | None:
    """Why a file's `dtype` cannot stand for `type_` without losing anything; None where it can.

    >>> misfit(pl.Int32(), ValueType.NUMBER) is None
    True
    >>> misfit(pl.Datetime("us"), ValueType.TIME)
    "has no time zone (is Datetime(time_unit='us', time_zone=None)); times are UTC timestamps"
    >>> misfit(pl.String(), ValueType.TIME)
    'wrong type: must be timestamp with a time zone, is String'
    """
    if dtype == pl.Null or _fits(dtype, type_):
        return None
    if type_ is ValueType.TIME and dtype == pl.Datetime:
        return f"has no time zone (is {dtype}); times are UTC timestamps"
    return f"wrong type: must be {type_}, is {dtype}"


def canonical(name: str, dtype: DataType | DataTypeClass, type_: ValueType) -> pl.Expr:
    """The column `name` of a file, whose `dtype` fits, as `DTYPES[type_]`."""
    column = pl.col(name)
    if dtype == DTYPES[type_]:
        return column
    if type_ is ValueType.TIME and dtype != pl.Null:
        return column.dt.convert_time_zone("UTC").dt.cast_time_unit("us")
    if isinstance(dtype, pl.Array):
        column = column.arr.to_list()
    return column.cast(DTYPES[type_])


def _fits(dtype: DataType | DataTypeClass, type_: ValueType) -> bool:
    match type_:
        case ValueType.ID:
            return _is_text(dtype)
        case ValueType.CATEGORY:
            return _is_text(dtype) or dtype.is_integer() or dtype == pl.Boolean
        case ValueType.NUMBER:
            return dtype.is_numeric()
        case ValueType.FLAG:
            return dtype == pl.Boolean
        case ValueType.TIME:
            return isinstance(dtype, pl.Datetime) and dtype.time_zone is not None
        case ValueType.STRING_LIST:
            return isinstance(dtype, pl.List | pl.Array) and misfit(dtype.inner, ValueType.CATEGORY) is None


def _is_text(dtype: DataType | DataTypeClass) -> bool:
    return dtype in (pl.String, pl.Categorical, pl.Enum)
