"""What validation chooses, on tables of features whose law is known; the rankers are real."""

import numpy as np
import polars as pl
import pytest

from recsys.ranking.boosted import BoostedConfig, RankingRows
from recsys.ranking.features import Pairs
from recsys.schema import Modality
from tests.training.carousel import CONFIG, RANKING, ragged
from training.answers import Answers, Lacking
from training.queries import Queries
from training.ranker_choice import ALL_THERE, CopiesTrial, RankerChoice, Trial, Way

QUESTIONS, PRODUCTS = 600, 8
TREES = BoostedConfig(rounds=30, min_rows_in_leaf=10, learning_rate=0.1)
CHOICE = RankerChoice(CONFIG.model_copy(update={"ranking": RANKING.model_copy(update={"rankers": (TREES,)})}))
MISSING = [Modality.PROFILE, Modality.TEXT]
"""The first column is the profile's, the second the text's; a third is always there."""


def make_way(clear: float, copies: bool, dim: float = 1) -> Way:
    """Questions whose answer the always present column shows dimly, and the profile's as clearly as is said.

    The columns are standard normal but for the answer's, which are shifted: the profile's by `clear`, the text's not at
    all, and the one that is always there by `dim`.
    """
    rng = np.random.default_rng(0)
    answer = rng.integers(0, PRODUCTS, QUESTIONS)
    features = rng.standard_normal((QUESTIONS, PRODUCTS, 3)).astype(np.float32)
    features[np.arange(QUESTIONS), answer] += (clear, 0, dim)
    everyone = np.arange(QUESTIONS)

    def answers(rows: np.ndarray, missing: Modality | None = None) -> Answers:
        seen = features[rows].copy()
        if missing is not None:
            seen[:, :, MISSING.index(missing)] = np.nan
        pairs = Pairs(*np.nonzero(np.ones((len(rows), PRODUCTS), bool)))
        label = (pairs.product == answer[rows][pairs.customer]).astype(np.float32)
        names = ("profile", "text", "always")
        table = RankingRows(seen.reshape(-1, 3), label, pairs.customer)
        return Answers(make_queries(answer[rows]), pairs, table, names, np.zeros((len(rows), PRODUCTS), np.float32))

    whole = answers(everyone)
    if copies:
        drawn = np.sort(rng.permutation(QUESTIONS)[: QUESTIONS // 2])
        some = answers(drawn, Modality.PROFILE).rows
        lacking = Lacking(some._replace(query=some.query + QUESTIONS), drawn[some.query])
        whole = Answers(**{**vars(whole), "lacking": lacking})
    return Way(whole, lambda modality, rows: answers(rows, modality))


def make_queries(answer: np.ndarray) -> Queries:
    count = len(answer)
    return Queries(
        customer_ids=[f"c{row}" for row in range(count)],
        now=np.zeros(count, np.int64),
        columns=pl.DataFrame(),
        relevant=ragged(list(answer[:, None])),
        allowed=np.ones((count, PRODUCTS), bool),
        segments=[None] * count,
        new_customer=np.zeros(count, bool),
    )


def tried(clear: float) -> CopiesTrial:
    return CHOICE.try_copies(TREES, make_way(clear, copies=False), make_way(clear, copies=True), MISSING)


class TestCopies:
    """Learned from where validation is sure of them."""

    def test_chosen_where_a_missing_modality_costs_what_copies_save(self) -> None:
        """Trees that lean on the profile have hardly looked at the dim column."""
        trial = tried(clear=4)
        report = trial.report()
        assert trial.chosen
        assert report["learned_from_copies"] is True
        assert report["missing"]["profile"]["copies_minus_plain"]["low"] > 0.05
        assert report["missing"]["profile"]["plain"] < report["missing"][ALL_THERE]["plain"] - 0.3
        assert abs(report["missing"]["text"]["copies_minus_plain"]["mean"]) < 0.02

    def test_not_chosen_where_what_is_missing_said_nothing(self) -> None:
        trial = tried(clear=0)
        report = trial.report()
        assert not trial.chosen
        assert report["learned_from_copies"] is False
        assert report["missing"]["profile"]["plain"] > report["missing"][ALL_THERE]["plain"] - 0.05

    def test_report_is_paired_by_customer(self) -> None:
        rng = np.random.default_rng(0)
        plain = {name: rng.random(50) for name in (ALL_THERE, "profile", "text")}
        copies = {ALL_THERE: plain[ALL_THERE] - 1, "profile": plain["profile"] + 0.5, "text": plain["text"] - 0.1}
        report = CopiesTrial(plain, copies, 100).report()
        found = {name: row["copies_minus_plain"] for name, row in report["missing"].items()}
        assert found["profile"] == pytest.approx({"mean": 0.5, "low": 0.5, "high": 0.5, "n": 50})
        assert found["text"]["mean"] == pytest.approx(-0.1)
        assert found[ALL_THERE]["mean"] == pytest.approx(-1)
        assert report["missing"]["text"]["copies"] == pytest.approx(plain["text"].mean() - 0.1)

    def test_worth_nothing_is_seldom_chosen_however_many_modalities_there_are(self) -> None:
        """Half of the doubt lies above: 1 in 40. Without a correction, 10 modalities would do so 9 times of 40."""
        rng = np.random.default_rng(0)
        chosen = 0
        for _ in range(200):
            copies = {str(number): rng.standard_normal(100) for number in range(10)}
            plain = dict.fromkeys(copies, np.zeros(100))
            chosen += CopiesTrial(plain, copies, 1000).chosen
        assert chosen <= 15

    @pytest.mark.parametrize(("spread", "chosen"), [(0.1, True), (2.0, False)])
    def test_a_gain_that_chance_explains_is_none(self, spread: float, chosen: bool) -> None:
        rng = np.random.default_rng(0)
        plain = {ALL_THERE: np.zeros(100), "profile": np.zeros(100)}
        noise = rng.normal(0, spread, 100)
        copies = {ALL_THERE: np.zeros(100), "profile": 0.05 + noise - noise.mean()}
        assert CopiesTrial(plain, copies, 500).chosen is chosen

    def test_answers_drawn_by_lot_show_no_gain(self) -> None:
        """A leak between the folds, or from a question to its copy, would show as knowledge."""
        close = BoostedConfig(rounds=60, leaves=31, min_rows_in_leaf=1, l2=0.0, learning_rate=0.2)
        way = make_way(clear=0, copies=True, dim=0)
        found = CHOICE.try_copies(close, way, way, MISSING)
        lot = float(np.mean(1 / np.log2(np.arange(2, PRODUCTS + 2))))
        for ndcg in found.copies.values():
            assert ndcg.mean() == pytest.approx(lot, abs=4 * ndcg.std() / QUESTIONS**0.5)


class TestBest:
    """Among the towers alone and the rankers."""

    @pytest.mark.parametrize(("ahead", "chosen"), [(-0.05, "more trees"), (0.01, "more trees"), (0.2, "towers")])
    def test_towers_are_served_alone_only_where_they_are_surely_better(self, ahead: float, chosen: str) -> None:
        rng = np.random.default_rng(0)
        ranked, noise = rng.uniform(0, 0.5, 90), rng.normal(0, 0.1, 90)
        trials = [
            Trial("towers", None, ranked + ahead + noise - noise.mean()),
            Trial("few trees", BoostedConfig(rounds=10), ranked - 0.01),
            Trial("more trees", BoostedConfig(rounds=20), ranked),
        ]
        assert CHOICE.best_of(trials).name == chosen

    def test_of_equal_rankers_the_simpler_is_chosen(self) -> None:
        ndcg = np.full(60, 0.3)
        trials = [Trial(name, None if name == "towers" else TREES, ndcg) for name in ("towers", "few", "more")]
        assert CHOICE.best_of(trials).name == "few"
