"""Threads that do not keep a process alive: a dependency that hangs must not hold up the end of the service."""

from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from threading import Thread
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class DaemonPool:
    """Calls functions in a few threads. Python waits at its end for those of its own executors, and not for these.

    For one thread that submits: the event loop's.

    Args:
        most: threads; each is started when all others are at work: what few do stays in one processor's memory.
        name: what they are called.
    """

    def __init__(self, most: int, name: str) -> None:
        self._most = most
        self._name = name
        self._started = 0
        self._under_way: list[Future[Any]] = []
        self._closed = False
        self._waiting: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()

    def submit(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        """Calls it as soon as a thread is free.

        Raises:
            RuntimeError: the pool is closed.
        """
        if self._closed:
            raise RuntimeError(f"{self._name} is closed")
        future: Future[T] = Future()
        self._waiting.put((future, lambda: function(*args, **kwargs)))
        self._under_way = [one for one in self._under_way if not one.done()]
        self._under_way.append(future)
        if self._started < min(self._most, len(self._under_way)):
            self._started += 1
            Thread(target=self._run, name=f"{self._name}_{self._started}", daemon=True).start()
        return future

    def close(self) -> None:
        """Takes no more; what waits is cancelled, and what is under way is left to itself."""
        self._closed = True
        while not self._waiting.empty():
            if (waiting := self._waiting.get()) is not None:
                waiting[0].cancel()
        for _ in range(self._started):
            self._waiting.put(None)

    def _run(self) -> None:
        while (waiting := self._waiting.get()) is not None:
            future, call = waiting
            if not future.set_running_or_notify_cancel():
                continue
            try:
                result = call()
            except BaseException as error:  # whoever asked is told
                future.set_exception(error)
            else:
                future.set_result(result)
            del waiting, future, call  # nothing of a request is kept while there is none
