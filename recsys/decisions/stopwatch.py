"""Where the time of a decision goes, for whoever wants to know: `decide` names its stages as it enters them."""

from collections.abc import Callable
from enum import StrEnum
from time import perf_counter
from types import TracebackType
from typing import Self

Observe = Callable[[str, float], None]
"""Gets a stage and its seconds."""


class Stage(StrEnum):
    """The parts of a decision."""

    POLICY = "policy"
    TOWER = "tower"
    """Reading the row and its variants, and encoding them."""
    RANKER = "ranker"
    """Scores: the towers' inner products, and the second stage on its candidates."""
    TOP_K = "top_k"
    EXPLANATION = "explanation"


class Stopwatch:
    """Times stages, each within a `with`, one after the other; it is for one request.

    Args:
        observe: is told; None: nobody is.
    """

    def __init__(self, observe: Observe | None = None) -> None:
        self._observe = observe
        self._stage = ""
        self._started = 0.0

    def __call__(self, stage: str) -> Self:
        """The stage that is entered next."""
        self._stage, self._started = stage, perf_counter()
        return self

    def __enter__(self) -> None:
        """Nothing: the time runs since the stage was named."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._observe is not None:
            self._observe(self._stage, perf_counter() - self._started)


UNTIMED = Stopwatch()
