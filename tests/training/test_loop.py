"""The training loop on a tiny checkerboard: it learns, stops, and resumes to the same result."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from recsys.features.spec import Entity
from recsys.modeling.batches import history_batch, make_entity_batch
from recsys.modeling.config import LossConfig, ModelInputs, TowerConfig, TwoTowerConfig
from recsys.modeling.encoding import MAX_LIST_LENGTH, EntityEncoding, EntityRows
from recsys.modeling.reader import HistoryArrays
from recsys.modeling.two_tower import TwoTower
from training.dataset import Prepared
from training.examples import Labels, Ragged, TrainingSet
from training.loop import ItemSampler, LoopConfig, Objective, Trainer

PRODUCTS, LENGTH = 12, 6


def empty_rows(n: int) -> EntityRows:
    return EntityRows(
        np.zeros((n, 0), np.int64), np.zeros((n, 0, MAX_LIST_LENGTH), np.int64), {}, {}, np.zeros((n, 0), bool)
    )


def make_prepared(customers: int = 60) -> Prepared:
    """A checkerboard: a customer whose history is of even products takes an even one next, and so for odd ones."""
    generator = np.random.default_rng(0)
    parity = np.arange(customers) % 2
    history = generator.integers(0, PRODUCTS // 2, (customers, LENGTH)) * 2 + parity[:, None]
    target = generator.integers(0, PRODUCTS // 2, customers) * 2 + parity
    zeros = np.zeros(customers, np.int64)
    windows = HistoryArrays(
        history,
        np.full((customers, LENGTH), -1),
        np.ones((customers, LENGTH), np.int64),
        np.tile(np.arange(LENGTH) * 1_000_000, (customers, 1)),
        np.full(customers, LENGTH),
    )
    labels = Labels(
        product=target,
        content=np.full(customers, -1),
        weight=np.ones(customers, np.float32),
        channel=zeros,
        customer=np.arange(customers),
        window=np.arange(customers),
        position=np.full(customers, LENGTH),
        row=zeros,
    )
    inputs = ModelInputs(
        customers=EntityEncoding(entity=Entity.CUSTOMER, groups=()),
        products=EntityEncoding(entity=Entity.PRODUCT, groups=()),
        contents=None,
        product_count=PRODUCTS,
        content_count=0,
        event_types=("view",),
        channels=(),
        history_length=LENGTH,
    )
    training = TrainingSet(
        labels=labels,
        columns=empty_rows(1),
        windows=windows,
        own_products=Ragged(np.zeros(customers + 1, np.int64), zeros[:0]),
        product_counts=np.bincount(target, minlength=PRODUCTS).astype(float),
        content_counts=np.zeros(0),
    )
    return Prepared(inputs, training, empty_rows(PRODUCTS), None, np.zeros(0, np.int64))


def make_trainer(loop: LoopConfig, loss: LossConfig | None = None, checkpoint: Path | None = None) -> Trainer:
    prepared = make_prepared()
    config = TwoTowerConfig(
        tower=TowerConfig(dim=16, id_dropout=0, modality_dropout=0), loss=loss or LossConfig(alignment_weight=0)
    )
    torch.manual_seed(0)
    return Trainer(TwoTower(prepared.inputs, config), prepared, loop, checkpoint)


def parity_share(trainer: Trainer) -> float:
    """How often the best product has the customer's parity."""
    model, prepared = trainer.model.eval(), trainer.prepared
    with torch.inference_mode():
        items = model.encode_items(trainer.products, None, None)
        history = history_batch(prepared.training.windows)
        state = model.encode_histories(items, history)[:, -1]
        n = len(state)
        columns = make_entity_batch(prepared.inputs.customers, empty_rows(n))
        present = torch.ones(n, dtype=torch.bool)
        customers = model.encode_customers(columns, state, present, torch.zeros(n, dtype=torch.int64))
        best = model.logits(customers, items.products[:-1]).argmax(dim=1).numpy()
    return float((best % 2 == np.arange(n) % 2).mean())


@pytest.mark.parametrize("full_softmax_up_to", [100, 0], ids=["full", "sampled"])
def test_fit_on_a_checkerboard_learns_it(full_softmax_up_to: int) -> None:
    loss = LossConfig(full_softmax_up_to=full_softmax_up_to, uniform_negatives=8, alignment_weight=0)
    trainer = make_trainer(LoopConfig(epochs=60, labels_per_batch=20, learning_rate=1e-2, device="cpu"), loss)
    trainer.fit(None)
    assert parity_share(trainer) > 0.95


def test_fit_without_improvement_stops_after_patience_and_keeps_the_best_weights() -> None:
    scores = iter([0.1, 0.5, 0.3, 0.2, 0.4, 0.4, 0.4])
    weights: list[torch.Tensor] = []

    def score(model: TwoTower) -> float:
        weights.append(model.customers.fusion.norm.weight.detach().clone())  # type: ignore[union-attr]
        return next(scores)

    trainer = make_trainer(LoopConfig(epochs=7, patience=3, device="cpu"))
    result = trainer.fit(score)
    assert (result.state.epoch, result.state.best_epoch) == (5, 2)
    torch.testing.assert_close(result.model.customers.fusion.norm.weight, weights[1])


def test_fit_that_was_killed_resumes_to_the_same_weights(tmp_path: Path) -> None:
    loop = LoopConfig(epochs=4, labels_per_batch=20, device="cpu")
    whole = make_trainer(loop).fit(None).model.state_dict()
    first = make_trainer(loop.model_copy(update={"epochs": 2}), checkpoint=tmp_path / "run.checkpoint")
    first.fit(None)
    resumed = make_trainer(loop, checkpoint=tmp_path / "run.checkpoint").fit(None)
    assert resumed.state.epoch == 4
    assert [epoch.number for epoch in resumed.state.history] == [1, 2, 3, 4]
    for name, tensor in resumed.model.state_dict().items():
        torch.testing.assert_close(tensor, whole[name], rtol=0, atol=0)


@pytest.mark.parametrize("most", [0, 40, 10_000])
def test_epoch_has_at_most_so_many_labels_drawn_anew(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = make_trainer(LoopConfig(epochs=2, labels_per_batch=20, labels_per_epoch=most, device="cpu"))
    seen: list[Labels] = []
    monkeypatch.setattr(trainer, "_step", lambda labels, _: seen.append(labels) or torch.zeros(()))  # type: ignore[func-returns-value]
    trainer.fit(None)
    every = len(trainer.prepared.training.labels.window)
    half = len(seen) // 2
    first, second = (np.sort(np.concatenate([part.window for part in epoch])) for epoch in (seen[:half], seen[half:]))
    assert [len(epoch) for epoch in (first, second)] == [40, 40] if most == 40 else [every, every]
    assert np.array_equal(first, second) == (most != 40)


def test_epochs_loss_is_the_mean_over_labels_of_its_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = make_trainer(LoopConfig(epochs=1, labels_per_batch=25, device="cpu"))
    steps: list[tuple[int, float]] = []

    def step(labels: Labels, generator: np.random.Generator) -> torch.Tensor:
        steps.append((len(labels), float(len(steps) + 1)))
        return torch.tensor(steps[-1][1])

    monkeypatch.setattr(trainer, "_step", step)
    [epoch] = trainer.fit(None).state.history
    assert len({size for size, _ in steps}) > 1
    assert epoch.loss == pytest.approx(sum(size * loss for size, loss in steps) / 60)


def test_what_a_customer_has_is_no_negative_for_him() -> None:
    prepared = make_prepared(4)
    has = Ragged.group(np.array([0, 0, 2]), np.array([3, 5, 1]), 4)
    own = Objective(
        TwoTower(prepared.inputs, TwoTowerConfig(tower=TowerConfig(dim=16))),
        replace(prepared, training=replace(prepared.training, own_products=has)),
        torch.device("cpu"),
    ).own_products(prepared.training.labels.take(np.array([2, 0, 1, 0])), PRODUCTS)
    assert torch.nonzero(own).tolist() == [[0, 1], [1, 3], [1, 5], [3, 3], [3, 5]]


def test_sampler_probabilities_are_the_frequencies_of_its_draws() -> None:
    counts = np.array([5.0, 1.0, 0.0, 4.0])
    sampler = ItemSampler(counts, LossConfig(uniform_negatives=30))
    generator = np.random.default_rng(0)
    drawn = np.zeros(4)
    for _ in range(3000):
        targets = generator.choice(4, 10, p=counts / counts.sum())
        sample, log_q = sampler.draw(targets, generator)
        drawn += np.bincount(sample, minlength=4)
    np.testing.assert_allclose((drawn / drawn.sum())[[0, 1, 3]], np.exp(log_q)[[0, 1, 3]], atol=0.005)
    assert drawn[2] == 0
