"""Loops that numba compiles once for all processes: what it made is kept beside the source, or in the user's cache.

A file's loops are compiled again when that file changes, and not when another one does: what a loop calls stands beside
it.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

_SETTINGS: Final[Mapping[str, Any]] = MappingProxyType({"nogil": True, "error_model": "numpy"})


def compiled(function: Callable[..., None], *signature: Any) -> Any:
    """The function, compiled when it is first called, or now where a signature is given.

    Where nothing can be kept, every process compiles for itself.
    """
    import numba

    njit: Callable[..., Any] = numba.njit
    try:
        return njit(*signature, cache=True, **_SETTINGS)(function)
    except RuntimeError:  # numba: "no locator available"
        return njit(*signature, **_SETTINGS)(function)
