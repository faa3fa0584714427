"""Feast with less around it: what takes most of its import, and of its memory, is of no use to who only reads."""

from types import SimpleNamespace
from typing import Any, Final

ONLINE_ONLY: Final = SimpleNamespace(type="none: this process reads the online store only")
"""In place of an offline store's configuration, for which Feast would import DuckDB and ibis."""


def import_feast() -> None:
    """Imports Feast without the checks that typeguard writes into its classes.

    Rewriting them takes 5 of the 7 seconds of processor time that the import costs, in every process. What we hand to
    Feast comes from a manifest that was checked before.
    """
    import typeguard

    checked = typeguard.typechecked
    typeguard.typechecked = _unchecked
    try:
        import feast  # noqa: F401
    finally:
        typeguard.typechecked = checked


def _unchecked(target: Any = None, **_: Any) -> Any:
    """Decorates as `typeguard.typechecked` does, with or without arguments, and changes nothing."""
    return _unchecked if target is None else target
