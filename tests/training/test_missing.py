"""Questions that lack a modality: whose they are, what is gone, and that they are learned from with their own."""

import numpy as np
import pytest

from recsys.data.splits import Part
from recsys.schema import Modality
from tests.training.carousel import AGREEING, CONFIG, Carousel, build_carousel
from training.answers import Answers, Examiner, Lacking
from training.missing import drawn_without, without


@pytest.fixture(scope="module")
def carousel(tmp_path_factory: pytest.TempPathFactory) -> Carousel:
    return build_carousel(tmp_path_factory.mktemp("carousel"))


@pytest.fixture(scope="module")
def answers(carousel: Carousel) -> Answers:
    examiner = Examiner(carousel.first, carousel.agreeing(), carousel.parts, CONFIG)
    return examiner.answers(Part.VALIDATION, examiner.before(Part.VALIDATION, 0.5), 0.5)


def lacking(answers: Answers) -> Lacking:
    assert answers.lacking is not None
    return answers.lacking


def test_without_takes_away_the_views_of_the_modalities_and_nothing_else(carousel: Carousel) -> None:
    queries = carousel.agreeing().validation
    views = {name.split("__")[0] for name in queries.columns.columns}
    left = without(queries, Modality.HISTORY, Modality.PROFILE)
    assert {name.split("__")[0] for name in left.columns.columns} == views - {"customer_history", "customer_profile"}
    assert left.customer_ids == queries.customer_ids
    assert left.relevant is queries.relevant


def test_drawn_without_is_the_share_of_the_questions_each_once(carousel: Carousel) -> None:
    queries = carousel.agreeing().validation
    modalities = [Modality.PROFILE, Modality.HISTORY]
    drawn = drawn_without(queries, modalities, 0.5, seed=1)
    rows = np.concatenate([which for which, _ in drawn])
    assert len(rows) == len(set(rows.tolist())) == round(0.5 * len(queries))
    assert abs(len(drawn[0][0]) - len(drawn[1][0])) <= 1
    for which, some in drawn:
        assert some.customer_ids == [queries.customer_ids[row] for row in which]
    assert not [name for name in drawn[1][1].columns.columns if name.startswith("customer_history")]
    assert drawn_without(queries, modalities, 0.0, seed=1) == []


def test_learned_is_the_whole_questions_and_their_copies_and_nobody_elses(answers: Answers) -> None:
    more = lacking(answers)
    some = np.arange(len(answers.queries)) % 3 == 0
    learned = answers.learned(some)
    assert len(learned.query) == some[answers.rows.query].sum() + some[more.question].sum()
    assert (np.diff(learned.query) >= 0).all()
    copies = learned.query >= len(answers.queries)
    assert set(learned.query[~copies]) == set(np.flatnonzero(some))
    assert len(np.unique(learned.query[copies])) == len(np.unique(more.question[some[more.question]]))
    everything = answers.learned(np.ones(len(answers.queries), bool))
    assert everything.label.sum() == answers.rows.label.sum() + more.rows.label.sum()


def test_copies_have_the_answers_of_their_question(answers: Answers) -> None:
    more = lacking(answers)
    assert len(np.unique(more.rows.query)) == round(0.5 * AGREEING)
    for number in np.unique(more.rows.query)[:5]:
        mine = more.rows.query == number
        (question,) = set(more.question[mine].tolist())
        whole = answers.rows.query == question
        assert more.rows.label[mine].tolist() == answers.rows.label[whole].tolist()
        assert (more.rows.features[mine] != answers.rows.features[whole]).any()
