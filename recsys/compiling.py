"""Loops that numba compiles once for all processes: what it made is kept beside the source, or in the user's cache.

A file's loops are compiled again when that file changes, and not when another one does: what a loop calls stands beside
it.
"""

from collections.abc import Callable
from typing import Any, Final

_SETTINGS: Final[dict[str, Any]] = {"nogil": True, "error_model": "numpy"}


def compiled(function: Callable[..., Any], *signature: Any, reordered: bool = False) -> Any:
    """The function, compiled when it is first called, or now where a signature is given.

    Where nothing can be kept, every process compiles for itself.

    Args:
        function: what to compile.
        signature: of its arguments.
        reordered: sums may be added up in another order, several numbers at once: the same up to rounding.
    """
    import numba

    njit: Callable[..., Any] = numba.njit
    settings = _SETTINGS | ({"fastmath": {"reassoc", "contract"}} if reordered else {})
    try:
        return njit(*signature, cache=True, **settings)(function)
    except RuntimeError:  # numba: "no locator available"
        return njit(*signature, **settings)(function)
