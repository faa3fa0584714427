"""How many may be in progress: a burst waits, an overload is turned away, and after calm a burst may wait again."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from serving.admission import AT_ONCE, CALM_SECONDS, FEWEST, Admission

MOST = 8
T = TypeVar("T")


class Times:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def settled() -> None:
    """Everybody who can go on has gone on."""
    for _ in range(3):
        await asyncio.sleep(0)


async def come(admission: Admission, count: int) -> list["asyncio.Task[bool]"]:
    tasks = [asyncio.create_task(admission.enters()) for _ in range(count)]
    await settled()
    return tasks


def told(tasks: list["asyncio.Task[bool]"]) -> list[bool | None]:
    """What each was told; None: he waits."""
    return [task.result() if task.done() else None for task in tasks]


def run(scene: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(asyncio.wait_for(scene, 10.0))


def test_burst_waits_for_its_turn_and_is_answered_in_the_order_in_which_it_came() -> None:
    async def scene() -> None:
        admission = Admission(MOST)
        tasks = await come(admission, MOST)
        for finished in range(MOST):
            started = min(AT_ONCE + finished, MOST)
            assert told(tasks) == [True] * started + [None] * (MOST - started)
            admission.leaves()
            await settled()

    run(scene())


def test_clients_who_wait_for_their_answers_are_never_refused() -> None:
    async def scene() -> None:
        admission = Admission(MOST)
        tasks = await come(admission, MOST)
        for _ in range(1000):
            admission.leaves()
            tasks += await come(admission, 1)
        assert told(tasks) == [True] * (len(tasks) - MOST + AT_ONCE) + [None] * (MOST - AT_ONCE)
        assert admission.limit == MOST

    run(scene())


def test_one_too_many_is_turned_away_and_so_is_everybody_who_waits() -> None:
    async def scene() -> None:
        admission = Admission(MOST)
        tasks = await come(admission, MOST + 1)
        assert told(tasks) == [True] * AT_ONCE + [False] * (MOST + 1 - AT_ONCE)
        assert admission.limit == FEWEST

    run(scene())


def test_nobody_waits_while_it_is_too_much_and_places_are_free_as_soon_as_one_is_finished() -> None:
    async def scene() -> None:
        admission = Admission(MOST)
        await come(admission, MOST + 1)
        for _ in range(AT_ONCE - FEWEST):  # of those that were worked on
            admission.leaves()
        for _ in range(100):
            assert told(await come(admission, 4)) == [False] * 4
            admission.leaves()
            assert told(await come(admission, 4)) == [True, *[False] * 3]

    run(scene())


def test_bursts_wait_again_only_after_it_has_been_calm() -> None:
    async def scene() -> None:
        times = Times()
        admission = Admission(MOST, timer=times)
        await come(admission, MOST + 1)
        for _ in range(10):
            times.now += CALM_SECONDS / 2
            assert told(await come(admission, 1)) == [False]
        times.now += CALM_SECONDS
        assert told(await come(admission, MOST - AT_ONCE)) == [None] * (MOST - AT_ONCE)
        assert admission.limit == MOST

    run(scene())


def test_who_goes_away_while_he_waits_takes_nobodys_place() -> None:
    async def scene() -> None:
        admission = Admission(MOST)
        tasks = await come(admission, AT_ONCE + 3)
        tasks[AT_ONCE].cancel()
        await settled()
        admission.leaves()
        tasks[AT_ONCE + 1].cancel()  # as his turn comes
        await settled()
        assert told(tasks[:AT_ONCE] + tasks[AT_ONCE + 2 :]) == [True] * (AT_ONCE + 1)
        for _ in range(AT_ONCE):
            admission.leaves()
        assert told(await come(admission, MOST)) == [True] * AT_ONCE + [None] * (MOST - AT_ONCE)

    run(scene())


def test_limit_below_those_at_once_is_kept() -> None:
    async def scene() -> None:
        admission = Admission(1)
        assert told(await come(admission, 2)) == [True, False]
        admission.leaves()
        assert told(await come(admission, 1)) == [True]
        assert admission.limit == 1

    run(scene())
