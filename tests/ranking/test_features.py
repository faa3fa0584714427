"""The cross features: by hand on a tiny world, and of one customer whatever the others."""

import numpy as np
import pytest
from scipy import sparse

from recsys.ranking.activity import Activity
from recsys.ranking.factors import fold_in
from recsys.ranking.features import Asked, Columns, FeatureBuilder, Pairs
from recsys.ranking.spread import Lists
from recsys.ranking.tables import ItemTables
from tests.ranking.worlds import (
    CLICK,
    CONVERT,
    DAY,
    EVENT_TYPES,
    NOW,
    UNKNOWN_PRODUCT,
    UNKNOWN_TYPE,
    draw_asked,
    draw_tables,
    join_asked,
    make_histories,
    plain_tables,
    source_scores,
)

PRODUCTS = 4
SECOND = 1_000_000
NEW, KNOWN, STRANGE = range(3)
"""Nothing known of him; four entries, one of an unknown product; nothing but an unknown product."""


@pytest.fixture
def asked() -> Asked:
    known = [
        (0, CLICK, NOW - 9 * DAY),
        (0, CONVERT, NOW - 5 * DAY),
        (UNKNOWN_PRODUCT, CLICK, NOW - 2 * DAY),
        (1, UNKNOWN_TYPE, NOW - 10 * SECOND),
    ]
    histories = make_histories([[], known, [(UNKNOWN_PRODUCT, CLICK, NOW - DAY)]])
    tower = np.array([[0.1, 0.4, 0.3, 0.2]] * 3, np.float32)
    return Asked(histories, np.full(3, NOW), tower)


@pytest.fixture
def tables() -> ItemTables:
    """One attribute, missing of product 3; product 0 taken up 40 and 3 days ago, product 1 three times yesterday."""
    days_ago = np.array([40, 3, 1.5, 1.5, 1.5])
    activity = Activity.fit(np.array([0, 0, 1, 1, 1]), (NOW - days_ago * DAY).astype(np.int64), PRODUCTS)
    return plain_tables(np.array([[1.0], [4.0], [-2.0], [np.nan]], np.float32), activity)


def every_pair(asked: Asked) -> Pairs:
    return Pairs(*np.nonzero(np.ones(asked.tower.shape, bool)))


def build(tables: ItemTables, asked: Asked, numbers: tuple[str, ...] = ("rate",)) -> Columns:
    """Name to [B, P]."""
    builder = FeatureBuilder(tables, EVENT_TYPES, numbers)
    columns = builder.build(asked, source_scores(tables, asked), every_pair(asked))
    return {name: values.reshape(asked.tower.shape) for name, values in columns.items()}


def test_own_events_count_the_candidate_by_type(tables: ItemTables, asked: Asked) -> None:
    columns = build(tables, asked)
    assert columns["own_click"].tolist() == [[0] * 4, [1, 0, 0, 0], [0] * 4]
    assert columns["own_convert"].tolist() == [[0] * 4, [1, 0, 0, 0], [0] * 4]


def test_own_age_is_the_log_of_seconds_since_the_last_touch(tables: ItemTables, asked: Asked) -> None:
    """An entry of an unknown type is a touch too."""
    nothing = [np.nan] * 4
    expected = [nothing, [np.log1p(5 * 86_400), np.log1p(10), np.nan, np.nan], nothing]
    np.testing.assert_allclose(build(tables, asked)["own_age"], expected, rtol=1e-6)


def test_attributes_are_compared_with_the_mean_and_the_last_of_the_history(tables: ItemTables, asked: Asked) -> None:
    """The known products of the history are 0, 0 and 1, of rates 1, 1 and 4; the last is 1."""
    columns, nothing = build(tables, asked), [np.nan] * 4
    np.testing.assert_array_equal(columns["attribute_rate"], [[1, 4, -2, np.nan]] * 3)
    np.testing.assert_array_equal(columns["attribute_rate_from_mean"], [nothing, [-1, 2, -4, np.nan], nothing])
    np.testing.assert_array_equal(columns["attribute_rate_from_last"], [nothing, [-3, 0, -6, np.nan], nothing])


def test_attribute_from_last_skips_an_unknown_product_and_not_a_missing_number(
    tables: ItemTables, asked: Asked
) -> None:
    times = [NOW - 3 * DAY, NOW - 2 * DAY, NOW - DAY]
    histories = make_histories(
        [
            [(1, CLICK, times[0]), (UNKNOWN_PRODUCT, CLICK, times[1])],
            [(1, CLICK, times[0]), (3, CLICK, times[1])],
            [(3, CLICK, times[0])],
        ]
    )
    columns = build(tables, asked._replace(history=histories))
    assert columns["attribute_rate_from_last"][0].tolist()[:3] == [-3, 0, -6]
    assert np.isnan(columns["attribute_rate_from_last"][1:]).all()
    assert columns["attribute_rate_from_mean"][1].tolist()[:3] == [-3, 0, -6]
    assert np.isnan(columns["attribute_rate_from_mean"][2]).all()


def test_counts_are_of_the_windows_before_the_instant(tables: ItemTables, asked: Asked) -> None:
    columns = build(tables, asked)
    counts = {"count": [2, 3, 0, 0], "count_7d": [1, 3, 0, 0], "count_30d": [1, 3, 0, 0], "count_90d": [2, 3, 0, 0]}
    for name, values in counts.items():
        np.testing.assert_allclose(columns[name], [np.log1p(values)] * 3, rtol=1e-6, err_msg=name)
    np.testing.assert_allclose(columns["trend"], columns["count_7d"] - columns["count_90d"])


def test_ages_of_products_are_days_since_their_bins(tables: ItemTables, asked: Asked) -> None:
    """Bins are days that begin with the first event, 40 days ago: that of 1.5 days ago ended 1 day ago."""
    columns = build(tables, asked)
    np.testing.assert_allclose(columns["age_last"], [[2, 1, np.nan, np.nan]] * 3)
    np.testing.assert_allclose(columns["age_first"], [[39, 1, np.nan, np.nan]] * 3)


def test_history_features_of_customers(tables: ItemTables, asked: Asked) -> None:
    columns = build(tables, asked)
    assert columns["length"][:, 0].tolist() == [0, 4, 1]
    since = [np.nan, np.log1p(10), np.log1p(86_400)]
    span = [np.nan, np.log1p(9 * 86_400 - 10), 0.0]
    for product in range(PRODUCTS):
        np.testing.assert_allclose(columns["since_last"][:, product], since, rtol=1e-6)
        np.testing.assert_allclose(columns["span"][:, product], span, rtol=1e-6)


def test_tower_and_its_rank_are_of_the_whole_list(tables: ItemTables, asked: Asked) -> None:
    columns = build(tables, asked)
    np.testing.assert_array_equal(columns["tower"], asked.tower)
    np.testing.assert_allclose(columns["tower_rank"], [np.log1p([3, 0, 1, 2])] * 3, rtol=1e-6)


def test_customer_without_history_is_nan_only_where_nothing_can_be_said() -> None:
    """Everything else, the scores of the sources among it, is a number; nobody's is infinite."""
    rng = np.random.default_rng(0)
    asked = Asked(make_histories([[]]), np.array([NOW]), rng.standard_normal((1, 9)).astype(np.float32))
    columns = build(draw_tables(rng, products=9), asked, ("rate", "fee"))
    of_history = {"own_age", "since_last", "span"}
    of_history |= {f"attribute_{name}_from_{what}" for name in ("rate", "fee") for what in ("mean", "last")}
    assert {name for name, values in columns.items() if np.isnan(values).all()} == of_history
    missing = {name for name, values in columns.items() if np.isnan(values).any()} - of_history
    assert missing <= {"attribute_rate", "attribute_fee", "age_last", "age_first"}
    assert not any(np.isinf(values).any() for values in columns.values())
    for name in ("ease", "knn_recent", "transition_1", "factors", "text_all", "labels_recent", "image_last_1"):
        assert not columns[name].any(), name


def test_unknown_products_say_no_more_than_no_history() -> None:
    """But that he was here and when: the length of his history, its age and its span."""
    rng = np.random.default_rng(0)
    tables, tower = draw_tables(rng, products=9), rng.standard_normal((2, 9)).astype(np.float32)
    strange = [(UNKNOWN_PRODUCT, CLICK, NOW - 3 * DAY), (UNKNOWN_PRODUCT, CONVERT, NOW - DAY)]
    histories = make_histories([[], strange])
    columns = build(tables, Asked(histories, np.array([NOW, NOW]), tower[[0, 0]]), ("rate", "fee"))
    differ = {name for name, values in columns.items() if not np.array_equal(values[0], values[1], equal_nan=True)}
    assert differ == {"length", "since_last", "span"}


def test_sources_equal_sums_over_the_known_entries_of_the_history() -> None:
    rng = np.random.default_rng(0)
    products = 9
    tables, asked = draw_tables(rng, products), draw_asked(rng, 12, products)
    scores = source_scores(tables, asked)
    for row in range(12):
        length = asked.history.length[row]
        mine = [item for item in asked.history.product[row, :length].tolist() if item != UNKNOWN_PRODUCT]
        whole, recent = np.zeros(products), np.zeros(products)
        whole[mine] = 1
        for place, item in enumerate(reversed(mine)):
            recent[item] += 0.8**place
        for name, matrix in tables.neighbours.items():
            np.testing.assert_allclose(scores[name][row], whole @ matrix.toarray(), rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(scores[f"{name}_recent"][row], recent @ matrix.toarray(), rtol=1e-5, atol=1e-6)
        transition = tables.neighbours["transition"].toarray()
        for step in (1, 2, 3):
            expected = transition[mine[-step]] if step <= len(mine) else np.zeros(products)
            np.testing.assert_allclose(scores[f"transition_{step}"][row], expected, rtol=1e-6)
        folded = fold_in(Lists.of(sparse.csr_matrix(whole[None].astype(np.float32))), tables.factors)[0]
        np.testing.assert_allclose(scores["factors"][row], tables.factors @ folded, rtol=1e-4, atol=1e-5)
        last = np.eye(products)[mine[-1]] if mine else np.zeros(products)
        for kind, weights in (("all", whole), ("recent", recent), ("last_1", last)):
            np.testing.assert_allclose(scores[f"text_{kind}"][row], cosines(weights, tables, "text"), atol=1e-5)
            np.testing.assert_allclose(scores[f"image_{kind}"][row], cosines(weights, tables, "image"), atol=1e-5)
            labels = tables.content.labels.toarray()
            mean = weights @ labels / max(weights.sum(), 1e-9)
            np.testing.assert_allclose(scores[f"labels_{kind}"][row], labels @ mean, atol=1e-5)


def cosines(weights: np.ndarray, tables: ItemTables, group: str) -> np.ndarray:
    """[P] of each product's vector with what the history weighs."""
    vectors = tables.content.vectors[group]
    mine = weights @ vectors
    return np.asarray(vectors @ mine / max(np.linalg.norm(mine), 1e-9))


def test_features_of_a_customer_are_the_same_alone_and_among_others() -> None:
    rng = np.random.default_rng(0)
    tables, asked = draw_tables(rng, products=11), draw_asked(rng, customers=20, products=11)
    together = build(tables, asked, ("rate", "fee"))
    for row in range(20):
        alone = build(tables, asked.take(np.array([row])), ("rate", "fee"))
        assert list(alone) == list(together)
        for name, values in alone.items():
            np.testing.assert_allclose(values[0], together[name][row], atol=1e-5, err_msg=name)


def test_features_do_not_depend_on_who_the_others_are() -> None:
    rng = np.random.default_rng(0)
    tables = draw_tables(rng, products=11)
    mine, one, other = (draw_asked(rng, customers=4, products=11) for _ in range(3))
    first = build(tables, join_asked(mine, one), ("rate", "fee"))
    second = build(tables, join_asked(other, mine), ("rate", "fee"))
    for name, values in first.items():
        np.testing.assert_allclose(values[:4], second[name][4:], atol=1e-5, err_msg=name)


def test_features_of_a_pair_do_not_depend_on_the_other_pairs() -> None:
    rng = np.random.default_rng(0)
    tables, asked = draw_tables(rng, products=11), draw_asked(rng, customers=6, products=11)
    builder, sources = FeatureBuilder(tables, EVENT_TYPES, ("rate", "fee")), source_scores(tables, asked)
    whole = builder.build(asked, sources, every_pair(asked))
    some = rng.random(66) < 0.3
    part = builder.build(asked, sources, Pairs(*(values[some] for values in every_pair(asked))))
    for name, values in part.items():
        np.testing.assert_array_equal(values, whole[name][some], err_msg=name)


def test_what_the_customer_touched_is_counted_entry_by_entry() -> None:
    rng = np.random.default_rng(0)
    tables, asked = draw_tables(rng, products=11), draw_asked(rng, customers=6, products=11)
    history, columns = asked.history, build(tables, asked, ("rate", "fee"))
    for customer, product in zip(*every_pair(asked), strict=True):
        same = asked.valid[customer] & (history.product[customer] == product)
        for code, name in enumerate(EVENT_TYPES, start=1):
            assert columns[f"own_{name}"][customer, product] == (same & (history.event_type[customer] == code)).sum()
        ages = (asked.now[customer] - history.timestamp[customer][same]) / 1e6
        want = np.log1p(ages.min()) if len(ages) else np.nan
        np.testing.assert_allclose(columns["own_age"][customer, product], want, rtol=1e-6)
    assert sum(columns[f"own_{name}"].sum() for name in EVENT_TYPES) > 0


def test_features_that_are_wanted_are_the_same_alone() -> None:
    rng = np.random.default_rng(0)
    tables, asked = draw_tables(rng, products=11), draw_asked(rng, customers=6, products=11)
    builder, sources = FeatureBuilder(tables, EVENT_TYPES, ("rate", "fee")), source_scores(tables, asked)
    whole = builder.build(asked, sources, every_pair(asked))
    wanted = frozenset(("ease", "tower_rank", "own_age"))
    some = builder.build(asked, sources, every_pair(asked), wanted)
    assert wanted < some.keys() < whole.keys()
    for name, values in some.items():
        np.testing.assert_array_equal(values, whole[name], err_msg=name)


def test_feature_names_and_their_order_do_not_depend_on_the_customers() -> None:
    rng = np.random.default_rng(0)
    tables = draw_tables(rng, products=11)
    new = Asked(make_histories([[]]), np.array([NOW]), np.zeros((1, 11), np.float32))
    builder = FeatureBuilder(tables, EVENT_TYPES, ("rate", "fee"))
    none = Pairs(np.zeros(0, np.int64), np.zeros(0, np.int64))
    names = list(build(tables, draw_asked(rng, 5, 11), ("rate", "fee")))
    assert list(build(tables, new, ("rate", "fee"))) == names
    assert list(builder.build(new, source_scores(tables, new), none)) == names
