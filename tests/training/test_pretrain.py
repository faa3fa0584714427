"""Pretraining: what it reads, what it never reads, that it resumes, and that it helps where behaviour tells."""

from pathlib import Path

import polars as pl
import pytest
import torch

from recsys.data.contract import Dataset
from recsys.data.splits import ORDER_TIMESTAMP, PART, Part, assign_parts, resolve_split
from recsys.features.consent import Consent, Purpose
from recsys.modeling.losses import info_nce
from recsys.modeling.two_tower import TwoTower
from recsys.schema import CUSTOMER_ID, EVENT_ID, EVENT_TIMESTAMP, EVENT_TYPE, PRODUCT_ID, Table
from tests.training.conftest import CONFIG, Governed
from training.dataset import DatasetBuilder
from training.labels import ACQUISITIONS
from training.pretrain import Pretraining, modality_contrast, unlabelled
from training.pretrain_config import PretrainConfig

EVERYTHING = PretrainConfig(epochs=2, moments=100_000)
TRAIN = (Part.TRAIN,)


def by_id(dataset: Dataset) -> pl.DataFrame:
    return dataset.scan(Table.EVENTS).select(EVENT_ID, pl.col(PRODUCT_ID).alias("named")).collect()


def test_unlabelled_rows_are_early_consenting_and_name_no_acquisition(governed: Governed) -> None:
    dataset = governed.dataset
    rows = unlabelled(dataset, TRAIN, EVERYTHING, 0)
    start = resolve_split(dataset).validation_start
    assert rows[EVENT_TIMESTAMP].max() < start  # type: ignore[operator]
    assert not set(rows[EVENT_TYPE].drop_nulls()) & {*ACQUISITIONS, "impression"}
    assert Consent(dataset).keep_now(rows.lazy(), Purpose.PROFILING).collect().height == rows.height
    events, others = rows.filter(pl.col(EVENT_ID).is_not_null()), rows.filter(pl.col(EVENT_ID).is_null())
    assert set(events.filter(pl.col(PRODUCT_ID).is_not_null())[EVENT_TYPE]) == {"view", "click"}
    assert events.filter(pl.col(EVENT_TYPE) == "dismiss")[PRODUCT_ID].null_count() > 0
    assert others.height > 100
    assert others[PRODUCT_ID].null_count() == others.height
    named = events.drop_nulls(PRODUCT_ID).join(by_id(dataset), on=EVENT_ID)
    assert named[PRODUCT_ID].equals(named["named"])
    later = unlabelled(dataset, tuple(Part), EVERYTHING, 0)
    assert later[EVENT_TIMESTAMP].max() > start  # type: ignore[operator]


def test_unlabelled_moments_are_bounded_and_the_same_every_time(governed: Governed) -> None:
    few = unlabelled(governed.dataset, tuple(Part), PretrainConfig(moments=100), 0)
    again = unlabelled(governed.dataset, tuple(Part), PretrainConfig(moments=100), 0)
    assert few.equals(again)
    assert 20 < few[EVENT_ID].null_count() < 180
    none = unlabelled(governed.dataset, tuple(Part), PretrainConfig(contrast_weight=0), 0)
    assert none[EVENT_ID].null_count() == 0


def test_unlabelled_of_a_leave_last_out_split_ends_before_each_customers_answer(governed: Governed) -> None:
    config = governed.dataset.config
    split = config.split.model_copy(update={"kind": "leave_last_out", "validation_start": None, "test_start": None})
    dataset = Dataset(governed.dataset.path, config.model_copy(update={"split": split}))
    rows = unlabelled(dataset, TRAIN, EVERYTHING, 0)
    later = assign_parts(dataset).filter(pl.col(PART) != "train").group_by(CUSTOMER_ID)
    ends = later.agg(pl.col(ORDER_TIMESTAMP).min().alias("end")).collect()
    assert rows.join(ends, on=CUSTOMER_ID).filter(pl.col(ORDER_TIMESTAMP) >= pl.col("end")).is_empty()


def test_pretraining_resumes_to_the_same_weights_and_lowers_its_loss(governed: Governed, tmp_path: Path) -> None:
    def phase(epochs: int, checkpoint: Path) -> TwoTower:
        builder = DatasetBuilder(governed.dataset, governed.home.path, CONFIG.encoding)
        config = EVERYTHING.model_copy(update={"epochs": epochs})
        loop = CONFIG.loop
        pretraining = Pretraining(builder, config, loop)
        pretraining.loop = pretraining.loop.model_copy(update={"decay_epochs": 2})
        prepared = pretraining.prepare(TRAIN, governed.outcome.split.catalogue)
        assert prepared is not None
        assert (prepared.training.labels.product < 0).any()
        torch.manual_seed(0)
        return pretraining.fit(prepared, TwoTower(prepared.inputs, CONFIG.model), checkpoint)

    phase(1, tmp_path / "killed.checkpoint")
    resumed = phase(2, tmp_path / "killed.checkpoint").state_dict()
    whole = phase(2, tmp_path / "whole.checkpoint").state_dict()
    assert all(torch.equal(resumed[name], values) for name, values in whole.items())
    history = torch.load(tmp_path / "whole.checkpoint", weights_only=True)["history"]
    assert history[1][1] < history[0][1]


def test_modality_contrast_is_low_where_modalities_tell_the_customer_and_ignores_what_is_missing() -> None:
    torch.manual_seed(0)
    customer = torch.arange(16)
    tokens = torch.randn(16, 8).repeat(3, 1, 1)
    here = torch.ones(3, 16, dtype=torch.bool)
    alike = modality_contrast(tokens, here, customer, 0.1)
    strangers = torch.stack([tokens[0], tokens[1][torch.randperm(16)], tokens[2]])
    assert alike < 0.05 < 1 < modality_contrast(strangers, here, customer, 0.1)
    gone = here.clone()
    gone[1] = False
    assert modality_contrast(strangers, gone, customer, 0.1) == pytest.approx(float(alike) * 2 / 3, abs=0.02)


def test_info_nce_rows_of_one_customer_are_no_negatives() -> None:
    torch.manual_seed(0)
    first, temperature = torch.randn(4, 8), 0.1
    twice, same = torch.cat([first, first]), torch.arange(4).repeat(2)
    found = info_nce(twice, twice, temperature, same[:, None] == same[None, :])
    unit = torch.nn.functional.normalize(first, dim=1)
    odds = ((unit @ unit.T - 1) / temperature).exp().fill_diagonal_(0)  # of each stranger, against the row itself
    assert found == pytest.approx(float((1 + 2 * odds.sum(dim=1)).log().mean()), abs=1e-5)
    assert info_nce(twice, twice, temperature) > found + 0.5
