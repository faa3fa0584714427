"""How lists and scores become results: ties, refusals, and the files between processes."""

import subprocess
import sys

import numpy as np
import polars as pl
import pytest

from recsys.errors import RecsysError
from training.peers.interactions import Asked, Interactions, Items, Lesson, Questions
from training.peers.results import Result, answer, scores_of_lists
from training.peers.task import Task
from training.ragged import Ragged

CUSTOMERS, PRODUCTS = ["a", "b", "c"], ["p", "q", "r", "s", "t"]


def make_task(k=2, allowed=None):
    known = Interactions.sort(
        np.array([0, 1, 1]), np.array([0, 1, 4]), np.array([1, 3, 1], np.float32), np.array([5, 6, 9]), (3, 5)
    )
    allowed = np.ones((3, 5), bool) if allowed is None else allowed
    asked = Asked(np.array([0, 1, 2]), np.array([10, 11, 12]))
    questions = Questions(asked, allowed, Ragged.group(np.array([0, 1, 1, 2]), np.array([2, 0, 3, 4]), 3))
    lesson = Lesson(known, questions.take(np.array([1])))
    items = Items({"text": np.eye(5, dtype=np.float32)}, np.array([[np.nan]] * 5, np.float32))
    return Task(k, CUSTOMERS, PRODUCTS, lesson, Lesson(known, questions), items, {"new": np.array([0, 0, 1], bool)})


def lists(*rows):
    columns = {"customer_id": pl.String, "rank": pl.Int32, "product_id": pl.String, "score": pl.Float32}
    return pl.DataFrame(list(rows), columns, orient="row")


def test_task_saved_and_loaded_is_the_same(tmp_path):
    task = make_task(allowed=np.random.default_rng(0).random((3, 5)) < 0.5)
    task.save(tmp_path / "task")
    loaded = Task.load(tmp_path / "task")
    assert (loaded.k, loaded.customer_ids, loaded.product_ids) == (task.k, task.customer_ids, task.product_ids)
    for mine, theirs in ((task.exam, loaded.exam), (task.lesson, loaded.lesson)):
        for name in ("customer", "product", "weight", "time"):
            np.testing.assert_array_equal(getattr(mine.known, name), getattr(theirs.known, name))
        np.testing.assert_array_equal(mine.questions.allowed, theirs.questions.allowed)
        np.testing.assert_array_equal(mine.questions.asked.now, theirs.questions.asked.now)
        np.testing.assert_array_equal(mine.questions.relevant.values, theirs.questions.relevant.values)
    np.testing.assert_array_equal(loaded.items.spaces["text"], task.items.spaces["text"])
    np.testing.assert_array_equal(loaded.flags["new"], task.flags["new"])


def test_answer_only_allowed_products_are_ranked_and_short_lists_stay_short():
    allowed = np.ones((3, 5), bool)
    allowed[0] = [False, False, True, False, False]
    task = make_task(allowed=allowed)
    scores = np.tile(np.arange(5, dtype=np.float32), (3, 1))
    result = answer(task, lambda questions: scores[questions.asked.customer], {})
    assert result.ranked.tolist() == [[2, -1], [4, 3], [4, 3]]
    assert result.metrics.recall.tolist() == [1.0, 0.5, 1.0]


def test_answer_constant_scores_count_as_a_random_order():
    result = answer(make_task(), lambda questions: np.zeros((len(questions), 5), np.float32), {})
    assert result.metrics.recall.tolist() == pytest.approx([2 / 5] * 3)


def test_answer_small_batches_equal_one(monkeypatch):
    scores = np.random.default_rng(1).random((3, 5)).astype(np.float32)
    whole = answer(make_task(), lambda questions: scores[questions.asked.customer], {})
    monkeypatch.setattr("training.peers.interactions.BATCH_SCORES", 5)
    parts = answer(make_task(), lambda questions: scores[questions.asked.customer], {})
    np.testing.assert_array_equal(parts.ranked, whole.ranked)
    np.testing.assert_array_equal(parts.metrics.ndcg, whole.metrics.ndcg)


def test_result_saved_and_loaded_is_the_same(tmp_path):
    result = answer(make_task(), lambda questions: np.eye(3, 5, dtype=np.float32), {"settings": {"x": 1}})
    result.save(tmp_path)
    loaded = Result.load(tmp_path)
    np.testing.assert_array_equal(loaded.ranked, result.ranked)
    np.testing.assert_array_equal(loaded.metrics.ndcg, result.metrics.ndcg)
    assert loaded.report == result.report


def test_scores_of_lists_keep_order_and_ties():
    frame = lists(("a", 1, "r", 0.9), ("a", 2, "p", 0.5), ("a", 3, "q", 0.5), ("b", 1, "s", -1.0))
    scores = scores_of_lists(frame, make_task())
    assert scores[0, 2] > scores[0, 0] == scores[0, 1]
    assert np.isneginf(scores[0, 3:]).all()
    assert np.isneginf(scores[2]).all()
    assert np.isfinite(scores[1]).sum() == 1


def test_scores_of_lists_rows_of_others_are_not_looked_at():
    assert np.isneginf(scores_of_lists(lists(("z", 1, "p", 1.0)), make_task())).all()


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([("a", 1, "p", 1.0), ("a", 2, "p", 0.5)], "an item is repeated in 2 rows: a p, a p"),
        ([("a", 1, "zz", 1.0)], "does not have: zz"),
        ([("b", 1, "q", 1.0)], "no candidate of the customer in 1 rows: b q"),
    ],
)
def test_scores_of_lists_bad_lists_are_refused(rows, words):
    allowed = np.ones((3, 5), bool)
    allowed[1, 1] = False
    with pytest.raises(RecsysError, match=words):
        scores_of_lists(lists(*rows), make_task(allowed=allowed))


def test_peak_megabytes_rises_with_what_is_held():
    """In a process of its own: the peak of this one was set by whatever test ran before."""
    program = (
        "import numpy as np\n"
        "from training.peers.resources import peak_megabytes\n"
        "before = peak_megabytes()\n"
        "held = np.ones(40_000_000)\n"
        "assert peak_megabytes() - before > 0.6 * held.nbytes / 2**20\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
