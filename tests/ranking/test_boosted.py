"""The boosted ranker: learns what is obvious, and its text is all that there is of it."""

import subprocess
import sys
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from recsys.errors import ModelError
from recsys.ranking.boosted import BoostedConfig, BoostedRanker, RankingRows

QUESTIONS, ITEMS, FEATURES = 150, 10, 5
SIGNAL = 2
"""The feature that says which item is right."""
Objective = Literal["binary", "lambdarank"]


def make_rows(seed: int = 0) -> RankingRows:
    """One right item a question: that of the largest signal; some of the other features are missing."""
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((QUESTIONS, ITEMS, FEATURES)).astype(np.float32)
    label = features[:, :, SIGNAL] == features[:, :, SIGNAL].max(axis=1, keepdims=True)
    features[..., :SIGNAL][rng.random((QUESTIONS, ITEMS, SIGNAL)) < 0.2] = np.nan
    query = np.repeat(np.arange(QUESTIONS), ITEMS)
    return RankingRows(features.reshape(-1, FEATURES), label.ravel().astype(np.float32), query)


def fit(objective: Objective, rows: RankingRows | None = None, seed: int = 0) -> BoostedRanker:
    config = BoostedConfig(objective=objective, rounds=60, min_rows_in_leaf=20)
    return BoostedRanker.fit(make_rows() if rows is None else rows, config, seed)


def right_answers(ranker: BoostedRanker, rows: RankingRows) -> float:
    """The share of the questions whose right item is scored highest."""
    best = ranker.predict(rows.features).reshape(-1, ITEMS).argmax(axis=1)
    return float((best == rows.label.reshape(-1, ITEMS).argmax(axis=1)).mean())


@pytest.mark.parametrize("objective", ["binary", "lambdarank"])
def test_fit_on_an_obvious_signal_learns_it(objective: Objective) -> None:
    """Asked about questions that it has not seen."""
    ranker = fit(objective)
    assert right_answers(ranker, make_rows(seed=1)) > 0.8
    assert ranker.gains().argmax() == SIGNAL


def test_fit_binary_scores_are_log_odds() -> None:
    rows = make_rows()
    probability = 1 / (1 + np.exp(-fit("binary").predict(rows.features)))
    assert probability.mean() == pytest.approx(rows.label.mean(), abs=0.01)


@pytest.mark.parametrize("objective", ["binary", "lambdarank"])
def test_fit_a_second_time_gives_the_same_model(objective: Objective) -> None:
    assert fit(objective).text == fit(objective).text
    assert fit(objective).text != fit(objective, seed=1).text


def test_fit_lambdarank_learns_nothing_from_questions_without_an_answer() -> None:
    rows = make_rows()
    unanswered = rows.query % 3 == 0
    kept = rows.take(~unanswered)
    silent = RankingRows(rows.features, np.where(unanswered, 0, rows.label).astype(np.float32), rows.query)
    assert fit("lambdarank", silent).text == fit("lambdarank", kept).text


def test_joined_parts_keep_their_questions_apart() -> None:
    one, none, other = make_rows(), make_rows().take(np.zeros(QUESTIONS * ITEMS, bool)), make_rows(seed=1)
    joined = RankingRows.joined([one, none, other])
    assert len(np.unique(joined.query)) == 2 * QUESTIONS
    assert (np.diff(joined.query) >= 0).all()
    np.testing.assert_array_equal(joined.features, np.concatenate([one.features, other.features]))
    np.testing.assert_array_equal(joined.label[QUESTIONS * ITEMS :], other.label)


@pytest.mark.parametrize("objective", ["binary", "lambdarank"])
def test_text_round_trip_predicts_the_same(objective: Objective) -> None:
    ranker, features = fit(objective), make_rows(seed=1).features
    back = BoostedRanker(ranker.text)
    assert np.array_equal(back.predict(features), ranker.predict(features))
    assert np.array_equal(back.predict(features, 7), ranker.predict(features, 7))
    assert back.text == ranker.text


def test_text_through_a_file_predicts_the_same(tmp_path: Path) -> None:
    ranker, features = fit("binary"), make_rows(seed=1).features
    (tmp_path / "ranker.txt").write_text(ranker.text)
    assert np.array_equal(
        BoostedRanker((tmp_path / "ranker.txt").read_text()).predict(features), ranker.predict(features)
    )


def test_predict_with_fewer_rounds_equals_a_model_that_stopped_there() -> None:
    rows = make_rows()
    short = BoostedRanker.fit(rows, BoostedConfig(rounds=25, min_rows_in_leaf=20))
    long = BoostedRanker.fit(rows, BoostedConfig(rounds=60, min_rows_in_leaf=20))
    np.testing.assert_allclose(long.predict(rows.features, 25), short.predict(rows.features), rtol=1e-6)
    assert not np.allclose(long.predict(rows.features), short.predict(rows.features))


@pytest.mark.parametrize("text", ["", "no model", "tree\nversion=v4\n"], ids=["empty", "prose", "header"])
def test_broken_text_is_a_model_error_with_a_remedy(text: str) -> None:
    with pytest.raises(ModelError, match=r"ranker cannot be read.*train again"):
        BoostedRanker(text)


def test_text_that_was_cut_off_is_a_model_error_and_does_not_end_the_process(tmp_path: Path) -> None:
    """In a process of its own: LightGBM parses trees in threads, and what it throws there ends everything."""
    text = fit("binary").text
    places = [
        place
        for place, line in enumerate(text.splitlines())
        if line.startswith(("Tree=7", "leaf_value", "end of trees"))
    ]
    for number, place in enumerate((places[0], places[len(places) // 2], places[-1])):
        (tmp_path / f"{number}.txt").write_text("\n".join(text.splitlines()[:place]))
    program = (
        "import sys, pathlib\n"
        "from recsys.errors import ModelError\n"
        "from recsys.ranking.boosted import BoostedRanker\n"
        "for file in sys.argv[1:]:\n"
        "    try:\n"
        "        BoostedRanker(pathlib.Path(file).read_text())\n"
        "    except ModelError as error:\n"
        "        assert 'train again' in str(error)\n"
        "    else:\n"
        "        sys.exit(f'{file} was read')\n"
    )
    files = sorted(str(file) for file in tmp_path.glob("*.txt"))
    run = subprocess.run([sys.executable, "-c", program, *files], capture_output=True, check=False)
    assert run.returncode == 0, run.stderr.decode(errors="replace")
