"""Feast with less around it: what takes most of its import, and of its memory, is of no use to who only reads."""

import sys
from importlib import import_module
from types import ModuleType, SimpleNamespace
from typing import Any, Final

ONLINE_ONLY: Final = SimpleNamespace(type="none: this process reads the online store only")
"""In place of an offline store's configuration, for which Feast would import DuckDB and ibis."""
_TORCH_WRAPPER: Final = "feast.torch_wrapper"


def import_feast() -> None:
    """Imports Feast without torch, and without the checks that typeguard writes into its classes.

    Rewriting them takes 5 of the 7 seconds of processor time that the import costs, in every process. What we hand to
    Feast comes from a manifest that was checked before. Torch, 190 MB, it would import for answers as tensors.
    """
    import typeguard

    if "feast" not in sys.modules:
        sys.modules[_TORCH_WRAPPER] = _torch_when_asked()
    checked = typeguard.typechecked
    typeguard.typechecked = _unchecked
    try:
        import feast  # noqa: F401
    finally:
        typeguard.typechecked = checked


def _torch_when_asked() -> ModuleType:
    """What Feast's own module of that name does, but not before somebody wants a tensor."""
    module = ModuleType(_TORCH_WRAPPER)
    module.get_torch = lambda: import_module("torch")  # type: ignore[attr-defined]
    return module


def _unchecked(target: Any = None, **_: Any) -> Any:
    """Decorates as `typeguard.typechecked` does, with or without arguments, and changes nothing."""
    return _unchecked if target is None else target
