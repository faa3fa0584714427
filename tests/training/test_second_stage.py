"""How the second stage is chosen, and how it goes through the bundle to the recommender."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array

from recsys.bundle import Bundle
from recsys.errors import ModelError
from recsys.ranking.boosted import BoostedConfig, BoostedRanker, RankingRows
from recsys.ranking.features import Asked
from recsys.ranking.tables import ContentTables
from recsys.recommender import CustomerStates, Recommender
from recsys.schema import Kind
from tests.ranking.worlds import unit_rows
from tests.training.carousel import (
    AGREEING,
    PRODUCTS,
    RANKING,
    REFUSING,
    STEPS,
    Carousel,
    answered,
    build_carousel,
)
from training.cold import fit_ranker, with_cold
from training.ranker_choice import CopiesTrial
from training.ranking_config import ColdRecipe
from training.scoring import metrics_of, read_queries, recommender_scores
from training.second_stage import SecondStage

K = 10
COPIES = RANKING.model_copy(update={"one_missing": 0.5})


@pytest.fixture(scope="module")
def carousel(tmp_path_factory: pytest.TempPathFactory) -> Carousel:
    return build_carousel(tmp_path_factory.mktemp("carousel"))


@pytest.fixture(scope="module")
def stage(carousel: Carousel) -> SecondStage:
    return carousel.stage()


@pytest.fixture(scope="module")
def bundle(stage: SecondStage) -> Bundle:
    return stage.for_measuring()


@pytest.fixture(scope="module")
def recommender(bundle: Bundle) -> Recommender:
    return Recommender(bundle)


@pytest.fixture(scope="module")
def states(carousel: Carousel, recommender: Recommender) -> CustomerStates:
    return recommender.encode_rows(read_queries(recommender.reader, carousel.agreeing().test))


@pytest.fixture
def folder(bundle: Bundle, tmp_path: Path) -> Path:
    bundle.save(tmp_path / "bundle")
    return tmp_path / "bundle"


class TestChoice:
    """Among the towers alone and the rankers, by cross-validation."""

    def test_an_obvious_law_is_learned_and_kept(self, carousel: Carousel, stage: SecondStage, bundle: Bundle) -> None:
        """On the frozen split, whose answers no part of it has seen."""
        assert stage.chosen.ranker is not None
        assert stage.chosen.mean == max(trial.mean for trial in stage.trials)
        test = carousel.agreeing().test
        without = bundle._replace(ranking=None)
        ranked, towers = (metrics_of(recommender_scores(Recommender(b), test), test, K).ndcg for b in (bundle, without))
        assert ranked.mean() > 0.8
        assert towers.mean() < 0.5

    def test_trials_are_the_towers_and_each_ranker_at_each_number_of_trees(self, carousel: Carousel) -> None:
        rankers = (BoostedConfig(rounds=25), BoostedConfig(objective="lambdarank", rounds=8))
        stage = carousel.stage(RANKING.model_copy(update={"rankers": rankers, "round_step": 10}))
        names = ["towers", "binary, 10 trees", "binary, 20 trees", "lambdarank, 8 trees"]
        assert [trial.name for trial in stage.trials] == names
        assert [getattr(trial.ranker, "rounds", None) for trial in stage.trials] == [None, 10, 20, 8]
        report = stage.report()
        assert report["chosen"] == stage.chosen.name
        assert report[f"validation_ndcg@{K}"] == {trial.name: round(trial.mean, 4) for trial in stage.trials}

    def test_towers_trial_is_the_towers_score_on_validation(self, carousel: Carousel, stage: SecondStage) -> None:
        validation = carousel.agreeing().validation
        towers = Recommender(stage.for_measuring()._replace(ranking=None))
        scores = recommender_scores(towers, validation)
        assert stage.trials[0].mean == pytest.approx(metrics_of(scores, validation, K).ndcg.mean())

    def test_every_question_is_answered_by_a_ranker_that_has_not_seen_it(
        self, carousel: Carousel, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """And each by exactly one: rows are told apart by their features, the towers' score among them."""
        fitted: list[BoostedRanker] = []
        asked: list[bytes] = []

        class Watched(BoostedRanker):
            """Remembers what it has seen."""

            learned: set[bytes]

            @classmethod
            def fit(cls, rows: RankingRows, config: BoostedConfig, seed: int = 0, threads: int = 1) -> "Watched":
                model = cls(BoostedRanker.fit(rows, config, seed, threads).text)
                model.learned = {row.tobytes() for row in rows.features}
                fitted.append(model)
                return model

            def predict(self, features: np.ndarray, rounds: int | None = None) -> np.ndarray:
                if rounds == RANKING.rankers[0].rounds:
                    rows = [row.tobytes() for row in features]
                    assert not self.learned.intersection(rows)
                    asked.extend(rows)
                return super().predict(features, rounds)

        monkeypatch.setattr("recsys.ranking.rankers.BoostedRanker", Watched)
        carousel.stage()
        assert len(fitted) == RANKING.folds
        assert len(asked) == len(set(asked)) == AGREEING * PRODUCTS

    @pytest.mark.parametrize("objective", ["binary", "lambdarank"])
    def test_answers_drawn_by_lot_show_no_gain(self, carousel: Carousel, objective: str) -> None:
        """However closely the ranker fits what it has seen: a leak between the folds would show as a gain."""
        split = carousel.agreeing()
        rng = np.random.default_rng(0)
        drawn = answered(split.validation, rng.integers(0, PRODUCTS, len(split.validation)))
        close = BoostedConfig.model_validate(
            {"objective": objective, "rounds": 60, "leaves": 31, "min_rows_in_leaf": 1, "l2": 0.0, "learning_rate": 0.2}
        )
        ranking = RANKING.model_copy(update={"rankers": (close,), "round_step": 30})
        stage = carousel.stage(ranking, replace(split, validation=drawn))
        lot = [metrics_of(rng.random(drawn.allowed.shape), drawn, K).ndcg.mean() for _ in range(200)]
        assert len(stage.trials) == 3
        for trial in stage.trials:
            assert trial.mean < np.mean(lot) + 4 * np.std(lot), trial.name

    def test_what_is_missing_costs_nothing_and_copies_are_not_learned_from(
        self, carousel: Carousel, stage: SecondStage, bundle: Bundle
    ) -> None:
        """Everybody is of one segment, and the law is in the history."""
        tried = carousel.stage(COPIES)
        assert tried.copies is not None
        assert not tried.copies.chosen
        assert tried.report() == stage.report() | {f"one_missing_ndcg@{K}": tried.copies.report()}
        assert ranker_text(tried.for_measuring()) == ranker_text(bundle)

    def test_where_copies_are_chosen_rankers_and_models_of_interest_learn_from_them(
        self, carousel: Carousel, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Those of the validation answers, and those that are served, with copies of the test part's questions too."""
        learned: dict[bool, list[int]] = {}
        fit = BoostedRanker.fit

        def watched(rows: RankingRows, *arguments: Any) -> BoostedRanker:
            learned[copies].append(int(rows.label.sum()))
            return fit(rows, *arguments)

        for copies, ranking in ((False, RANKING), (True, COPIES)):
            with monkeypatch.context() as patch:
                patch.setattr(CopiesTrial, "chosen", copies)
                stage = carousel.stage(ranking)
                learned[copies] = []
                patch.setattr(BoostedRanker, "fit", watched)
                stage.for_serving(stage.for_measuring(), carousel.first.prepared)
        interest, ranker, later_interest, later_ranker = learned[False]
        assert (ranker, later_ranker) == (AGREEING, 2 * AGREEING)
        assert later_interest - interest == AGREEING
        assert learned[True] == [answers * 3 // 2 for answers in learned[False]]

    def test_disabled_keeps_the_towers(self, carousel: Carousel, bundle: Bundle) -> None:
        stage = carousel.stage(RANKING.model_copy(update={"enabled": False}))
        assert [trial.name for trial in stage.trials] == ["towers"]
        assert stage.chosen.ranker is None
        alone = stage.for_measuring()
        assert alone.ranking is None
        assert alone.manifest.stage is None
        assert stage.for_serving(bundle, carousel.first.prepared) is bundle

    def test_few_questions_keep_the_towers(self, carousel: Carousel) -> None:
        split = carousel.agreeing()
        few = replace(split, validation=split.validation.take(np.arange(49)))
        assert [trial.name for trial in carousel.stage(split=few).trials] == ["towers"]

    def test_no_validation_questions_keep_the_towers(self, carousel: Carousel) -> None:
        split = carousel.agreeing()
        none = replace(split, validation=split.validation.take(np.arange(0)))
        stage = carousel.stage(split=none)
        assert stage.report() == {"chosen": "towers", f"validation_ndcg@{K}": {"towers": 0.0}}
        assert stage.for_measuring().ranking is None

    def test_where_validation_is_measured_the_towers_are_measured_alone(self, carousel: Carousel) -> None:
        """The ranker has learned from those answers; it is served all the same."""
        split = carousel.agreeing()
        untold = replace(split, test=split.test.take(np.arange(0)))
        stage = carousel.stage(split=untold)
        assert stage.chosen.ranker is not None
        assert stage.for_measuring().ranking is None
        assert stage.for_serving(stage.for_measuring(), carousel.first.prepared).ranking is not None

    def test_a_second_time_chooses_and_learns_the_same(
        self, carousel: Carousel, stage: SecondStage, bundle: Bundle
    ) -> None:
        again = carousel.stage()
        assert [(one.name, one.mean) for one in again.trials] == [(one.name, one.mean) for one in stage.trials]
        assert ranker_text(again.for_measuring()) == ranker_text(bundle)

    def test_who_refused_profiling_teaches_the_ranker_nothing(self, carousel: Carousel) -> None:
        """Whatever he took up, and whether he is asked about at all."""
        fixed = RANKING.model_copy(update={"rankers": (BoostedConfig(rounds=20),), "round_step": 20})
        split = carousel.split
        agreed = set(carousel.parts["customer_id"].to_list())
        refused = np.array([name not in agreed for name in split.validation.customer_ids])
        assert refused.sum() == REFUSING
        first = np.array([split.validation.relevant[row][0] for row in range(len(refused))])
        other = answered(split.validation, np.where(refused, (first + 5) % PRODUCTS, first))
        asked, otherwise, not_asked = (
            ranker_text(carousel.stage(fixed, one).for_measuring())
            for one in (split, replace(split, validation=other), carousel.agreeing())
        )
        assert asked == otherwise
        assert asked == not_asked


def micros_to_time(micros: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)


def ranker_text(bundle: Bundle) -> str:
    assert bundle.ranking is not None
    return bundle.ranking.ranker.text


class TestParts:
    """What each of the two bundles has learned from."""

    def test_tables_for_measuring_count_nothing_of_the_test_part(self, bundle: Bundle) -> None:
        assert bundle.ranking is not None
        assert bundle.ranking.tables.activity.cumulative[:, -1].sum() == AGREEING * (STEPS - 1)

    def test_tables_for_serving_count_everything_of_who_agreed(self, carousel: Carousel, stage: SecondStage) -> None:
        served = stage.for_serving(stage.for_measuring(), carousel.first.prepared)
        assert served.ranking is not None
        assert served.ranking.tables.activity.cumulative[:, -1].sum() == AGREEING * STEPS

    def test_ranker_for_measuring_does_not_depend_on_the_test_answers(
        self, carousel: Carousel, stage: SecondStage, bundle: Bundle
    ) -> None:
        split = carousel.agreeing()
        lot = np.random.default_rng(0).integers(0, PRODUCTS, len(split.test))
        other = carousel.stage(split=replace(split, test=answered(split.test, lot)))
        assert ranker_text(other.for_measuring()) == ranker_text(bundle)
        serve = [ranker_text(s.for_serving(bundle, carousel.first.prepared)) for s in (stage, other)]
        assert serve[0] != serve[1]

    def test_manifest_says_what_was_chosen(self, stage: SecondStage, bundle: Bundle) -> None:
        config = bundle.manifest.stage
        assert bundle.ranking is not None
        assert config == bundle.ranking.config
        assert config is not None
        assert isinstance(stage.chosen.ranker, BoostedConfig)
        rounds = stage.chosen.ranker.rounds
        assert (config.rounds, config.event_types, config.numbers) == (rounds, ("view",), ("rate",))
        assert ranker_text(bundle).count("\nTree=") == rounds


class TestNewProducts:
    """Their ranker in the files that are served, and what it reads of the customers."""

    def test_it_goes_through_the_bundle_and_reads_all_that_a_customer_took_up(
        self, bundle: Bundle, recommender: Recommender, states: CustomerStates, tmp_path: Path
    ) -> None:
        cold, products = np.array([1, 4, 6]), len(recommender.product_ids)
        matrix = np.random.default_rng(0).integers(0, 2, (60, products)).astype(np.float32)
        matrix[:, cold] = 0
        content = ContentTables(
            {"text": unit_rows(np.random.default_rng(1).standard_normal((products, 3)))},
            csr_array((products, 0), dtype=np.float32),
            np.zeros((products, 0), np.float32),
            np.ones((products, 1), np.float32),
        )
        trees = BoostedConfig(rounds=20, min_rows_in_leaf=5)
        ranker = fit_ranker(content, csr_array(matrix), ColdRecipe(folds=2, models=3, trees=trees))
        assert len({model.text for model in ranker.models}) == 3  # each has seen folds of its own
        with_cold(bundle, ranker).save(tmp_path / "bundle")
        back = Bundle.load(tmp_path / "bundle")
        assert back.cold is not None
        assert back.manifest.cold == back.cold.config == ranker.config
        assert (states.ever >= 0).any()
        expected = ranker.score(states.ever)
        scores = Recommender(back).score(states, Kind.PRODUCTS)[:, cold]
        handed_out = np.take_along_axis(scores, np.argsort(-expected, axis=1, kind="stable"), axis=1)
        assert (np.diff(handed_out, axis=1) <= 0).all()
        without = recommender.score(states, Kind.PRODUCTS)
        np.testing.assert_array_equal(np.sort(scores, axis=1), np.sort(without[:, cold], axis=1))


class TestBundle:
    """The second stage in the files that are served."""

    def test_saved_and_loaded_ranks_the_same(self, folder: Path, carousel: Carousel, recommender: Recommender) -> None:
        test = carousel.agreeing().test
        loaded = Bundle.load(folder)
        assert loaded.manifest == recommender.bundle.manifest
        assert np.array_equal(recommender_scores(Recommender(loaded), test), recommender_scores(recommender, test))

    def test_without_a_second_stage_leaves_none_behind(self, folder: Path, bundle: Bundle) -> None:
        alone = bundle._replace(manifest=bundle.manifest.model_copy(update={"stage": None}), ranking=None)
        alone.save(folder)
        assert not {"item_tables.safetensors", "ranker.txt"} & {file.name for file in folder.iterdir()}
        assert Bundle.load(folder).ranking is None

    @pytest.mark.parametrize("name", ["item_tables.safetensors", "ranker.txt"])
    def test_without_one_of_its_files_is_incomplete(self, folder: Path, name: str) -> None:
        (folder / name).unlink()
        with pytest.raises(ModelError, match=rf"incomplete.*{name}.*train again"):
            Bundle.load(folder)

    def test_with_a_broken_ranker_is_a_model_error(self, folder: Path) -> None:
        (folder / "ranker.txt").write_text("")
        with pytest.raises(ModelError, match="train again"):
            Bundle.load(folder)

    def test_with_tables_that_were_cut_off_is_a_model_error(self, folder: Path) -> None:
        file = folder / "item_tables.safetensors"
        file.write_bytes(file.read_bytes()[:-100])
        with pytest.raises(ModelError, match="train again"):
            Bundle.load(folder)


class TestRecommender:
    """The second stage behind the towers."""

    def test_score_is_the_stages_of_the_towers_scores(self, recommender: Recommender, states: CustomerStates) -> None:
        tower = recommender.tower_scores(states, Kind.PRODUCTS)
        assert recommender.stage is not None
        expected = recommender.stage.score(Asked(states.history, states.now, tower, states.columns))
        assert np.array_equal(recommender.score(states, Kind.PRODUCTS), expected)

    def test_score_without_a_second_stage_is_the_towers(self, bundle: Bundle, states: CustomerStates) -> None:
        towers = Recommender(bundle._replace(ranking=None))
        assert towers.stage is None
        assert np.array_equal(towers.score(states, Kind.PRODUCTS), towers.tower_scores(states, Kind.PRODUCTS))

    def test_score_of_contents_is_the_towers(self, recommender: Recommender, states: CustomerStates) -> None:
        assert np.array_equal(recommender.score(states, Kind.CONTENTS), recommender.tower_scores(states, Kind.CONTENTS))

    def test_score_of_a_customer_is_the_same_alone(self, recommender: Recommender, states: CustomerStates) -> None:
        together = recommender.score(states, Kind.PRODUCTS)
        for row in range(0, len(states), 10):
            alone = recommender.score(states[row : row + 1], Kind.PRODUCTS)
            np.testing.assert_allclose(alone[0], together[row], atol=1e-4)

    def test_encode_one_by_one_scores_the_same_as_columns_together(
        self, carousel: Carousel, recommender: Recommender
    ) -> None:
        """What the service does for a request, and what batch recommendation does: one order."""
        queries = carousel.agreeing().test.take(np.arange(8))
        together = recommender_scores(recommender, queries)
        for row, features in enumerate(queries.columns.to_dicts()):
            state = recommender.encode([features], [micros_to_time(int(queries.now[row]))])
            alone = recommender.score(state, Kind.PRODUCTS, queries.allowed[row : row + 1])
            np.testing.assert_allclose(alone[0], together[row], atol=1e-4)

    def test_score_of_who_has_no_history_is_finite_and_different_by_product(self, recommender: Recommender) -> None:
        state = recommender.encode([{}], [micros_to_time(1_780_000_000_000_000)])
        scores = recommender.score(state, Kind.PRODUCTS)
        assert np.isfinite(scores).all()
        assert len(np.unique(scores)) > 1
