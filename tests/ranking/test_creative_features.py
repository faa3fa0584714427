"""Creatives beside those that a customer answered, against plain loops; the same for one customer as for many."""

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from recsys.modeling.encoding import EntityRows
from recsys.modeling.reader import HistoryArrays
from recsys.ranking.activity import Activity
from recsys.ranking.creative_features import (
    CreativePairs,
    answered_lists,
    creative_columns,
    is_taste,
    taste_columns,
)
from recsys.ranking.creatives import CreativeTables
from recsys.ranking.features import Asked
from recsys.ranking.profiles import Profiles, Reduction
from recsys.ranking.spread import Lists
from recsys.ranking.tables import ContentTables
from tests.ranking.worlds import DAY, NOW

NOTHING = Activity(0, 1, np.zeros((0, 2), np.float32))
TYPES = ("impression", "click", "dismiss")
CREATIVES, CUSTOMERS, LONGEST = 30, 6, 8


def creatives(rng: np.random.Generator) -> CreativeTables:
    labels = csr_matrix((rng.random((CREATIVES, 7)) < 0.3).astype(np.float32))
    vectors = {"text": rng.standard_normal((CREATIVES, 5)), "image": rng.standard_normal((CREATIVES, 40))}
    singles = {name: values.astype(np.float32) for name, values in vectors.items()}
    content = ContentTables(singles, labels, np.zeros((CREATIVES, 0)), np.ones((CREATIVES, 2)))
    return CreativeTables(np.zeros((CREATIVES, 0)), [], content, NOTHING, NOTHING)


def people(rng: np.random.Generator) -> Asked:
    """Of whom the first has no history, and of whose events some name no creative."""
    shape = (CUSTOMERS, LONGEST)
    length = rng.integers(0, LONGEST + 1, CUSTOMERS)
    length[0] = 0
    history = HistoryArrays(
        product=np.zeros(shape, np.int64),
        content=rng.integers(-1, CREATIVES, shape),
        event_type=rng.integers(0, len(TYPES) + 1, shape),
        timestamp=NOW - rng.integers(0, 40, shape) * DAY,
        length=length,
    )
    text = rng.standard_normal((CUSTOMERS, 5)).astype(np.float32)
    text[1] = 0  # said nothing
    codes, lists = np.zeros((CUSTOMERS, 0), np.int64), np.zeros((CUSTOMERS, 0, 0), np.int64)
    columns = EntityRows(codes, lists, {}, {"text": text}, np.ones((CUSTOMERS, 1), bool))
    return Asked(history, np.full(CUSTOMERS, NOW), np.zeros((CUSTOMERS, 1), np.float32), columns)


def profiles() -> Profiles:
    return Profiles({"text": Reduction(np.full(5, 0.1, np.float32), np.zeros((1, 5), np.float32))})


def naive(tables: CreativeTables, asked: Asked, row: int, creative: int) -> dict[str, float]:
    """One pair, entry by entry."""
    history, labels = asked.history, tables.content.labels.toarray()
    own = asked.columns.vectors["text"][row]  # type: ignore[union-attr]
    centred = own - 0.1 if own.any() else own
    found = {"creative_said_text": float(centred @ tables.content.vectors["text"][creative])}
    found["creative_said_text"] /= float(np.linalg.norm(centred)) or 1.0
    found |= {f"creative_{what}{name}": 0.0 for name in TYPES for what in ("", "labels_", "text_", "image_")}
    for step in range(history.length[row]):
        entry, kind = history.content[row, step], history.event_type[row, step]
        if entry < 0 or kind == 0:
            continue
        weight, name = np.exp(-(NOW - history.timestamp[row, step]) / DAY / 20), TYPES[kind - 1]
        found[f"creative_{name}"] += weight * (entry == creative)
        found[f"creative_labels_{name}"] += weight * float(labels[entry] @ labels[creative])
        for group, vectors in tables.content.vectors.items():
            found[f"creative_{group}_{name}"] += weight * float(vectors[entry] @ vectors[creative])
    return found


@pytest.mark.parametrize("seed", range(4))
def test_columns_are_those_of_a_plain_loop(seed: int) -> None:
    rng = np.random.default_rng(seed)
    tables, asked = creatives(rng), people(rng)
    pairs = CreativePairs.of(np.sort(rng.integers(0, CUSTOMERS, 50)), rng.integers(0, CREATIVES, 50), CUSTOMERS)
    found = creative_columns(tables, profiles(), asked, pairs, TYPES)
    for place, (row, creative) in enumerate(zip(pairs.customer, pairs.creative, strict=True)):
        for name, value in naive(tables, asked, row, creative).items():
            assert found[name][place] == pytest.approx(value, rel=1e-4, abs=1e-5), name


def test_a_customer_has_the_same_columns_alone_as_among_others_and_only_those_that_are_wanted() -> None:
    rng = np.random.default_rng(9)
    tables, asked = creatives(rng), people(rng)
    everyone = CreativePairs.of(np.repeat(np.arange(CUSTOMERS), 9), np.tile(np.arange(9), CUSTOMERS), CUSTOMERS)
    many = creative_columns(tables, profiles(), asked, everyone, TYPES)
    wanted = frozenset({"creative_click", "creative_image_dismiss"})
    for row in range(CUSTOMERS):
        alone = CreativePairs.of(np.zeros(9), np.arange(9), 1)
        one = creative_columns(tables, profiles(), asked.take(slice(row, row + 1)), alone, TYPES, wanted)
        always = {"creative_taste_labels", "creative_taste_text", "creative_taste_image", "creative_said_text"}
        assert set(one) == wanted | always
        for name, values in one.items():
            np.testing.assert_array_equal(values, many[name][everyone.customer == row])


def test_entries_fade_and_stand_under_their_type() -> None:
    rng = np.random.default_rng(3)
    asked = people(rng)
    lists = answered_lists(asked.history, asked.now, len(TYPES))
    assert len(lists.begins) == len(TYPES) * CUSTOMERS + 1
    assert lists.begins[-1] == len(lists.product) == len(lists.weight)
    assert ((lists.weight > 0) & (lists.weight <= 1)).all()


def test_taste_is_the_clicked_creatives_likeness_with_ten_more_clicks_of_no_taste() -> None:
    labels = np.array([[1, 0], [1, 0], [0, 1], [0, 1]], np.float32)
    pictures = np.array([[1, 0], [0.6, 0.8], [0, 1], [0, 0]], np.float32)  # the last has none
    content = ContentTables({"pictures": pictures}, csr_matrix(labels), np.zeros((4, 0)), np.ones((4, 1)))
    tables = CreativeTables(np.zeros((4, 0)), [], content, NOTHING, NOTHING)
    faded = np.array([0.1, 0.5, 0.9], np.float32)
    clicks = Lists(np.array([0, 3, 3]), np.array([0, 0, 1]), faded)  # the second customer clicked nothing
    found = taste_columns(tables, clicks, CreativePairs.of(np.array([0, 0, 0, 1]), np.array([0, 2, 3, 0]), 2))
    # three clicks: two on creative 0, one on creative 1; both are of the first label, which half of the creatives have
    half = 3 * 0.5 / 13
    np.testing.assert_allclose(found["creative_taste_labels"], [half, -half, -half, 0], atol=1e-4)
    np.testing.assert_allclose(found["creative_taste_pictures"], [2.6 / 13, 0.8 / 13, 0, 0], atol=1e-4)


def test_a_rate_is_of_what_was_shown_before_and_shrunk_to_the_average_of_all() -> None:
    shown = Activity(NOW, DAY, np.array([[0, 10, 20], [0, 0, 40]], np.float32))
    clicked = Activity(NOW, DAY, np.array([[0, 1, 2], [0, 0, 3]], np.float32))
    content = ContentTables({}, csr_matrix((2, 1), dtype=np.float32), np.zeros((2, 0)), np.zeros((2, 0)))
    tables = CreativeTables(np.zeros((2, 0)), [], content, shown, clicked)
    found = tables.rates(np.array([0, 0, 1]), NOW + np.array([0, 1, 2]) * DAY)
    average = np.array([1 / 2, 2 / 12, 6 / 62])
    rate = (np.array([0, 1, 3]) + 20 * average) / (np.array([0, 10, 40]) + 20)
    np.testing.assert_allclose(found["creative_shown"], np.log1p([0, 10, 40]), rtol=1e-6)
    np.testing.assert_allclose(found["creative_rate"], np.log(rate / (1 - rate)), rtol=1e-5)


def test_tastes_are_known_by_name() -> None:
    names = ["age", "content_attributes__tone", "creative_rate", "creative_taste_labels", "creative_click"]
    assert [is_taste(name) for name in names] == [False, False, True, True, False]
