"""Training on a GPU beside training on the CPU: as good, the same after a kill, served alike; and how fast each is.

    python -m pytest -m benchmark -s tests/benchmarks/test_gpu_training.py

Timings are printed and never judged. Skipped where torch sees no GPU.
"""

import statistics
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from recsys.bundle import Bundle, BundleManifest, PriorConfig
from recsys.modeling.config import LossConfig, TwoTowerConfig
from recsys.modeling.two_tower import TwoTower
from recsys.recommender import Recommender
from recsys.retrieval.popularity import Popularity, PopularityConfig
from recsys.schema import Kind, PolicyName
from tests.benchmarks.learnable import Learnable, make_learnable
from training.loop import Epoch, LoopConfig, Trainer, TrainingResult
from training.packing import candidate_vectors
from training.pretrain import PretrainingObjective
from training.pretrain_config import PretrainConfig
from training.scoring import read_queries

pytestmark = [
    pytest.mark.benchmark,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU: torch.cuda.is_available() is false"),
]
CUSTOMERS, PRODUCTS, CONTENTS = 2000, 600, 1200
EPOCHS = 3
BATCHES = (1024, 4096, 16384)
CPU_BATCHES = BATCHES[:1]
"""In-batch negatives cost the square of the batch: larger ones are left to the GPU."""
MODEL = TwoTowerConfig(loss=LossConfig(full_softmax_up_to=0))
"""In-batch and uniform negatives, however few products there are."""
SEEDS_DIFFER_BY = 0.012
"""Between two devices drop-out draws other numbers, as between two seeds; seeds of the CPU were .003 apart."""
MEAN_ROUNDING = 1e-5
"""A GPU adds gradients up in any order: two runs that nobody broke off were up to 1e-6 apart in a weight after two
epochs. Without the optimizer's state, resumed weights were 3e-3 away on average (on the CPU)."""
Start = Callable[..., Trainer]


@pytest.fixture(scope="module")
def learnable() -> Learnable:
    return make_learnable(CUSTOMERS, PRODUCTS, CONTENTS)


@pytest.fixture
def start(learnable: Learnable) -> Start:
    """A trainer of a fresh model; every call starts from the same weights."""

    def make(device: str, checkpoint: Path | None = None, pretrain: bool = False, **loop: int) -> Trainer:
        torch.manual_seed(0)
        prepared = learnable.prepared
        config = LoopConfig(device=device, **{"epochs": EPOCHS, "decay_epochs": EPOCHS, **loop})
        if not pretrain:
            return Trainer(TwoTower(prepared.inputs, MODEL), prepared, config, checkpoint)
        labels = prepared.training.labels
        nameless = np.arange(len(labels)) % 3 == 0  # what customers wrote or paid: it names no product
        product, content = (np.where(nameless, -1, rows) for rows in (labels.product, labels.content))
        training = replace(prepared.training, labels=replace(labels, product=product, content=content))
        objective = partial(PretrainingObjective, PretrainConfig())
        unlabelled = replace(prepared, training=training)
        return Trainer(TwoTower(prepared.inputs, MODEL), unlabelled, config, checkpoint, objective)

    return make


@pytest.fixture(scope="module")
def say(request: pytest.FixtureRequest) -> Callable[[str], None]:
    capture = request.config.pluginmanager.getplugin("capturemanager")

    def write(text: str) -> None:
        with capture.global_and_fixture_disabled():
            sys.stdout.write(f"\n{text}\n")

    return write


def speed(epochs: list[Epoch]) -> float:
    """Median labels a second; the first epoch warms up."""
    return statistics.median(epoch.labels_per_second for epoch in epochs[1:])


def losses(result: TrainingResult) -> list[float]:
    """Of every epoch."""
    return [epoch.loss for epoch in result.state.history]


def mean_difference(one: TwoTower, other: TwoTower) -> float:
    """Of all weights, on average."""
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return float(torch.cat([(first - second).abs().flatten() for first, second in pairs]).mean())


def test_training_on_the_gpu_is_as_good_as_on_the_cpu(
    learnable: Learnable, start: Start, say: Callable[[str], None]
) -> None:
    say(f"{torch.cuda.get_device_name()}, {torch.get_num_threads()} CPU threads, {CUSTOMERS:,} customers")
    found: dict[str, TrainingResult] = {}
    for device in ("cpu", "cuda"):
        torch.cuda.reset_peak_memory_stats()
        found[device] = start(device).fit(learnable.scorer())
        epochs = found[device].state.history
        scores = " ".join(f"{epoch.score:.4f}" for epoch in epochs)
        memory = f", peak {torch.cuda.max_memory_allocated() >> 20} MiB" if device == "cuda" else ""
        say(f"{device}: {speed(epochs):,.0f} labels/s, NDCG@10 by epoch {scores}{memory}")
    cpu, gpu = found["cpu"].state, found["cuda"].state
    assert next(found["cuda"].model.parameters()).is_cuda
    assert gpu.best_score == pytest.approx(cpu.best_score, abs=SEEDS_DIFFER_BY)
    assert min(cpu.best_score, gpu.best_score) > 0.15  # popularity has .03
    assert losses(found["cuda"]) == pytest.approx(losses(found["cpu"]), rel=0.02)


@pytest.mark.parametrize("batch", BATCHES)
def test_training_speed_by_batch(batch: int, start: Start, say: Callable[[str], None]) -> None:
    for device in ("cpu", "cuda") if batch in CPU_BATCHES else ("cuda",):
        torch.cuda.reset_peak_memory_stats()
        epochs = start(device, labels_per_batch=batch, epochs=3 if device == "cpu" else 5).fit(None).state.history
        assert epochs[-1].loss < epochs[0].loss
        memory = f", peak {torch.cuda.max_memory_allocated() >> 20} MiB" if device == "cuda" else ""
        say(f"batch {batch}, {device}: {speed(epochs):,.0f} labels/s{memory}")


@pytest.mark.parametrize("pretrain", [False, True], ids=["labels", "pretraining"])
def test_training_on_the_gpu_that_was_killed_resumes_as_if_it_had_not_been(
    pretrain: bool, start: Start, tmp_path: Path
) -> None:
    whole = start("cuda", pretrain=pretrain, epochs=3).fit(None)
    start("cuda", tmp_path / "run.checkpoint", pretrain=pretrain, epochs=1).fit(None)
    resumed = start("cuda", tmp_path / "run.checkpoint", pretrain=pretrain, epochs=3).fit(None)
    assert [epoch.number for epoch in resumed.state.history] == [1, 2, 3]
    assert losses(resumed) == pytest.approx(losses(whole), rel=1e-4)
    assert mean_difference(resumed.model, whole.model) < MEAN_ROUNDING


def test_checkpoint_of_the_gpu_goes_on_on_the_cpu(start: Start, tmp_path: Path) -> None:
    start("cuda", tmp_path / "run.checkpoint", epochs=1).fit(None)
    moved = start("cpu", tmp_path / "run.checkpoint", epochs=2).fit(None)
    assert [epoch.number for epoch in moved.state.history] == [1, 2]
    assert moved.state.history[1].loss < moved.state.history[0].loss
    assert not next(moved.model.parameters()).is_cuda


def test_pretraining_on_the_gpu_learns_what_it_learns_on_the_cpu(start: Start, say: Callable[[str], None]) -> None:
    found = {}
    for device in ("cpu", "cuda"):
        result = start(device, pretrain=True, epochs=3).fit(None)
        found[device] = losses(result)
        first, *_, last = found[device]
        say(f"pretraining, {device}: {speed(result.state.history):,.0f} moments/s, loss {first:.3f} to {last:.3f}")
    assert found["cuda"] == pytest.approx(found["cpu"], rel=0.02)
    assert found["cuda"][-1] < 0.95 * found["cuda"][0]


def test_served_on_the_cpu_what_was_trained_on_the_gpu_scores_alike(
    learnable: Learnable, start: Start, tmp_path: Path, say: Callable[[str], None]
) -> None:
    model = start("cuda", epochs=2).fit(None).model
    scorer = learnable.scorer()
    on_gpu, vectors = scorer.scores(model), candidate_vectors(model, learnable.prepared)
    _bundle(learnable, model).save(tmp_path / "bundle")
    served = Recommender(Bundle.load(tmp_path / "bundle"))
    on_cpu = candidate_vectors(model.cpu(), learnable.prepared)
    for there, here in zip(vectors, on_cpu, strict=True):
        np.testing.assert_allclose(there, here, atol=1e-4)
    states = served.encode_rows(read_queries(served.reader, learnable.queries))
    scores = served.score(states, Kind.PRODUCTS)
    say(f"largest difference of a score, served on the CPU and on the GPU: {np.abs(scores - on_gpu).max():.1e}")
    np.testing.assert_allclose(scores * MODEL.temperature, on_gpu * MODEL.temperature, atol=1e-4)  # cosines
    np.testing.assert_allclose(scorer.scores(model) * MODEL.temperature, on_gpu * MODEL.temperature, atol=1e-4)


def _bundle(learnable: Learnable, model: TwoTower) -> Bundle:
    catalogue, at = learnable.catalogue, learnable.catalogue.as_of
    manifest = BundleManifest(
        model_version="gpu",
        schema_hash="",
        dataset="learnable",
        policy=PolicyName.NONE,
        repeatable=True,
        event_weights={},
        created_at=at,
        trained_until=at,
        popularity=PopularityConfig(),
        prior=PriorConfig(),
        inputs=learnable.prepared.inputs,
        model=MODEL,
    )
    return Bundle(
        manifest=manifest,
        weights={name: tensor.detach().cpu().numpy() for name, tensor in model.state_dict().items()},
        vectors=candidate_vectors(model, learnable.prepared),
        products=catalogue.products,
        contents=catalogue.contents,
        product_popularity=Popularity(np.zeros(PRODUCTS, np.float32), {}),
        content_popularity=Popularity(np.zeros(CONTENTS, np.float32), {}),
        product_prior=np.zeros(PRODUCTS, np.float32),
    )
