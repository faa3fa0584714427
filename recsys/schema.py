"""The words that everything else uses: column names, enums, table names (data-contract.md)."""

from enum import StrEnum
from typing import Final

CUSTOMER_ID: Final = "customer_id"
PRODUCT_ID: Final = "product_id"
CONTENT_ID: Final = "content_id"
EVENT_ID: Final = "event_id"
MESSAGE_ID: Final = "message_id"
EVENT_TIMESTAMP: Final = "event_timestamp"
CREATED_TIMESTAMP: Final = "created_timestamp"
EVENT_TYPE: Final = "event_type"
RANK: Final = "rank"
SCORE: Final = "score"
MODE: Final = "mode"


class Table(StrEnum):
    """The tables of a dataset directory."""

    CUSTOMERS = "customers"
    PRODUCTS = "products"
    EVENTS = "events"
    CONTENTS = "contents"
    MESSAGES = "messages"
    TRANSACTIONS = "transactions"
    HOLDINGS = "holdings"
    CONSENTS = "consents"


REQUIRED_TABLES: Final = (Table.CUSTOMERS, Table.PRODUCTS, Table.EVENTS)


class EventType(StrEnum):
    """The event types with a meaning of their own; a dataset may add others by giving them a weight."""

    IMPRESSION = "impression"
    VIEW = "view"
    CLICK = "click"
    DISMISS = "dismiss"
    APPLY = "apply"
    CONVERT = "convert"
    OPT_OUT = "opt_out"


DEFAULT_EVENT_WEIGHTS: Final[dict[str, float]] = {
    EventType.VIEW: 1.0,
    EventType.CLICK: 1.0,
    EventType.APPLY: 3.0,
    EventType.CONVERT: 5.0,
}
"""What counts as a positive, and how much, where `dataset.yaml` says nothing."""


class Modality(StrEnum):
    """The modalities of a customer, in the order of the model's tokens."""

    PROFILE = "profile"
    BEHAVIOUR = "behaviour"
    HISTORY = "history"
    TEXT = "text"
    IMAGE = "image"


class FeatureKind(StrEnum):
    """What a feature column holds, and so how the model reads it."""

    NUMERIC = "numeric"
    CATEGORICAL = "categorical"
    CATEGORICAL_LIST = "categorical_list"
    TEXT = "text"
    IMAGE = "image"
    TIMESTAMP = "timestamp"
    EMBEDDING = "embedding"


class Kind(StrEnum):
    """What is recommended."""

    PRODUCTS = "products"
    CONTENTS = "contents"


class ServingMode(StrEnum):
    """How much the answer knew of the customer, from most to least (domain.md, Decisions)."""

    PERSONALISED = "personalised"
    PARTIAL = "partial"
    CACHED = "cached"
    POPULAR = "popular"
    SAFE = "safe"


class PolicyName(StrEnum):
    """Which pack of rules a dataset asks for."""

    BANK = "bank"
    EU = "eu"
    UK = "uk"
    US = "us"
    CN = "cn"
    NONE = "none"


RISK_LEVELS: Final = ("C1", "C2", "C3", "C4", "C5")
RISK_RATINGS: Final = ("R1", "R2", "R3", "R4", "R5")
PRODUCT_STATUSES: Final = ("live", "paused", "sold_out", "draft")
CONSENT_PURPOSES: Final = ("marketing", "profiling", "text_analysis", "image_analysis")
ALREADY_HAS_EVENTS: Final = (EventType.CONVERT,)
"""Under policy `bank`, the events after which a customer has a product (beside the holdings table)."""
