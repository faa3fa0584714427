"""How many may be in progress: a burst is queued, an overload is not, and calm brings the burst's places back."""

from serving.admission import CALM_SECONDS, FEWEST, Admission

MOST = 8


class Times:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def overload(admission: Admission, rounds: int) -> list[int]:
    """Four come for each that is finished; how many were in progress each time."""
    found, inside = [], 0
    for _ in range(rounds):
        inside += sum(admission.enters() for _ in range(4))
        found.append(inside)
        admission.leaves()
        inside -= 1
    for _ in range(inside):
        admission.leaves()
    return found


def test_burst_is_let_in_and_clients_who_wait_for_their_answers_are_never_refused() -> None:
    admission = Admission(MOST)
    assert all(admission.enters() for _ in range(MOST))
    for _ in range(1000):
        admission.leaves()
        assert admission.enters()
    assert admission.limit == MOST


def test_overload_leaves_one_at_work_and_one_that_waits() -> None:
    admission = Admission(MOST)
    found = overload(admission, 100)
    assert max(found) == MOST
    assert set(found[2 * MOST :]) == {FEWEST}


def test_limit_stays_low_while_it_is_refused_now_and_then_and_comes_back_after_calm() -> None:
    times = Times()
    admission = Admission(MOST, timer=times)
    overload(admission, 100)
    for _ in range(10):
        times.now += CALM_SECONDS / 2
        assert [admission.enters() for _ in range(FEWEST + 1)] == [True] * FEWEST + [False]
        for _ in range(FEWEST):
            admission.leaves()
    assert admission.limit == FEWEST
    times.now += CALM_SECONDS
    for _ in range(MOST):
        assert admission.enters()
        admission.leaves()
    assert admission.limit == MOST


def test_limit_below_the_fewest_is_kept() -> None:
    admission = Admission(1)
    assert [admission.enters(), admission.enters()] == [True, False]
    admission.leaves()
    assert admission.enters()
    assert admission.limit == 1
