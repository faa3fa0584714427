"""Measures models on the frozen split: the model, the baselines, the oracle where there is one; with intervals."""

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from recsys.bundle import SELECTION, Bundle
from recsys.data.contract import Dataset
from recsys.data.splits import Part, resolve_split
from recsys.errors import DatasetError, SchemaMismatchError
from recsys.features.spec import FeatureManifest
from recsys.metrics.bootstrap import Interval, bootstrap_difference, bootstrap_mean
from recsys.metrics.coverage import catalogue_coverage
from recsys.metrics.ranking import RankingMetrics, top_k
from recsys.policy.engine import PolicyEngine
from recsys.policy.registry import pack_in_force
from recsys.recommender import Recommender
from recsys.retrieval.popularity import PopularityConfig
from training.config import EvaluationConfig
from training.dataset import Catalogue, load_catalogue, load_parts
from training.missing import without
from training.queries import Queries, QueryBuilder
from training.scoring import (
    fit_popularity,
    metrics_of,
    oracle_scores,
    popularity_scores,
    query_instant,
    recommender_scores,
)

MODEL, POPULARITY, SEGMENT_POPULARITY, ORACLE = "model", "popularity", "segment_popularity", "oracle"
SHORT_K = 5
"""NDCG at this length is reported beside the configured one: what fits on a phone's screen."""


@dataclass(frozen=True)
class FrozenSplit:
    """The questions of a dataset's frozen split, and the candidates."""

    dataset: Dataset
    parts: pl.DataFrame
    catalogue: Catalogue
    validation: Queries
    test: Queries
    builder: QueryBuilder

    def earlier(self, at_most: int) -> list[Queries]:
        """Questions about times before the validation part, whose answers are in the training part."""
        return self.builder.earlier(at_most)

    def of(self, customers: Collection[str]) -> "FrozenSplit":
        """The same, with the questions about these customers only."""
        return replace(self, validation=self.validation.of(customers), test=self.test.of(customers))

    @property
    def learned_from(self) -> Queries:
        """The questions that choices are made on: of the validation part, of the test part where it asks nothing."""
        return self.validation if len(self.validation) else self.test

    @property
    def measured(self) -> tuple[Part, Queries]:
        """The test part; the validation part where a dataset comes with its test answers taken out."""
        return (Part.TEST, self.test) if len(self.test) else (Part.VALIDATION, self.validation)


def load_split(dataset: Dataset, home: Path) -> FrozenSplit:
    """Reads the questions of both parts.

    Raises:
        DatasetError: neither part asks anything.
    """
    manifest = FeatureManifest.read(home / "features")
    parts = load_parts(dataset)
    split = resolve_split(dataset)
    catalogue = load_catalogue(dataset, home, manifest, split.test_start or dataset.end())
    policy = PolicyEngine(pack_in_force(home, dataset.config.policy), dataset.config.repeatable)
    builder = QueryBuilder(dataset, home, parts, catalogue, policy)
    validation, test = (builder.of_part(part) for part in (Part.VALIDATION, Part.TEST))
    if not len(validation) and not len(test):
        raise DatasetError(
            str(dataset.path), ["no customer takes up anything new after the split's times: move them earlier"]
        )
    return FrozenSplit(dataset, parts, catalogue, validation, test, builder)


@dataclass(frozen=True)
class Evaluation:
    """One model measured on one part."""

    report: dict[str, Any]
    """What is printed, logged and written as JSON."""
    per_query: dict[str, RankingMetrics]
    """Method to metrics of each query: what paired differences are made of."""
    missing: dict[str, np.ndarray] = field(default_factory=dict)
    """Modality to [Q] NDCG of the model with it missing in serving."""


def evaluate_bundle(bundle: Bundle, split: FrozenSplit, config: EvaluationConfig) -> Evaluation:
    """Measures a bundle (one whose weights have not seen the part) beside the baselines."""
    part, queries = split.measured
    recommender = Recommender(bundle)
    methods = {MODEL: recommender_scores(recommender, queries)}
    methods |= baseline_scores(split, queries, bundle.manifest.popularity)
    per_query = {name: metrics_of(scores, queries, config.k) for name, scores in methods.items()}
    short = {name: metrics_of(scores, queries, SHORT_K).ndcg for name, scores in methods.items()}
    missing = {
        str(modality): metrics_of(recommender_scores(recommender, without(queries, modality)), queries, config.k).ndcg
        for modality in recommender.modalities
    }
    report: dict[str, Any] = {
        "dataset": split.dataset.config.name,
        "model_version": bundle.manifest.model_version,
        "part": str(part),
        "measured_on": measured_words(part, queries),
        "k": config.k,
        "queries": len(queries),
        "methods": {name: _summary(metrics, short[name], config) for name, metrics in per_query.items()},
        "slices": _slices(queries, per_query[MODEL], missing, config),
        "modalities": _modalities(recommender, queries, per_query[MODEL], missing, config),
        "coverage": catalogue_coverage(
            top_k(np.where(queries.allowed, methods[MODEL], -np.inf), config.k), len(split.catalogue.products)
        ),
    }
    report["differences"] = {
        name: interval_json(bootstrap_difference(per_query[MODEL].ndcg, metrics.ndcg, config.bootstrap_samples))
        for name, metrics in per_query.items()
        if name not in (MODEL, ORACLE)
    }
    if ORACLE in short:
        report[f"share_of_oracle_ndcg@{SHORT_K}"] = float(short[MODEL].mean() / short[ORACLE].mean())
    return Evaluation(report, per_query, missing)


def baseline_scores(split: FrozenSplit, queries: Queries, config: PopularityConfig) -> dict[str, np.ndarray]:
    """Popularity of all time, the most recent segment popularity, and the oracle where the dataset has a truth."""
    now, ids = query_instant(queries), split.catalogue.product_ids
    everything = config.model_copy(update={"window_days": None})
    scores = {
        POPULARITY: popularity_scores(fit_popularity(split.dataset, split.parts, ids, now, everything), queries, False),
        SEGMENT_POPULARITY: popularity_scores(
            fit_popularity(split.dataset, split.parts, ids, now, config), queries, True
        ),
    }
    oracle = oracle_scores(split.dataset.path, queries, ids)
    return scores if oracle is None else scores | {ORACLE: oracle}


def load_selection(bundle_folder: Path, home: Path) -> Bundle:
    """The bundle inside a bundle that has not seen the frozen split.

    Raises:
        SchemaMismatchError: it was trained on other features than the home holds.
    """
    bundle = Bundle.load(bundle_folder / SELECTION)
    present = FeatureManifest.read(home / "features").schema_hash
    if bundle.manifest.schema_hash != present:
        raise SchemaMismatchError(bundle.manifest.schema_hash, present)
    return bundle


def interval_json(interval: Interval) -> dict[str, float]:
    """mean, low, high, n."""
    return {"mean": interval.mean, "low": interval.low, "high": interval.high, "n": interval.n}


def measured_words(part: Part, queries: Queries) -> str:
    """What was measured on, for who reads the report."""
    which = "test" if part is Part.TEST else "validation: the dataset holds no test answers"
    lot = f"; {len(queries):,} of {queries.drawn_from:,} customers, drawn by lot" if queries.drawn_from else ""
    return which + lot


def _summary(metrics: RankingMetrics, short_ndcg: np.ndarray, config: EvaluationConfig) -> dict[str, Any]:
    named = {f"{name}@{config.k}": values for name, values in metrics._asdict().items()}
    named[f"ndcg@{SHORT_K}"] = short_ndcg
    return {name: interval_json(bootstrap_mean(values, config.bootstrap_samples)) for name, values in named.items()}


def _slices(
    queries: Queries, metrics: RankingMetrics, missing: dict[str, np.ndarray], config: EvaluationConfig
) -> dict[str, Any]:
    """NDCG of new customers, of known ones, and of everybody with one modality taken away."""
    slices = {
        "new_customers": metrics.ndcg[queries.new_customer],
        "known_customers": metrics.ndcg[~queries.new_customer],
        **{f"without_{modality}": ndcg for modality, ndcg in missing.items()},
    }
    return {
        name: interval_json(bootstrap_mean(values, config.bootstrap_samples))
        for name, values in slices.items()
        if len(values)
    }


def _modalities(
    recommender: Recommender,
    queries: Queries,
    metrics: RankingMetrics,
    missing: dict[str, np.ndarray],
    config: EvaluationConfig,
) -> dict[str, Any]:
    """By modality, paired by query: all of them minus all but it (`removal_costs`), and all minus it alone."""
    found: dict[str, Any] = {}
    for modality in recommender.modalities:
        others = [other for other in recommender.modalities if other is not modality]
        alone = metrics_of(recommender_scores(recommender, without(queries, *others)), queries, config.k).ndcg
        found[str(modality)] = {
            "removal_costs": _paired(metrics.ndcg, missing[str(modality)], config),
            "alone": interval_json(bootstrap_mean(alone, config.bootstrap_samples)),
            "all_minus_alone": _paired(metrics.ndcg, alone, config),
        }
    return found


def _paired(more: np.ndarray, less: np.ndarray, config: EvaluationConfig) -> dict[str, float]:
    return interval_json(bootstrap_difference(more, less, config.bootstrap_samples))
