"""The best entry of each group is the one that a plain search finds."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from recsys.modeling.groups import best_of_groups


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from([-np.inf, -1.0, 0.0, 0.5, 2.0])), max_size=40))
def test_best_of_groups_is_the_first_of_the_highest_of_each_group(entries: list[tuple[int, float]]) -> None:
    entries = sorted(entries, key=lambda entry: entry[0])
    group = np.array([number for number, _ in entries], np.int64)
    values = np.array([value for _, value in entries])
    wanted = []
    for number in sorted(set(group.tolist())):
        mine = np.flatnonzero(group == number)
        wanted.append(int(mine[np.argmax(values[mine])]))  # argmax: the first
    assert best_of_groups(values, group).tolist() == wanted
