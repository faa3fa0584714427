"""The hash chain of the decision log: canonical JSON, and how each row is tied to the one before it.

The hash of a row is sha256 over its sequence number, the hash of the row before and its record. What is personal lies
outside the record, which holds only its salted digest: erasing it leaves the chain whole.
"""

from hashlib import sha256
from typing import Any, Final

import orjson

GENESIS: Final = "0" * 64
"""The hash before the first row."""
_OPTIONS: Final = orjson.OPT_SORT_KEYS | orjson.OPT_SERIALIZE_NUMPY


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces, numbers in their shortest form: equal values give equal bytes.

    >>> canonical({"b": 1.50, "a": [None, True]})
    '{"a":[null,true],"b":1.5}'
    """
    return orjson.dumps(value, default=_plain, option=_OPTIONS).decode()


def digest(text: str) -> str:
    """sha256 in hex."""
    return sha256(text.encode()).hexdigest()


def link(sequence: int, previous: str, record: str) -> str:
    """The hash of a row.

    Args:
        sequence: the row's number, from 1.
        previous: the hash of row `sequence - 1`; GENESIS for the first.
        record: the row's canonical JSON.
    """
    return digest(f"{sequence}\n{previous}\n{record}")


def _plain(value: Any) -> Any:
    """What orjson does not know by itself: NamedTuples, as lists."""
    if isinstance(value, tuple):
        return list(value)
    raise TypeError(f"a {type(value).__name__} has no canonical JSON")
