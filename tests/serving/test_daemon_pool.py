"""Threads that do not keep a process alive."""

import subprocess
import sys
from concurrent.futures import CancelledError
from threading import Event, current_thread

import pytest

from serving.daemon_pool import DaemonPool

WAIT_SECONDS = 30.0


def test_pool_gives_results_and_errors_and_uses_no_more_threads_than_it_may() -> None:
    pool = DaemonPool(2, "test")
    names = {pool.submit(lambda: current_thread().name).result(WAIT_SECONDS) for _ in range(20)}
    assert names <= {"test_1", "test_2"}
    assert pool.submit(divmod, 7, 2).result(WAIT_SECONDS) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        pool.submit(divmod, 7, 0).result(WAIT_SECONDS)
    assert pool.submit(int, "7").result(WAIT_SECONDS) == 7  # the thread outlives an error
    pool.close()


def test_pool_that_is_closed_cancels_what_waits_and_takes_no_more() -> None:
    pool, held, begun = DaemonPool(1, "test"), Event(), Event()

    def hold() -> bool:
        begun.set()
        return held.wait(WAIT_SECONDS)

    running, waiting = pool.submit(hold), pool.submit(int)
    assert begun.wait(WAIT_SECONDS)
    pool.close()
    with pytest.raises(CancelledError):
        waiting.result(WAIT_SECONDS)
    with pytest.raises(RuntimeError, match="test is closed"):
        pool.submit(int)
    held.set()
    assert running.result(WAIT_SECONDS)


def test_process_ends_though_a_call_hangs() -> None:
    program = (
        "import time; from serving.daemon_pool import DaemonPool\n"
        "pool = DaemonPool(1, 'hangs'); pool.submit(time.sleep, 600); pool.close()"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=60, check=False).returncode == 0
