"""A worker that keeps to one processor: which one, what stays on it, what may leave it. All in other processes."""

import os
import subprocess
import sys
from uuid import uuid4

import pytest

pytestmark = pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2, reason="needs two processors"
)

OPENING = f"""
import os, subprocess, sys, threading
from serving.processor import OwnProcessor
WHOSE = "test-{uuid4().hex}"
"""


def told(script: str) -> str:
    """What a script prints."""
    return subprocess.run(
        [sys.executable, "-c", OPENING + script], capture_output=True, text=True, check=True, timeout=120
    ).stdout


HOLD = """
taken = OwnProcessor.claim(WHOSE)
print(taken.number, flush=True)
sys.stdin.read()
"""


def test_no_two_workers_have_one_processor_and_a_dead_ones_is_free() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", OPENING + HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        first = int(other.stdout.readline())
        script = "taken = OwnProcessor.claim(WHOSE); print(-1 if taken is None else taken.number)"
        second = int(told(script))
        assert second != first
        other.kill()
    again = "numbers = []\nwhile (one := OwnProcessor.claim(WHOSE)) is not None:\n    numbers.append(one)\n"
    assert str(first) in told(again + "print([one.number for one in numbers])")


def test_none_is_claimed_where_all_are_taken_or_there_is_no_choice() -> None:
    all_of_them = "kept = []\nwhile (one := OwnProcessor.claim(WHOSE)) is not None:\n    kept.append(one)\n"
    assert (
        told(all_of_them + "kept[0].release(); print(OwnProcessor.claim(WHOSE).number == kept[0].number)") == "True\n"
    )
    one = "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); print(OwnProcessor.claim(WHOSE))"
    assert told(one) == "None\n"


THREADS = """
started, stop, seen = threading.Event(), threading.Event(), {}

def live(name):
    seen[name] = lambda tid=threading.get_native_id(): os.sched_getaffinity(tid)
    started.set()
    stop.wait()

def start(name):
    started.clear()
    threading.Thread(target=live, args=(name,), daemon=True).start()
    started.wait()

allowed = os.sched_getaffinity(0)
start("before")
taken = OwnProcessor.claim(WHOSE)
taken.keep()
start("after")
own = {taken.number}
with taken.anywhere():
    start("elsewhere")
    inside = os.sched_getaffinity(0)
    child = subprocess.run([sys.executable, "-c", "import os; print(len(os.sched_getaffinity(0)))"],
                           capture_output=True, text=True).stdout
print(seen["before"]() == own, seen["after"]() == own, os.sched_getaffinity(0) == own)
print(inside == allowed, seen["elsewhere"]() == allowed, int(child) == len(allowed))
"""


def test_all_threads_keep_to_it_and_what_is_started_elsewhere_does_not() -> None:
    assert told(THREADS) == "True True True\nTrue True True\n"
