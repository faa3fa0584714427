"""The settings of the simple sources that validation chooses, on customers whose law is known."""

import numpy as np
import polars as pl
import pytest

from recsys.modeling.reader import HistoryArrays
from recsys.ranking.neighbours import NeighbourConfig, Sequences, fit_ease, fit_knn, interaction_matrix
from tests.training.carousel import ragged
from training.queries import Queries
from training.ranking_config import SourceGrid
from training.source_choice import SourceChoice, choose_sources

PRODUCTS, CUSTOMERS, EACH = 60, 900, 5
DEFAULT = NeighbourConfig(ease_l2=1e6, knn_shrinkage=20.0)
"""With so much damping EASE says hardly more than how often two products meet."""
GRID = SourceGrid(ease_l2=(1.0, 30.0), knn_shrinkage=(5.0,), knn_keep=(3,))


def world(seed: int = 0) -> tuple[Sequences, Queries, HistoryArrays]:
    """Customers take up products of one of six kinds, and now and then the one that everybody has."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, 6, CUSTOMERS)
    taken = np.stack([kind[row] + 6 * rng.permutation(PRODUCTS // 6)[: EACH + 1] for row in range(CUSTOMERS)])
    taken[rng.random(taken.shape) < 0.3] = 0
    known, answer = taken[:, :EACH], taken[:, EACH]
    allowed = np.ones((CUSTOMERS, PRODUCTS), bool)
    allowed[np.arange(CUSTOMERS)[:, None], known] = False
    allowed[np.arange(CUSTOMERS), answer] = True
    asked = Queries(
        customer_ids=[f"c{row}" for row in range(CUSTOMERS)],
        now=np.zeros(CUSTOMERS, np.int64),
        columns=pl.DataFrame({"row": range(CUSTOMERS)}),
        relevant=ragged(list(answer[:, None])),
        allowed=allowed,
        segments=[None] * CUSTOMERS,
        new_customer=np.zeros(CUSTOMERS, bool),
    )
    length = np.full(CUSTOMERS, EACH)
    history = HistoryArrays(known, np.full_like(known, -1), np.ones_like(known), np.zeros_like(known), length)
    return Sequences(np.repeat(np.arange(CUSTOMERS), EACH), known.ravel()), asked, history


def choose(grid: SourceGrid = GRID, default: NeighbourConfig = DEFAULT) -> SourceChoice:
    return choose_sources(*world(), default, grid, 10)


def test_trials_have_the_ndcg_of_scores_that_are_added_up_one_by_one() -> None:
    sequences, asked, history = world()
    matrix = interaction_matrix(sequences, CUSTOMERS, PRODUCTS)
    choice = choose()
    assert list(choice.report()) == ["ease, l2 1", "ease, l2 30", "knn, shrinkage 5, 3 neighbours"]
    for trial in choice.trials:
        table = fit_ease(matrix, trial.settings) if trial.source == "ease" else fit_knn(matrix, trial.settings)
        assert table is not None
        weights = table.toarray()
        for row in range(0, CUSTOMERS, 90):
            scores = weights[np.unique(history.product[row])].sum(axis=0)
            answer = asked.relevant[row][0]
            others = scores[asked.allowed[row] & (np.arange(PRODUCTS) != answer)]
            above, same = (others > scores[answer]).sum(), (others == scores[answer]).sum()
            places = np.arange(above + 1, above + same + 2)  # of equal ones each order is as likely
            expected = np.where(places <= 10, 1 / np.log2(places + 1), 0).mean()
            assert trial.ndcg[row] == pytest.approx(expected, abs=1e-6)


def test_a_setting_is_taken_where_it_is_surely_better() -> None:
    settings = choose().settings
    assert settings.ease_l2 in GRID.ease_l2
    assert settings.transition_steps == DEFAULT.transition_steps


def test_the_default_stays_where_nothing_is_surely_better() -> None:
    best = choose().settings
    again = choose(default=best)
    assert again.settings == best
    assert again.trials


@pytest.mark.parametrize("limit", [{"fewest": CUSTOMERS + 1}, {"most_products": PRODUCTS - 1}])
def test_the_default_stays_untried_where_chance_or_the_clock_would_choose(limit: dict[str, int]) -> None:
    choice = choose(GRID.model_copy(update=limit))
    assert choice.settings == DEFAULT
    assert not choice.trials


def test_some_of_many_questions_are_asked() -> None:
    trials = choose(GRID.model_copy(update={"most": 200})).trials
    assert {len(trial.ndcg) for trial in trials} == {200}
