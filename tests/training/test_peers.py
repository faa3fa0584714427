"""Each peer against an oracle: a closed form, a slow reference, or a world whose answers are known."""

import numpy as np
import pytest

from recsys.errors import RecsysError
from training.peers import ease as ease_module
from training.peers.als import AlsPeer, AlsSettings
from training.peers.as_of import DAY, NEVER, AsOf, Window
from training.peers.base import PeerSettings
from training.peers.boosted import BoostedPeer
from training.peers.bpr import BprPeer, BprSettings
from training.peers.contest import NewcomersFallback
from training.peers.ease import EasePeer, EaseSettings
from training.peers.interactions import Asked, Interactions, Items, Lesson, Questions
from training.peers.itemknn import ItemKnnPeer, ItemKnnSettings
from training.peers.popularity import PopularityPeer, PopularitySettings
from training.peers.task import Task
from training.peers.transitions import TransitionSettings, TransitionsPeer
from training.peers.tuning import measure, tune
from training.ragged import Ragged

LATE = 10**15


def random_events(seed=0, events=400, customers=30, products=12, weights=(1.0, 3.0)):
    rng = np.random.default_rng(seed)
    return Interactions.sort(
        rng.integers(0, customers, events),
        rng.integers(0, products, events),
        rng.choice(weights, events).astype(np.float32),
        rng.choice(90 * DAY, events, replace=False),
        (customers, products),
    )


def asked_all(known, now=LATE):
    customers = np.arange(known.n_customers)
    return Asked(customers, np.full(len(customers), now))


def dense(known, weighted=False):
    matrix = np.zeros((known.n_customers, known.n_products))
    for customer, product, weight in zip(known.customer, known.product, known.weight, strict=True):
        matrix[customer, product] = max(matrix[customer, product], weight if weighted else 1.0)
    return matrix


def blocks(seed=0, customers=60, products=20):
    """A checkerboard: even customers take even products, odd ones odd; each has two thirds of his colour."""
    rng = np.random.default_rng(seed)
    pairs = [
        (customer, product)
        for customer in range(customers)
        for product in range(customer % 2, products, 2)
        if rng.random() < 0.67
    ]
    customer, product = np.array(pairs).T
    order = rng.permutation(len(pairs))
    time = np.arange(len(pairs)) * DAY // 100
    return Interactions.sort(
        customer[order], product[order], np.ones(len(pairs), np.float32), time, (customers, products)
    )


def cycles(seed=0, customers=240, products=24, length=8):
    """Everybody walks round the same ring of products from a place of his own: what comes next is certain."""
    rng = np.random.default_rng(seed)
    ring = rng.permutation(products)
    start = rng.integers(0, products, customers)
    customer = np.repeat(np.arange(customers), length)
    product = ring[(start[:, None] + np.arange(length)) % products].ravel()
    time = (np.tile(np.arange(length), customers) * 10_000 + customer) * 1_000_000
    return customer, product, time, (customers, products)


def ring_lesson(step, **world):
    """Known: all but the last `step` products of each; asked: the next one."""
    customer, product, time, shape = cycles(**world)
    place = np.tile(np.arange(len(customer) // shape[0]), shape[0])
    known, answer = place < place.max() + 1 - step, place == place.max() + 1 - step
    events = Interactions.sort(
        customer[known], product[known], np.ones(int(known.sum()), np.float32), time[known], shape
    )
    allowed = dense(events) == 0
    relevant = Ragged.group(customer[answer], product[answer], shape[0])
    return Lesson(events, Questions(Asked(np.arange(shape[0]), time[answer] - 1), allowed, relevant))


@pytest.mark.parametrize("weighted", [False, True])
def test_matrix_repeated_pairs_keep_the_largest_weight(weighted):
    known = random_events()
    np.testing.assert_array_equal(known.matrix(weighted).toarray(), dense(known, weighted))


def test_last_fewer_events_than_asked_are_padded():
    known = Interactions.sort(
        np.array([1, 0, 1]), np.array([4, 2, 3]), np.ones(3, np.float32), np.array([5, 6, 9]), (3, 6)
    )
    assert known.last(np.array([0, 1, 2]), 2).tolist() == [[2, -1], [3, 4], [-1, -1]]


@pytest.mark.parametrize("days", [None, 30.0, 7.0])
@pytest.mark.parametrize("weighted", [False, True])
def test_as_of_counts_equal_a_slow_count_and_see_nothing_later(days, weighted):
    known = random_events(3)
    now = np.array([known.time[200], 90 * DAY, 0, 40 * DAY, known.time[200]])
    got = AsOf(known).counts(now, Window(days, weighted))
    for row, instant in enumerate(now):
        start = -LATE if days is None else instant - int(days * DAY)
        counted = (known.time < instant) & (known.time >= start)
        weight = known.weight if weighted else np.ones(len(known))
        expected = np.bincount(known.product[counted], weight[counted], minlength=known.n_products)
        np.testing.assert_allclose(got[row], expected, atol=1e-4)


def test_as_of_last_seen_is_the_latest_event_before():
    known = random_events(4)
    now = np.array([50 * DAY, 0])
    got = AsOf(known).last_seen(now)
    for product in range(known.n_products):
        times = known.time[(known.product == product) & (known.time < now[0])]
        assert got[0, product] == (times.max() if len(times) else NEVER)
    assert (got[1] == NEVER).all()


def test_popularity_events_after_the_question_change_nothing():
    known, asked = random_events(5), Asked(np.arange(3), np.full(3, 45 * DAY))
    cut = known.time < 45 * DAY
    early = Interactions(
        known.customer[cut], known.product[cut], known.weight[cut], known.time[cut], known.n_customers, known.n_products
    )
    for settings in PopularityPeer().grid(known):
        whole, part = PopularityPeer(), PopularityPeer()
        whole.fit(known, settings)
        part.fit(early, settings)
        np.testing.assert_array_equal(whole.scores(asked), part.scores(asked))


@pytest.mark.parametrize("weighted", [False, True])
def test_ease_equals_ridge_regressions_of_each_column_on_the_others(weighted):
    known, peer = random_events(1), EasePeer()
    peer.fit(known, EaseSettings(regularisation=7.0, weighted=weighted))
    matrix = dense(known, weighted)
    weights = np.zeros((known.n_products, known.n_products))
    for product in range(known.n_products):
        others = np.arange(known.n_products) != product
        inputs = matrix[:, others]
        gram = inputs.T @ inputs + 7.0 * np.eye(inputs.shape[1])
        weights[others, product] = np.linalg.solve(gram, inputs.T @ matrix[:, product])
    np.testing.assert_allclose(peer.scores(asked_all(known)), matrix @ weights, rtol=1e-4, atol=1e-5)


def test_ease_too_many_products_is_refused_by_name(monkeypatch):
    monkeypatch.setattr(ease_module, "MOST_PRODUCTS", 5)
    with pytest.raises(RecsysError, match="12 products are above 5"):
        EasePeer().fit(random_events(), EaseSettings())


@pytest.mark.parametrize("neighbours", [3, 12])
def test_itemknn_equals_dense_cosine_with_shrink(neighbours):
    known, peer = random_events(2), ItemKnnPeer()
    peer.fit(known, ItemKnnSettings(neighbours=neighbours, shrink=4.0))
    matrix = dense(known)
    norms = np.linalg.norm(matrix, axis=0)
    similarity = matrix.T @ matrix / (norms[:, None] * norms[None, :] + 4.0)
    np.fill_diagonal(similarity, 0)
    expected = np.zeros((known.n_customers, known.n_products))
    for product in range(known.n_products):
        nearest = np.argsort(-similarity[product], kind="stable")[:neighbours]
        expected[:, product] = matrix[:, nearest] @ similarity[product, nearest]
    np.testing.assert_allclose(peer.scores(asked_all(known)), expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("peer", "settings"),
    [
        (AlsPeer(), AlsSettings(factors=4)),
        (BprPeer(), BprSettings(factors=8, iterations=200)),
        (EasePeer(), EaseSettings(regularisation=5.0)),
        (ItemKnnPeer(), ItemKnnSettings()),
    ],
)
def test_peer_checkerboard_puts_the_own_colour_first(peer, settings):
    known = blocks()
    peer.fit(known, settings)
    scores = np.where(dense(known) > 0, -np.inf, peer.scores(asked_all(known)))
    assert (scores.argmax(axis=1) % 2 == np.arange(known.n_customers) % 2).mean() > 0.95


@pytest.mark.parametrize(("peer", "settings"), [(AlsPeer(), AlsSettings(seed=3)), (BprPeer(), BprSettings(seed=3))])
def test_peer_same_seed_gives_the_same_scores(peer, settings):
    known = blocks()
    first = [peer.fit(known, settings), peer.scores(asked_all(known))][1]
    second = [peer.fit(known, settings), peer.scores(asked_all(known))][1]
    np.testing.assert_array_equal(first, second)


def test_transitions_ring_names_the_next_product():
    lesson, peer = ring_lesson(1), TransitionsPeer()
    peer.fit(lesson.known, TransitionSettings(reach=1, decay=0.1))
    metrics = measure(peer.scores(lesson.questions.asked), lesson.questions, 1)
    assert metrics.recall.mean() == 1.0


def test_transitions_sequences_of_different_customers_are_not_joined():
    known = Interactions.sort(np.array([0, 1]), np.array([0, 1]), np.ones(2, np.float32), np.array([1, 2]), (2, 3))
    peer = TransitionsPeer()
    peer.fit(known, TransitionSettings())
    assert not peer.scores(asked_all(known)).any()


@pytest.fixture(scope="module")
def ring():
    items = Items({"text": np.eye(24, dtype=np.float32)}, np.full((24, 1), np.nan, np.float32))
    return ring_lesson(2), ring_lesson(1), items


def test_boosted_ring_learns_to_trust_transitions(ring):
    lesson, exam, items = ring
    peer = BoostedPeer(items, k=5)
    tuned = peer.learn(lesson)
    peer.refit_sources(exam.known)
    scores = peer.scores(exam.questions.asked, exam.questions.allowed)
    assert np.isfinite(scores).all()
    assert measure(scores, exam.questions, 5).ndcg.mean() > 0.9
    assert len(tuned.trials) == 4
    assert set(tuned.sources) == {"ease", "als", "itemknn", "transitions"}
    assert sum(peer.importance(1000).values()) == pytest.approx(1, abs=1e-2)


def test_boosted_products_that_nobody_proposes_come_last_and_are_told_apart(ring, monkeypatch):
    lesson, exam, items = ring
    peer = BoostedPeer(items, k=5)
    peer.learn(lesson)
    peer.refit_sources(exam.known)
    peer._settings = peer._settings.model_copy(update={"per_source": 1})
    questions = exam.questions
    scores = peer.scores(questions.asked, questions.allowed)
    pairs = peer._features.pairs(questions.asked, questions.allowed, 1)
    proposed = np.zeros_like(questions.allowed)
    proposed[pairs.question, pairs.product] = True
    assert questions.allowed[pairs.question, pairs.product].all()
    assert scores[proposed].min() > scores[~proposed].max()


def test_boosted_features_have_a_name_each(ring):
    lesson, _, items = ring
    peer = BoostedPeer(items, k=5)
    peer.learn(lesson)
    peer.refit_sources(lesson.known)
    pairs = peer._features.pairs(lesson.questions.asked, lesson.questions.allowed, 5)
    assert pairs.features.shape[1] == len(peer._features.names())


def test_boosted_no_answer_among_the_candidates_is_refused(ring):
    lesson, _, items = ring
    nothing = Questions(lesson.questions.asked, np.zeros_like(lesson.questions.allowed), lesson.questions.relevant)
    with pytest.raises(RecsysError, match="no validation answer is a candidate"):
        BoostedPeer(items, k=5).learn(Lesson(lesson.known, nothing))


class Constant:
    """A peer that has nothing to say; its settings are only told apart by their seeds."""

    def grid(self, known):
        return [PeerSettings(seed=seed) for seed in range(3)]

    def fit(self, known, settings):
        self.products = known.n_products

    def scores(self, asked):
        return np.ones((len(asked.customer), self.products), np.float32)


def test_tune_equal_settings_the_first_is_taken_and_scores_as_a_random_order():
    lesson = ring_lesson(1)
    tuned = tune(Constant(), lesson, lesson.known, k=10)
    assert tuned.settings.seed == 0
    candidates = lesson.questions.allowed.sum(axis=1)
    expected = (1 / np.log2(np.arange(2, 12))).sum() * (1 / candidates)
    assert tuned.trials[0]["ndcg"] == pytest.approx(expected.mean(), abs=1e-5)


def test_tune_finds_the_settings_that_answer_best():
    lesson = ring_lesson(1)
    tuned = tune(TransitionsPeer(), lesson, lesson.known, k=1)
    best = max(tuned.trials, key=lambda trial: trial["ndcg"])
    assert tuned.settings.model_dump(exclude={"seed"}) == {name: best[name] for name in best if name != "ndcg"}


def test_tune_without_a_lesson_takes_the_plainest():
    known = random_events()
    assert tune(PopularityPeer(), None, known, 10).settings == PopularitySettings()


def test_questions_taken_keep_their_own_answers():
    questions = ring_lesson(1).questions
    part = questions.take(np.array([7, 2]))
    assert [part.relevant[0].tolist(), part.relevant[1].tolist()] == [
        questions.relevant[7].tolist(),
        questions.relevant[2].tolist(),
    ]
    assert (part.allowed == questions.allowed[[7, 2]]).all()


def test_newcomers_fallback_only_fills_customers_without_events(tmp_path):
    known = Interactions.sort(
        np.array([0, 0, 1]), np.array([1, 2, 1]), np.ones(3, np.float32), np.array([1, 2, 3]), (3, 4)
    )
    questions = Questions(asked_all(known), np.ones((3, 4), bool), Ragged.group(np.arange(3), np.arange(3), 3))
    items = Items({}, np.zeros((4, 0), np.float32))
    task = Task(2, ["a", "b", "c"], ["p", "q", "r", "s"], None, Lesson(known, questions), items, {})
    filled = NewcomersFallback(task).fill(np.zeros((3, 4), np.float32), questions.asked)
    assert not filled[:2].any()
    assert filled[2].argmax() == 1
