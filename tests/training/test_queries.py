"""Questions about earlier times: their answers come later than what is read, and are the training part's."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from feature_repo.operations import apply_and_materialise
from feature_repo.settings import StoreSettings
from recsys.data.contract import Dataset, SplitConfig
from recsys.data.splits import ORDER_TIMESTAMP, PART, Part, resolve_split
from recsys.features.build import FeatureConfig, build_features
from recsys.schema import CUSTOMER_ID, PRODUCT_ID
from recsys.testing.tiny_bank import write_tiny_bank
from training.evaluate import load_split, measured_words
from training.queries import Queries

MICROS = 1_000_000


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, Path]:
    folder = tmp_path_factory.mktemp("earlier")
    dataset, home = write_tiny_bank(folder / "bank", customers=40), folder / "home"
    build_features(dataset, home / "features", home / "encodings", FeatureConfig())
    apply_and_materialise(home, settings=StoreSettings(online_store="sqlite"))
    return dataset, home


def times_of_answers(parts: pl.DataFrame, queries: Queries, row: int, products: list[str]) -> list[tuple[int, str]]:
    """Order (epoch µs) and part of every positive that answers a question."""
    mine = parts.filter(
        pl.col(CUSTOMER_ID) == queries.customer_ids[row],
        pl.col(PRODUCT_ID).is_in([products[item] for item in queries.relevant[row]]),
        pl.col(ORDER_TIMESTAMP).dt.epoch("us") > queries.now[row],
    )
    return list(mine.select(pl.col(ORDER_TIMESTAMP).dt.epoch("us"), PART).iter_rows())


@pytest.mark.parametrize("kind", ["global_time", "leave_last_out"])
def test_earlier_asks_before_the_answers_and_only_of_the_training_part(kind: str, built: tuple[Dataset, Path]) -> None:
    opened, home = built
    dataset = replace(opened, config=opened.config.model_copy(update={"split": SplitConfig(kind=kind)}))  # type: ignore[arg-type]
    split = load_split(dataset, home)
    earlier = split.earlier(1000)
    assert sum(map(len, earlier)) > 20
    for queries in earlier:
        assert len(set(queries.customer_ids)) == len(queries)
        for row in range(len(queries)):
            answers = times_of_answers(split.parts, queries, row, split.catalogue.product_ids)
            assert any(part == Part.TRAIN for _, part in answers)
        read = [name for name in queries.columns.columns if name.endswith("__event_timestamp")]
        for name in read:
            instants = queries.columns[name].dt.epoch("us").fill_null(0).to_numpy()
            assert (instants <= queries.now).all()


def test_earlier_in_time_stands_as_far_before_validation_as_its_questions_look_ahead(
    built: tuple[Dataset, Path],
) -> None:
    dataset, home = built
    split, times = load_split(dataset, home), resolve_split(dataset)
    assert times.validation_start is not None
    first = datetime.fromtimestamp(int(split.earlier(1000)[0].now[0]) / MICROS, UTC)
    assert abs((times.validation_start - times.look_ahead - first).total_seconds()) < 1


def test_earlier_stops_at_the_number_that_was_asked_for(built: tuple[Dataset, Path]) -> None:
    split = load_split(*built)
    whole, some = split.earlier(1000), split.earlier(15)
    assert sum(map(len, some)) == 15
    assert np.array_equal(np.concatenate([q.now for q in whole])[:15], np.concatenate([q.now for q in some]))


@pytest.mark.parametrize("part", [Part.VALIDATION, Part.TEST])
def test_of_more_customers_than_may_be_asked_about_always_the_same_are_drawn(
    part: Part, built: tuple[Dataset, Path]
) -> None:
    builder = load_split(*built).builder
    whole = builder.of_part(part)
    assert len(whole) > 3
    products = len(builder.catalogue.products)
    for bounded in (replace(builder, most=3), replace(builder, cells=4 * products - 1)):
        some = bounded.of_part(part)
        assert 0 < len(some) <= 3
        assert some.customer_ids == bounded.of_part(part).customer_ids
        assert (whole.drawn_from, some.take(np.arange(1)).drawn_from) == (0, some.drawn_from)
        assert some.drawn_from >= len(whole)
        said = measured_words(part, some)
        assert f"{len(some)} of {some.drawn_from} customers, drawn by lot" in said
        assert "drawn" not in measured_words(part, whole)
        again = whole.of(some.customer_ids)
        assert again.customer_ids == some.customer_ids
        for row in range(len(some)):
            assert np.array_equal(some.relevant[row], again.relevant[row])
        assert np.array_equal(some.now, again.now)
        assert np.array_equal(some.allowed, again.allowed)
        assert sum(map(len, bounded.earlier(1000))) < sum(map(len, builder.earlier(1000)))
