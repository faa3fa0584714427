"""Pretraining without labels: what customers did, wrote, paid and looked at teaches the towers before any label does.

A label is an acquisition (apply, convert); everything else is unlabelled, and there is far more of it. One phase of the
same loop over the same modules, before the labels are learned from:

- *next event*: the product and the creative of each view and click, from the features of before (SASRec, Kang and
  McAuley 2018, with the other modalities beside the history);
- *contrast*: at each event, message and (a sample of) transactions, each modality of a customer is matched with what
  his other modalities say of him, against other customers of the batch (CLIP's InfoNCE, Radford et al. 2021, between a
  customer's own views);
- the alignment of an item's text, picture and id, as in training.

Only what happened in the parts that are learned from is read, of customers who agreed to profiling, without the columns
that the policy protects. An acquisition is never a target here, whether its label is hidden or not; the histories that
go in as inputs hold it, as they do when the model serves.
"""

from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import torch
from torch import Tensor

from recsys.data.contract import Dataset
from recsys.data.splits import ORDER_TIMESTAMP, PART, Part, assign_parts, order_timestamps, resolve_split
from recsys.features.consent import Consent, Purpose
from recsys.modeling.losses import info_nce
from recsys.modeling.two_tower import ItemVectors, TwoTower
from recsys.schema import CONTENT_ID, CUSTOMER_ID, EVENT_TIMESTAMP, EVENT_TYPE, PRODUCT_ID, EventType, Table
from training.dataset import Catalogue, DatasetBuilder, Prepared
from training.examples import Labels
from training.labels import ACQUISITIONS
from training.loop import LoopConfig, Objective, Trainer
from training.pretrain_config import PretrainConfig

_OTHERS = (Table.MESSAGES, Table.TRANSACTIONS)
"""Beside the events: what changes a customer without naming a product."""
_BUCKETS = 1_000_000


class Pretraining:
    """The unlabelled rows of one dataset, and the phase over them."""

    def __init__(self, builder: DatasetBuilder, config: PretrainConfig, loop: LoopConfig) -> None:
        self.builder = builder
        self.config = config
        self.loop = loop.model_copy(update={"epochs": config.epochs, "decay_epochs": config.epochs})

    def prepare(self, keep: tuple[Part, ...], catalogue: Catalogue) -> Prepared | None:
        """Everything to pretrain on; None where the dataset has nothing but labels."""
        rows = unlabelled(self.builder.dataset, keep, self.config, self.loop.seed)
        return None if rows.is_empty() else self.builder.build(keep, catalogue, rows)

    def fit(self, prepared: Prepared, model: TwoTower, checkpoint: Path) -> TwoTower:
        """Trains the model's weights for all epochs; resumes from the checkpoint."""
        objective = partial(PretrainingObjective, self.config)
        return Trainer(model, prepared, self.loop, checkpoint, objective).fit(None).model


def unlabelled(dataset: Dataset, keep: tuple[Part, ...], config: PretrainConfig, seed: int) -> pl.DataFrame:
    """Moments in the given parts at which something is to be learned without labels.

    Returns:
        Rows as `recsys.data.splits.assign_parts` makes them, all of part train: events with the product and creative
        that they name where that is a target, messages and transactions with neither (and no event_id).
    """
    acquired = pl.col(EVENT_TYPE).is_in(ACQUISITIONS)
    every = dataset.scan(Table.EVENTS)
    if not every.select(acquired.any()).collect(engine="streaming").item():
        return pl.DataFrame()
    shown = pl.col(EVENT_TYPE) == EventType.IMPRESSION.value
    events = order_timestamps(every).filter(~acquired & ~shown)
    target = pl.col(EVENT_TYPE).is_in(list(dataset.config.event_weights)) & config.next_event
    items = [name for name in (PRODUCT_ID, CONTENT_ID) if name in dataset.columns(Table.EVENTS)]
    found = [events.with_columns(pl.when(target).then(name).alias(name) for name in items)]
    if config.contrast_weight:
        found += [_moments(dataset, table, config, seed) for table in _OTHERS if dataset.has(table)]
    rows = _before(pl.concat(found, how="diagonal"), dataset, keep)
    known = Consent(dataset).keep_now(rows, Purpose.PROFILING).sort(CUSTOMER_ID, ORDER_TIMESTAMP)
    return known.with_columns(pl.lit(1.0).alias("weight"), pl.lit(str(keep[0])).alias(PART)).collect()


def _moments(dataset: Dataset, table: Table, config: PretrainConfig, seed: int) -> pl.LazyFrame:
    """When customers wrote or paid, drawn by the hash of the row: the same ones however often it is asked."""
    rows = dataset.scan(table).select(CUSTOMER_ID, EVENT_TIMESTAMP, pl.col(EVENT_TIMESTAMP).alias(ORDER_TIMESTAMP))
    count = rows.select(pl.len()).collect(engine="streaming").item()
    share = min(1.0, config.moments / len(_OTHERS) / max(count, 1))
    drawn = pl.struct(CUSTOMER_ID, EVENT_TIMESTAMP).hash(seed=seed) % _BUCKETS < share * _BUCKETS
    return rows.filter(drawn)


def _before(rows: pl.LazyFrame, dataset: Dataset, keep: tuple[Part, ...]) -> pl.LazyFrame:
    """The rows of the time that `keep` covers: nothing of a part that is still to be asked about."""
    if Part.TEST in keep:
        return rows
    split = resolve_split(dataset)
    start = split.test_start if Part.VALIDATION in keep else split.validation_start
    if start is not None:
        return rows.filter(pl.col(EVENT_TIMESTAMP) < pl.lit(start))
    kept = [str(part) for part in keep]
    later = assign_parts(dataset).filter(~pl.col(PART).is_in(kept)).group_by(CUSTOMER_ID)
    ends = later.agg(pl.col(ORDER_TIMESTAMP).min().alias("_end"))
    inside = pl.col("_end").is_null() | (pl.col(ORDER_TIMESTAMP) < pl.col("_end"))
    return rows.join(ends, on=CUSTOMER_ID, how="left").filter(inside).drop("_end")


class PretrainingObjective(Objective):
    """The next event, and the contrast between a customer's modalities."""

    def __init__(self, config: PretrainConfig, model: TwoTower, prepared: Prepared, device: torch.device) -> None:
        super().__init__(model, prepared, device)
        self._pretrain = config

    def __call__(self, labels: Labels, items: ItemVectors, generator: np.random.Generator) -> Tensor:
        """Scalar loss."""
        read = self._read(labels, items)
        loss = self._of(read, labels, items, generator)
        if not self._pretrain.contrast_weight:
            return loss
        who = self.on_device(labels.customer)
        tokens = list(self.model.customers.tokens(read.columns, read.state, read.has_history))
        return loss + self._pretrain.contrast_weight * modality_contrast(
            torch.stack([token for _, token, _ in tokens]),
            torch.stack([present for _, _, present in tokens]),
            who,
            self._pretrain.contrast_temperature,
        )


def modality_contrast(tokens: Tensor, present: Tensor, customer: Tensor, temperature: float) -> Tensor:
    """How well each modality of a customer is told apart by the mean of his others, averaged over modalities.

    Args:
        tokens: [M, B, D].
        present: [M, B] bool; who lacks a modality, or has no other, is not asked.
        customer: [B] int64; rows of one customer are no negatives for each other.
        temperature: divides the cosines.
    """
    here = present[:, :, None].to(tokens.dtype)
    total, count = (tokens * here).sum(dim=0), here.sum(dim=0)
    losses = []
    for token, has, own in zip(tokens, present, here, strict=True):
        rows = torch.nonzero(has & (count[:, 0] > 1))[:, 0]
        others = (total - token * own)[rows] / (count - own)[rows].clamp(min=1)
        same = customer[rows][:, None] == customer[rows][None, :]
        losses.append(info_nce(token[rows], others, temperature, same))
    return torch.stack(losses).mean()
