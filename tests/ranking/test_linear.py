"""The linear ranker against a second optimiser, closed forms and itself."""

from pathlib import Path

import numpy as np
import pytest
import torch

from recsys.errors import ModelError
from recsys.ranking.boosted import RankingRows
from recsys.ranking.forest import Parts
from recsys.ranking.linear import LinearConfig, LinearRanker
from recsys.ranking.rankers import fit_ranker, load_ranker

NAMES = ("tower", "tower_rank", "count", "age_last", "length")


def utility(features: np.ndarray) -> np.ndarray:
    """What customers choose by, but for chance."""
    tower = features[:, 0]
    shunned: np.ndarray = 2 * np.isnan(features[:, 3])
    return np.sign(tower) * np.log1p(100 * np.abs(tower)) + features[:, 2] - shunned


def make_rows(questions: int = 300, each: int = 12, seed: int = 0) -> RankingRows:
    """Customers choose by the logarithm of the towers' score, by the count, and shun what has no age."""
    rng = np.random.default_rng(seed)
    query = np.repeat(np.arange(questions), each)
    features = rng.normal(size=(len(query), len(NAMES))).astype(np.float32)
    features[:, 4] = query % 7  # the same for all candidates of a customer
    features[rng.random(len(query)) < 0.3, 3] = np.nan
    choice = (utility(features) + rng.gumbel(size=len(query))).reshape(questions, each).argmax(axis=1)
    label = np.zeros((questions, each), np.float32)
    label[np.arange(questions), choice] = 1
    return RankingRows(features, label.ravel(), query)


def right_answers(scores: np.ndarray, rows: RankingRows) -> float:
    """The share of the questions whose choice is scored highest."""
    scores = scores.reshape(-1, 12)
    chosen = rows.label.reshape(-1, 12).argmax(axis=1)
    return float((scores.argmax(axis=1) == chosen).mean())


@pytest.fixture(scope="module")
def ranker() -> LinearRanker:
    return LinearRanker.fit(make_rows(), NAMES, LinearConfig(l2=1.0))


def test_fit_finds_the_law(ranker: LinearRanker) -> None:
    curves = ranker.curves
    assert curves.log[0] == pytest.approx(1, abs=0.3)
    assert curves.value[2] == pytest.approx(1, abs=0.3)
    gap = curves.missing[3] - curves.value[3] * float(np.nanmean(make_rows().features[:, 3]))
    assert gap == pytest.approx(-2, abs=0.5)
    others = make_rows(2000, seed=1)
    best = right_answers(utility(others.features), others)
    assert right_answers(ranker.predict(others.features), others) > best - 0.03


def test_fit_finds_the_least_loss_that_torch_finds() -> None:
    rows, l2 = make_rows(60), 5.0
    ranker = LinearRanker.fit(rows, ("count",) * 5, LinearConfig(l2=l2, iterations=500))
    filled = np.nan_to_num(np.clip(rows.features, ranker.curves.low, ranker.curves.high))
    columns = np.concatenate([filled, np.isnan(rows.features[:, 3:4])], axis=1).astype(np.float64)
    deviation = columns.std(axis=0)
    inputs = torch.from_numpy((columns - columns.mean(axis=0)) / deviation)
    weights = torch.zeros(6, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([weights], max_iter=500, line_search_fn="strong_wolfe", tolerance_grad=1e-9)
    chosen = torch.from_numpy(rows.label.reshape(60, 12).argmax(axis=1))

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        scores = (inputs @ weights).reshape(60, 12)
        total = torch.nn.functional.cross_entropy(scores, chosen, reduction="sum") + l2 / 2 * (weights @ weights)
        total.backward()
        return total

    optimiser.step(loss)
    theirs = weights.detach().numpy() / deviation
    np.testing.assert_allclose(ranker.curves.value, theirs[:5], atol=1e-3)
    assert ranker.curves.missing[3] == pytest.approx(theirs[5], abs=1e-3)


def test_several_positives_share_their_question() -> None:
    features = np.array([[0.0], [1.0], [2.0], [0.0], [1.0], [2.0]], np.float32)
    query = np.array([0, 0, 0, 1, 1, 1])
    both = RankingRows(features, np.array([1, 0, 1, 0, 0, 1], np.float32), query)
    ranker = LinearRanker.fit(both, ("count",), LinearConfig(l2=1e-6, iterations=500))
    chance = np.exp(ranker.predict(features[:3]).astype(np.float64))
    mean = float((chance / chance.sum()) @ features[:3, 0])
    assert mean == pytest.approx((1.0 + 2.0) / 2, abs=1e-3)  # the mean of what was chosen: (0 + 2) / 2 and 2


def test_a_feature_that_is_the_same_for_all_candidates_has_no_say(ranker: LinearRanker) -> None:
    assert abs(ranker.curves.value[4]) < 1e-6


def test_a_constant_feature_is_not_used() -> None:
    rows = make_rows()
    rows.features[:, 1] = 3.0
    found = LinearRanker.fit(rows, NAMES, LinearConfig())
    assert 1 not in found.used()
    assert {0, 2, 3} <= set(found.used().tolist())


def test_contributions_add_up_and_are_zero_on_average(ranker: LinearRanker) -> None:
    rows = make_rows()
    found = ranker.contributions(rows.features)
    np.testing.assert_allclose(found.sum(axis=1), ranker.predict(rows.features), atol=1e-4)
    np.testing.assert_allclose(found[:, :-1].mean(axis=0), 0, atol=1e-6)


def test_values_beyond_those_learned_from_say_no_more_than_the_last(ranker: LinearRanker) -> None:
    rows = np.tile(make_rows().features[:1], (3, 1))
    rows[:, 2] = [1e3, 1e9, np.inf]
    scores = ranker.predict(rows)
    assert scores[0] == scores[1]
    assert np.isfinite(scores).all()


def test_parts_are_read_like_rows(ranker: LinearRanker) -> None:
    rows = make_rows(4).features
    parts = Parts(rows[:1, :2], rows[:3, 2:3], np.ascontiguousarray(rows[:3, 3:].T), np.zeros(3, int), np.arange(3))
    np.testing.assert_array_equal(ranker.predict_parts(parts), ranker.predict(parts.rows()))
    with pytest.raises(ModelError, match="reads 5 features and was given 4"):
        ranker.predict(rows[:, :4])


def test_text_goes_and_comes_back(ranker: LinearRanker) -> None:
    features = make_rows(seed=2).features
    back = load_ranker(ranker.text)
    np.testing.assert_array_equal(back.predict(features), ranker.predict(features))


@pytest.mark.parametrize("text", ["{}", '{"weights": {}}', '{"weights": {"value": [1'])
def test_text_that_is_not_whole_is_refused(text: str) -> None:
    with pytest.raises(ModelError, match="train again"):
        load_ranker(text)


def test_lists_of_different_lengths_are_refused(ranker: LinearRanker) -> None:
    with pytest.raises(ModelError, match="different lengths"):
        load_ranker(ranker.text.replace('"missing": [', '"missing": [0.0, ', 1))


def test_nothing_to_learn_gives_all_the_same_score() -> None:
    rows = make_rows(5)
    found = fit_ranker(rows._replace(label=np.zeros_like(rows.label)), NAMES, LinearConfig())
    assert (found.predict(rows.features) == 0).all()
    assert not len(found.used())


def test_many_questions_are_drawn_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recsys.ranking.linear._MOST_ROWS", 2400)
    rows = make_rows(400)
    some, again = (LinearRanker.fit(rows, NAMES, LinearConfig(), seed=3) for _ in range(2))
    assert some.text == again.text
    others = make_rows(2000, seed=1)
    assert right_answers(some.predict(others.features), others) > right_answers(utility(others.features), others) - 0.05
    assert some.text != LinearRanker.fit(rows, NAMES, LinearConfig(), seed=4).text


def test_text_is_a_file_that_people_can_read(ranker: LinearRanker, tmp_path: Path) -> None:
    file = tmp_path / "ranker.txt"
    file.write_text(ranker.text)
    assert load_ranker(file.read_text()).text == ranker.text
