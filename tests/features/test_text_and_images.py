from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recsys.data.contract import Dataset
from recsys.encoders.text import build_text_encoder
from recsys.features.build import BuildReport, FeatureConfig
from recsys.features.images import plan_images
from recsys.features.plan import CustomerRange, Sources
from recsys.schema import Table


def table(tables: Path, view: str) -> pl.DataFrame:
    return pl.read_parquet(tables / f"{view}.parquet")


def test_text_row_is_the_recency_weighted_direction_of_the_messages(
    bank: Dataset, built: BuildReport, tables: Path, config: FeatureConfig
) -> None:
    row = table(tables, "customer_text").filter(pl.col("n_messages") == 3).row(0, named=True)
    written = (
        bank.scan(Table.MESSAGES)
        .filter(
            pl.col("customer_id") == row["customer_id"],
            pl.col("event_timestamp") <= row["event_timestamp"],
            pl.col("text").str.strip_chars() != "",
        )
        .collect()
    )
    assert written.height == 3
    vectors = build_text_encoder(config.text).encode(written["text"].to_list())
    days = (row["event_timestamp"] - written["event_timestamp"]).dt.total_seconds().to_numpy() / 86_400
    expected = (vectors * (0.5 ** (days / config.text_half_life_days))[:, None]).sum(axis=0)
    expected /= np.linalg.norm(expected)
    np.testing.assert_allclose(row["text_vector"], expected, atol=5e-3)  # the cache keeps half precision


@pytest.mark.parametrize(
    ("view", "column", "dim"),
    [
        ("customer_text", "text_vector", 384),
        ("customer_images", "image_vector", 16),
        ("product_text", "text_vector", 384),
        ("product_images", "image_vector", 1280),
        ("content_text", "text_vector", 384),
        ("content_images", "image_vector", 1280),
    ],
)
def test_vectors_have_their_length_and_are_unit(
    built: BuildReport, tables: Path, view: str, column: str, dim: int
) -> None:
    vectors = np.array(table(tables, view)[column].drop_nulls().to_list())
    assert vectors.shape[1] == dim == built.manifest.view(view).column(column).dim
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=2e-3)


def test_blank_messages_are_counted_and_make_no_row(bank: Dataset, built: BuildReport, tables: Path) -> None:
    assert built.missing["customer_text"] > 0
    last = table(tables, "customer_text").group_by("customer_id").agg(pl.col("n_messages").max())
    written = bank.scan(Table.MESSAGES).filter(pl.col("text").str.strip_chars() != "").group_by("customer_id").len()
    both = last.join(written.collect(), on="customer_id")
    assert both.height == last.height
    assert (both["n_messages"] <= both["len"]).all()


def test_item_without_picture_has_a_null_vector(built: BuildReport, tables: Path) -> None:
    images = table(tables, "content_images")
    assert images.filter(pl.col("image_vector").is_null())["content_id"].to_list() == ["k0", "k2", "k4", "k6"]


def test_images_take_the_content_then_the_product_then_what_was_sent(bank: Dataset, sources: Sources) -> None:
    plan = plan_images(sources)
    assert plan is not None
    found = pl.concat(plan.frames(CustomerRange())).group_by("customer_id").agg(pl.col("n_images").max())
    consents = bank.scan(Table.CONSENTS).collect()
    allowed = [
        set(consents.filter(pl.col("purpose") == purpose, pl.col("granted"))["customer_id"])
        for purpose in ("profiling", "image_analysis")
    ]
    expected: dict[str, int] = {}
    positives = bank.positives().select("customer_id", "product_id", "content_id").collect()
    for customer, product, content in positives.iter_rows():
        if (content and int(content[1]) % 2) or product != "p0":
            expected[customer] = expected.get(customer, 0) + 1
    sent = bank.scan(Table.MESSAGES).filter(pl.col("image_path").is_not_null()).collect()["customer_id"]
    for customer in sent:
        expected[customer] = expected.get(customer, 0) + 1
    agreed = {customer: count for customer, count in expected.items() if customer in allowed[0] & allowed[1]}
    assert dict(found.iter_rows()) == agreed


def test_sent_pictures_are_pooled_by_themselves(bank: Dataset, sources: Sources) -> None:
    plan = plan_images(sources)
    assert plan is not None
    frame = pl.concat(plan.frames(CustomerRange()))
    last = frame.group_by("customer_id").agg(pl.col("n_sent").max(), pl.col("n_images").max())
    sent = bank.scan(Table.MESSAGES).filter(pl.col("image_path").is_not_null()).group_by("customer_id").len().collect()
    both = last.join(sent, on="customer_id", how="left").with_columns(pl.col("len").fill_null(0))
    assert both.filter(pl.col("len") > 0).height > 0
    assert (both["n_sent"] == both["len"]).all()
    assert (frame["sent_vector"].is_null() == (frame["n_sent"] == 0)).all()
    only = frame.filter(pl.col("n_sent") == pl.col("n_images"))
    assert only.height > 0
    np.testing.assert_allclose(np.array(only["sent_vector"].to_list()), np.array(only["image_vector"].to_list()))
