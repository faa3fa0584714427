"""An item of the catalogue that was put over the API, with its features."""

from collections.abc import Mapping
from typing import Any, NamedTuple


class LiveItem(NamedTuple):
    """An item as it is now."""

    item_id: str
    columns: Mapping[str, Any]
    """Canonical columns of its table; one that is not there is null."""
    features: Mapping[str, Any]
    """`<view>__<column>` to value, as the feature tables have it."""
