"""The one training loop: epochs over label batches, early stopping on validation, checkpoints that resume exactly."""

import copy
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from pydantic import Field
from rich.progress import Progress
from torch import Tensor

from recsys.config import BaseConfig
from recsys.modeling.batches import EntityBatch, history_batch, make_entity_batch
from recsys.modeling.config import LossConfig
from recsys.modeling.devices import take_rows, to_device
from recsys.modeling.losses import full_softmax, sampled_softmax
from recsys.modeling.two_tower import ItemVectors, TwoTower
from training.columns import CustomerColumns
from training.dataset import Prepared
from training.examples import Labels


class LoopConfig(BaseConfig):
    """How long and how fast to train."""

    epochs: int = Field(default=10, ge=1)
    """At most so many passes over the labels, or over as many of them as an epoch has."""
    labels_per_epoch: int = Field(default=1_000_000, ge=0)
    """At most so many labels an epoch, drawn anew for each; 0: all. So the time of a training has a bound."""
    patience: int = Field(default=4, ge=1)
    """Stop after so many epochs without a better validation score."""
    labels_per_batch: int = Field(default=1024, ge=2)
    learning_rate: float = Field(default=3e-3, gt=0)
    """At the start."""
    decay_epochs: int = Field(default=12, ge=0)
    """The learning rate falls along half a cosine to nothing after so many epochs; 0: it stays."""
    weight_decay: float = Field(default=1e-2, ge=0)
    clip_norm: float = Field(default=1.0, gt=0)
    seed: int = 0
    device: str = "auto"
    """auto: a GPU where there is one, else the CPU."""
    threads: int = Field(default=0, ge=0)
    """CPU threads of torch; 0: half of the cores. With all of them, every small step waits for the busiest core: beside
    one other process on two cores, two threads were ten times slower than one, and 1.2 times faster alone."""


class Epoch(NamedTuple):
    """What one epoch did."""

    number: int
    loss: float
    score: float
    """Validation score, NaN where there is none."""
    labels_per_second: float
    seconds: float


@dataclass
class LoopState:
    """Everything that a resumed run needs to go on as if it had not been killed."""

    epoch: int = 0
    best_epoch: int = 0
    best_score: float = -math.inf
    history: list[Epoch] = field(default_factory=list)


class TrainingResult(NamedTuple):
    """A trained model: the weights of the best epoch."""

    model: TwoTower
    state: LoopState


class Trainer:
    """Trains one model on one prepared dataset."""

    def __init__(
        self,
        model: TwoTower,
        prepared: Prepared,
        config: LoopConfig,
        checkpoint: Path | None = None,
        objective: Callable[[TwoTower, Prepared, torch.device], "Objective"] | None = None,
    ) -> None:
        """`checkpoint` is a file that is written after every epoch and read if it is there; `objective` is the loss."""
        self.config = config
        self.device = pick_device(config.device)
        self.model = model.to(self.device)
        self.prepared = prepared
        self.checkpoint = checkpoint
        self.products, self.contents = item_batches(prepared, self.device)
        products_of = prepared.product_of_content
        self.product_of_content = torch.from_numpy(products_of).to(self.device) if len(products_of) else None
        self.optimizer = torch.optim.AdamW(
            model.parameters(),
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
            fused=True if self.device.type == "cuda" else None,  # one kernel instead of a dozen for each few tensors
        )
        self.objective = (objective or Objective)(model, prepared, self.device)
        self.state = LoopState()
        self._best = copy.deepcopy(model.state_dict())

    def fit(self, score: Callable[[TwoTower], float] | None, progress: Progress | None = None) -> TrainingResult:
        """Trains until the validation score stops rising; with no `score`, for all epochs.

        Args:
            score: the validation score of a model in eval mode, higher is better.
            progress: where to show the epochs.
        """
        torch.set_flush_denormal(True)
        torch.set_num_threads(loop_threads(self.config))
        self._resume()
        task = progress.add_task("train", total=self.config.epochs, completed=self.state.epoch) if progress else None
        while self.state.epoch < self.config.epochs and not self._out_of_patience(score):
            epoch = self._run_epoch(score)
            self.state.history.append(epoch)
            self.state.epoch = epoch.number
            if score is None or epoch.score > self.state.best_score:
                self.state.best_score, self.state.best_epoch = epoch.score, epoch.number
                self._best = copy.deepcopy(self.model.state_dict())
            self._save()
            if progress and task is not None:
                scored = "" if score is None else f" · validation {epoch.score:.4f}"
                text = f"train: loss {epoch.loss:.3f}{scored} · {epoch.labels_per_second:,.0f}/s"
                progress.update(task, completed=epoch.number, description=text)
        if progress and task is not None:
            progress.update(task, total=self.state.epoch, completed=self.state.epoch)
        self.model.load_state_dict(self._best)
        self.model.eval()
        return TrainingResult(self.model, self.state)

    def _out_of_patience(self, score: Callable[[TwoTower], float] | None) -> bool:
        return score is not None and self.state.epoch - self.state.best_epoch >= self.config.patience

    def _run_epoch(self, score: Callable[[TwoTower], float] | None) -> Epoch:
        number = self.state.epoch + 1
        seed = self.config.seed * 10_007 + number
        torch.manual_seed(seed)
        generator = np.random.default_rng(seed)
        started = time.perf_counter()
        self.model.train()
        batches = list(
            islice(self.prepared.training.batches(self.config.labels_per_batch, generator), self._most_steps)
        )
        losses = []
        for done, rows in enumerate(batches):
            self._set_learning_rate(self.state.epoch + done / len(batches))
            losses.append(self._step(self.prepared.training.labels.take(rows), generator))
        # The device is asked once an epoch: asked after every step, it would have nothing queued while the host works.
        means = torch.stack(losses).tolist() if losses else []
        total, labels = sum(mean * len(rows) for mean, rows in zip(means, batches, strict=True)), sum(map(len, batches))
        elapsed = time.perf_counter() - started
        self.model.eval()
        value = score(self.model) if score is not None else math.nan
        return Epoch(number, total / max(labels, 1), value, labels / elapsed, time.perf_counter() - started)

    @property
    def _most_steps(self) -> int | None:
        """Of an epoch; batches come in random order, so that the first are a draw from all."""
        config = self.config
        return -(-config.labels_per_epoch // config.labels_per_batch) or None

    def _set_learning_rate(self, epochs_done: float) -> None:
        rate, decay = self.config.learning_rate, self.config.decay_epochs
        if decay:
            rate *= 0.5 * (1 + math.cos(math.pi * min(epochs_done / decay, 1.0)))
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def _step(self, labels: Labels, generator: np.random.Generator) -> Tensor:
        """One step; returns the loss, on the device."""
        items = self.model.encode_items(self.products, self.contents, self.product_of_content)
        loss = self.objective(labels, items, generator)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip_norm)
        self.optimizer.step()
        return loss.detach()

    def _save(self) -> None:
        if self.checkpoint is None:
            return
        self.checkpoint.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.checkpoint.with_suffix(".partial")
        content = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "best": self._best,
            "epoch": self.state.epoch,
            "best_epoch": self.state.best_epoch,
            "best_score": self.state.best_score,
            "history": [list(epoch) for epoch in self.state.history],
        }
        torch.save(content, temporary)
        temporary.replace(self.checkpoint)

    def _resume(self) -> None:
        if self.checkpoint is None or not self.checkpoint.exists():
            return
        content: dict[str, Any] = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
        self.model.load_state_dict(content["model"])
        self.optimizer.load_state_dict(content["optimizer"])
        self._best = content["best"]
        history = [Epoch(*values) for values in content["history"]]
        self.state = LoopState(content["epoch"], content["best_epoch"], content["best_score"], history)


class Objective:
    """The loss of a batch of labels."""

    def __init__(self, model: TwoTower, prepared: Prepared, device: torch.device) -> None:
        self.model = model
        self.prepared = prepared
        self.device = device
        self.config: LossConfig = model.config.loss
        training = prepared.training
        self.columns = CustomerColumns(prepared.inputs.customers, training.columns, device)
        self.product_negatives = ItemSampler(training.product_counts, self.config)
        self.content_negatives = ItemSampler(training.content_counts, self.config)

    def __call__(self, labels: Labels, items: ItemVectors, generator: np.random.Generator) -> Tensor:
        """Scalar loss: products, creatives and alignment, weighted by the config."""
        return self._of(self._read(labels, items), labels, items, generator)

    def on_device(self, values: np.ndarray) -> Tensor:
        """The array as a tensor on the device that trains."""
        return to_device(torch.from_numpy(values), self.device)

    def _of(self, read: "Read", labels: Labels, items: ItemVectors, generator: np.random.Generator) -> Tensor:
        customers = self.model.encode_customers(*read)
        own = self.own_products(labels, len(items.products) - 1) if self.config.mask_own_items else None
        towards = Candidates(items.products[:-1], labels.product, own, self.product_negatives)
        loss = self._towards(customers, labels.weight, towards, generator)
        if items.contents is not None and self.config.contents_weight:
            towards = Candidates(items.contents[:-1], labels.content, None, self.content_negatives)
            loss = loss + self.config.contents_weight * self._towards(customers, labels.weight, towards, generator)
        return loss + self.config.alignment_weight * items.alignment

    def own_products(self, labels: Labels, count: int) -> Tensor:
        """[B, P] bool: what the customer has; laid out on the device, which takes a few pairs instead of all places."""
        customer, product = self.prepared.training.own_products.pairs(labels.customer)
        own = torch.zeros(len(labels), count, dtype=torch.bool, device=self.device)
        own[self.on_device(customer), self.on_device(product)] = True
        return own

    def _read(self, labels: Labels, items: ItemVectors) -> "Read":
        training = self.prepared.training
        windows, local = np.unique(labels.window, return_inverse=True)
        history = history_batch(training.windows.take(windows)).to(self.device)
        states = self.model.encode_histories(items, history)
        position = self.on_device(labels.position)
        state = states[self.on_device(local), position]
        columns = self.columns.take(labels.row)
        return Read(columns, state, position > 0, self.on_device(labels.channel))

    def _towards(
        self, customers: Tensor, weight: np.ndarray, towards: "Candidates", generator: np.random.Generator
    ) -> Tensor:
        """The softmax loss towards one kind of candidates, over the labels that name one."""
        named = np.flatnonzero(towards.target >= 0)
        if not len(named):
            return customers.sum() * 0.0
        rows = self.on_device(named)
        chosen = customers[rows]
        weights = self.on_device(weight[named])
        own = None if towards.own is None else towards.own[rows]
        narrowed = towards._replace(target=towards.target[named], own=own)
        if len(towards.vectors) <= self.config.full_softmax_up_to:
            return self._full(chosen, weights, narrowed)
        return self._sampled(chosen, weights, narrowed, generator)

    def _full(self, customers: Tensor, weight: Tensor, towards: "Candidates") -> Tensor:
        logits = self.model.logits(customers, towards.vectors)
        excluded = self.on_device(towards.sampler.untouched)[None, :].expand_as(logits)
        if towards.own is not None:
            excluded = excluded | towards.own
        return full_softmax(logits, self.on_device(towards.target), weight, excluded)

    def _sampled(
        self, customers: Tensor, weight: Tensor, towards: "Candidates", generator: np.random.Generator
    ) -> Tensor:
        sample, log_q = towards.sampler.draw(towards.target, generator)
        drawn, target = self.on_device(sample), self.on_device(towards.target)
        excluded = drawn[None, :] == target[:, None]
        if towards.own is not None:
            excluded = excluded | towards.own[:, drawn]
        negatives = self.model.logits(customers, take_rows(towards.vectors, drawn))
        goals = take_rows(towards.vectors, target)
        cosine = (self.model.scale(customers) * self.model.scale(goals)).sum(dim=1)
        correction = None
        if self.config.logq:
            log_q = log_q.astype(np.float32)
            of_goal, of_sample = (self.on_device(log_q[index]) for index in (towards.target, sample))
            correction = (of_goal, of_sample)
        return sampled_softmax(cosine / self.model.config.temperature, negatives, correction, weight, excluded)


class Read(NamedTuple):
    """B customers as the tower reads them; the arguments of `TwoTower.encode_customers`."""

    columns: EntityBatch
    state: Tensor
    """[B, D] of the history encoder."""
    has_history: Tensor
    """[B] bool."""
    channel: Tensor
    """[B] int64."""


class Candidates(NamedTuple):
    """What B labels are set against."""

    vectors: Tensor
    """[N, D]."""
    target: np.ndarray
    """[B] int64 row of the positive, -1 = none."""
    own: Tensor | None
    """[B, N] bool: no negatives, because the customer has them; None: there are none such."""
    sampler: "ItemSampler"


class ItemSampler:
    """Negatives: the batch's own targets, and uniform draws from what was ever interacted with."""

    def __init__(self, counts: np.ndarray, config: LossConfig) -> None:
        self.counts = counts
        self.untouched = counts == 0
        self.config = config
        self._touched = np.flatnonzero(~self.untouched)

    def draw(self, targets: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """[S] sampled items, and [N] log probability of each item in one draw of the mixture."""
        uniform = generator.choice(self._touched, self.config.uniform_negatives)
        batch, drawn = len(targets), self.config.uniform_negatives
        popular = self.counts / self.counts.sum()
        flat = ~self.untouched / max(len(self._touched), 1)
        probability = (batch * popular + drawn * flat) / (batch + drawn)
        return np.concatenate([targets, uniform]), np.log(np.maximum(probability, 1e-12))


def loop_threads(config: LoopConfig) -> int:
    """How many CPU threads to train with."""
    return config.threads or max(1, (os.cpu_count() or 1) // 2)


def pick_device(name: str) -> torch.device:
    """`auto` is a GPU where there is one."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def item_batches(prepared: Prepared, device: torch.device) -> tuple[EntityBatch, EntityBatch | None]:
    """All candidates as tensors; the id of row i is i + 1."""
    inputs = prepared.inputs
    products = make_entity_batch(inputs.products, prepared.products, np.arange(1, inputs.product_count + 1))
    if prepared.contents is None or inputs.contents is None:
        return products.to(device), None
    contents = make_entity_batch(inputs.contents, prepared.contents, np.arange(1, inputs.content_count + 1))
    return products.to(device), contents.to(device)
