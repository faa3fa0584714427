"""How fast `recsys recommend` is for everybody, and its scoring beside the top-k of `implicit` on the same vectors.

The model is trained for one epoch on a small bank with the same products and columns, large enough for a second stage
and with products that nobody touched: what it says does not matter here, what it costs to ask does. Feature tables are
built and applied; nothing is written to the online store, which a batch never reads.
"""

import cProfile
import os
import pstats
import sys
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import numpy as np
import polars as pl
import pytest

from recsys.bundle import Bundle
from recsys.data.contract import Dataset
from recsys.decisions.selection import top_k
from recsys.features.build import build_features
from recsys.features.config import FeatureConfig
from recsys.retrieval.index import ExactIndex
from recsys.schema import Kind
from tests.benchmarks.large_bank import write_large_bank
from training.recommend import BatchRecommender, BatchRequest

CUSTOMERS, PRODUCTS, K = 100_000, 500, 10
LEARNED_FROM = 3_000
"""Customers of the small bank."""
MOST_SECONDS = 60.0
MOST_TIMES_IMPLICIT = 2.0
DIMENSIONS = 64
AT_ONCE = 10_000
PROFILED = (
    "join_customers",
    "read_customers",
    "customer_facts_as_of",
    "asked_now",
    "encode_rows",
    "score_all",
    "evaluate",
    "top_k",
    "rank",
    "write_table",
)


class LargeBank(NamedTuple):
    """A bank with features, and a bundle that fits them."""

    dataset: Dataset
    home: Path
    bundle: Bundle
    seconds: float
    """Of building its features."""


def build_home(dataset: Dataset, home: Path) -> float:
    """Feature tables, and Feast's definitions of them; returns the seconds."""
    from feature_repo.operations import apply, features_folder, make_store
    from feature_repo.settings import StoreSettings

    started = perf_counter()
    report = build_features(dataset, home / "features", home / "encodings", FeatureConfig())
    apply(make_store(home, StoreSettings()), report.manifest, features_folder(home))
    return perf_counter() - started


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> LargeBank:
    from training.config import TrainConfig
    from training.train import Training

    folder = tmp_path_factory.mktemp("large")
    small = write_large_bank(folder / "small", LEARNED_FROM, PRODUCTS)
    build_home(small, folder / "small-home")
    recipe = TrainConfig.model_validate({"loop": {"epochs": 1}})
    outcome = Training(small, folder / "small-home", recipe, "speed").run()
    large = write_large_bank(folder / "large", CUSTOMERS, PRODUCTS)
    seconds = build_home(large, folder / "large-home")
    bundle = Bundle.load(outcome.folder)
    assert bundle.ranking is not None
    assert bundle.cold is not None
    return LargeBank(large, folder / "large-home", bundle, seconds)


@pytest.mark.benchmark
def test_recommend_everybody_takes_less_than_a_minute(
    bank: LargeBank, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "lists.parquet"
    profile = cProfile.Profile()
    started = perf_counter()
    profile.enable()
    report = BatchRecommender(bank.dataset, bank.home, bank.bundle).write(BatchRequest(None, Kind.PRODUCTS, K), out)
    profile.disable()
    seconds = perf_counter() - started
    lists = pl.read_parquet(out)
    with capsys.disabled():
        sys.stdout.write(
            f"\n{CUSTOMERS:,} customers x {PRODUCTS} products: {seconds:.1f} s under the profiler "
            f"(features before that: {bank.seconds:.1f} s), load average {os.getloadavg()[0]:.2f}\n{_stages(profile)}"
        )
    assert report.customers == CUSTOMERS
    assert lists.group_by("customer_id").len()["len"].max() == K
    assert seconds < MOST_SECONDS


def _stages(profile: cProfile.Profile) -> str:
    """Cumulative seconds of the functions that a batch is made of."""
    stats = pstats.Stats(profile, stream=StringIO())
    lines = []
    for (file, line, name), (_, calls, _, cumulative, _) in stats.stats.items():  # type: ignore[attr-defined]
        if name in PROFILED and ("recsys" in file or "training" in file or "pyarrow" in file) and cumulative > 0.05:
            lines.append((cumulative, f"  {cumulative:6.2f} s {calls:>5} x {name} ({Path(file).name}:{line})\n"))
    return "".join(text for _, text in sorted(lines, reverse=True))


def best_of(action: Callable[[], object], times: int = 5) -> float:
    """Seconds of the quickest run: the others measured what else ran on this machine."""
    seconds = []
    for _ in range(times):
        started = perf_counter()
        action()
        seconds.append(perf_counter() - started)
    return min(seconds)


@pytest.mark.benchmark
def test_top_k_is_at_most_twice_as_slow_as_implicit(capsys: pytest.CaptureFixture[str]) -> None:
    from implicit.cpu.topk import topk

    rng = np.random.default_rng(0)
    customers = rng.normal(size=(CUSTOMERS, DIMENSIONS)).astype(np.float32)
    products = rng.normal(size=(PRODUCTS, DIMENSIONS)).astype(np.float32)
    everything = np.ones((CUSTOMERS, PRODUCTS), bool)
    index = ExactIndex(products)
    theirs = best_of(lambda: topk(products, customers, K))
    ours = best_of(lambda: index.search(customers, K))
    decided = best_of(lambda: decide(customers, products, everything), times=3)
    found, (ids, scores) = index.search(customers[:1000], K), topk(products, customers[:1000], K)
    with capsys.disabled():
        sys.stdout.write(
            f"\ntop {K} of {PRODUCTS} for {CUSTOMERS:,} customers, {DIMENSIONS} dimensions: implicit {theirs:.2f} s; "
            f"the index {ours:.2f} s, {ours / theirs:.2f} times; "
            f"decisions, with a mask for each customer, {decided:.2f} s, {decided / theirs:.2f} times\n"
        )
    np.testing.assert_allclose(found.scores, scores, rtol=1e-4, atol=1e-4)
    assert (found.ids == ids).mean() > 0.999
    assert ours < MOST_TIMES_IMPLICIT * theirs


def decide(customers: np.ndarray, products: np.ndarray, allowed: np.ndarray) -> None:
    """What the pipeline of `recsys recommend` does of it, a batch's customers at a time."""
    for start in range(0, len(customers), AT_ONCE):
        rows = slice(start, start + AT_ONCE)
        top_k(customers[rows] @ products.T, allowed[rows], K)
