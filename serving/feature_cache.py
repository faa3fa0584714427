"""What was last read of customers, for while the online store does not answer: the mode `cached`."""

from array import array
from collections import OrderedDict
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

MOST_CUSTOMERS: Final = 2_000
"""A row is mostly embeddings, some kB as 4-byte floats: so many are some ten MB a worker."""
LASTS: Final = timedelta(minutes=15)


class FeatureCache:
    """The rows of those who asked last. For one thread: the event loop's.

    It is no source of facts: whether a row may be looked at is decided by the consents of now.

    Args:
        most: customers; who asked longest ago goes first.
        lasts: how old a row may be.
    """

    def __init__(self, most: int = MOST_CUSTOMERS, lasts: timedelta = LASTS) -> None:
        self._most = most
        self._lasts = lasts
        self._rows: OrderedDict[str, tuple[datetime, dict[str, Any]]] = OrderedDict()

    def put(self, customer_id: str, row: Mapping[str, Any] | None, now: datetime) -> None:
        """Remembers what was read; None, that there is nothing, is forgetting."""
        self._rows.pop(customer_id, None)
        if row is None:
            return
        self._rows[customer_id] = now, {name: _packed(value) for name, value in row.items()}
        if len(self._rows) > self._most:
            self._rows.popitem(last=False)

    def get(self, customer_id: str, now: datetime) -> dict[str, Any] | None:
        """What was last read, as it was; None where that is nothing, or too long ago."""
        found = self._rows.get(customer_id)
        if found is None or now - found[0] > self._lasts:
            self._rows.pop(customer_id, None)
            return None
        return {name: value.tolist() if isinstance(value, array) else value for name, value in found[1].items()}


def _packed(value: Any) -> Any:
    """Vectors, which are float32 wherever they come from, in an eighth of the memory of a list."""
    is_vector = isinstance(value, list) and value and isinstance(value[0], float)
    return array("f", value) if is_vector else value
