"""What each part of the model is worth: the recipe trained again without it, on the same questions and seeds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from recsys.config import apply_overrides
from recsys.features.spec import FeatureManifest
from recsys.metrics.bootstrap import bootstrap_difference, bootstrap_mean
from recsys.modeling.encoding import GROUP_OF_VIEW, EncodingConfig
from training.config import EvaluationConfig, TrainConfig
from training.evaluate import MODEL, POPULARITY, Evaluation, interval_json

DEFAULT = "default"
_SAMPLED = ("model.loss.full_softmax_up_to=0",)
_SHARES = (0.1, 0.25, 0.5)
_IGNORED = EncodingConfig().ignore


class Variant(NamedTuple):
    """The default recipe with one thing changed."""

    name: str
    group: str
    overrides: tuple[str, ...]
    beside: str = DEFAULT
    """The variant that it is compared with."""


@dataclass(frozen=True)
class Outcome:
    """A variant, measured."""

    variant: Variant
    ndcg: np.ndarray
    """[S, Q] of each seed and question."""
    popularity: np.ndarray
    """[Q]."""
    seconds: float
    """Mean of the seeds."""
    missing: dict[str, np.ndarray] = field(default_factory=dict)
    """Modality to [S, Q] NDCG with it missing in serving."""


def variants_of(manifest: FeatureManifest) -> list[Variant]:
    """Every part that can be taken out of a dataset's model."""
    return [
        Variant(DEFAULT, "model", ()),
        Variant("history by mean pooling", "model", ("model.history.layers=0",)),
        Variant("fusion early", "model", ("model.fusion.kind=early",)),
        Variant("fusion late", "model", ("model.fusion.kind=late",)),
        Variant("no modality dropout", "model", ("model.tower.modality_dropout=0",)),
        Variant("no id dropout", "model", ("model.tower.id_dropout=0",)),
        Variant("sampled softmax", "loss", _SAMPLED),
        Variant("sampled, no logQ", "loss", (*_SAMPLED, "model.loss.logq=false"), "sampled softmax"),
        Variant(
            "sampled, no uniform negatives", "loss", (*_SAMPLED, "model.loss.uniform_negatives=0"), "sampled softmax"
        ),
        Variant("own items as negatives", "loss", ("model.loss.mask_own_items=false",)),
        *_modalities(manifest),
        Variant("no contrastive alignment", "self-supervision", ("model.loss.alignment_weight=0",)),
        Variant("no next-event prediction", "self-supervision", ("labels.next_event=false",)),
        Variant("no second stage", "ranker", ("ranking.enabled=false",)),
        Variant("no model of interest", "ranker", ("ranking.interest.enabled=false",)),
        *_label_curve(),
    ]


def _modalities(manifest: FeatureManifest) -> list[Variant]:
    """One that never sees a modality, in training or in serving, customers and items alike."""
    found = []
    for group in sorted({str(GROUP_OF_VIEW[view.name]) for view in manifest.views if view.name in GROUP_OF_VIEW}):
        views = [view for view in manifest.views if str(GROUP_OF_VIEW.get(view.name)) == group]
        keys = [f"{view.name}__{column.name}" for view in views for column in view.columns]
        found.append(Variant(f"no {group}", "modality", (f"encoding.ignore=[{', '.join([*_IGNORED, *keys])}]",)))
    return found


def _label_curve() -> list[Variant]:
    """Fewer labels, with and without self-supervision."""
    found = []
    for share in _SHARES:
        few = f"labels.share={share}"
        name = f"{share:.0%} of labels"
        bare = ("labels.next_event=false", "model.loss.alignment_weight=0")
        found.append(Variant(name, "labels", (few,)))
        found.append(Variant(f"{name}, supervised only", "labels", (few, *bare), name))
    return found


def recipe_of(variant: Variant, recipe: TrainConfig, seed: int) -> TrainConfig:
    """The recipe of one run: nothing is refitted, for nothing is served.

    Raises:
        ConfigError: a setting does not exist.
    """
    settings = apply_overrides(recipe.model_dump(mode="json"), [*variant.overrides, f"loop.seed={seed}", "refit=false"])
    return TrainConfig.parse(settings, f"variant `{variant.name}`")


def measure(
    variants: Sequence[Variant],
    seeds: Sequence[int],
    train: Callable[[Variant, int], tuple[Evaluation, float]],
) -> list[Outcome]:
    """Trains each variant with each seed.

    Args:
        variants: what to train.
        seeds: of the weights and batches.
        train: one run: its evaluation and its seconds.
    """
    outcomes = []
    for variant in variants:
        runs = [train(variant, seed) for seed in seeds]
        outcomes.append(
            Outcome(
                variant=variant,
                ndcg=np.stack([evaluation.per_query[MODEL].ndcg for evaluation, _ in runs]),
                popularity=runs[0][0].per_query[POPULARITY].ndcg,
                seconds=float(np.mean([seconds for _, seconds in runs])),
                missing={
                    name: np.stack([evaluation.missing[name] for evaluation, _ in runs]) for name in runs[0][0].missing
                },
            )
        )
    return outcomes


def report_ablation(outcomes: Sequence[Outcome], config: EvaluationConfig) -> dict[str, Any]:
    """Each variant's NDCG, and the variant it is compared with minus it: what the part is worth.

    Intervals are over customers, of each customer's mean over the seeds; `seed_spread` is the standard deviation of the
    seeds' means, None for one seed.
    """
    by_name = {outcome.variant.name: outcome for outcome in outcomes}
    rows = []
    for outcome in outcomes:
        values, variant = outcome.ndcg.mean(axis=0), outcome.variant
        beside = by_name.get(variant.beside)
        worth = None
        if beside is not None and beside is not outcome:
            worth = interval_json(bootstrap_difference(beside.ndcg.mean(axis=0), values, config.bootstrap_samples))
        spread = float(outcome.ndcg.mean(axis=1).std(ddof=1)) if len(outcome.ndcg) > 1 else None
        rows.append(
            {
                "variant": variant.name,
                "group": variant.group,
                "overrides": list(variant.overrides),
                "ndcg": interval_json(bootstrap_mean(values, config.bootstrap_samples)),
                "beside": variant.beside if worth is not None else None,
                "worth": worth,
                "seed_spread": spread,
                "seconds": outcome.seconds,
            }
        )
    popularity = interval_json(bootstrap_mean(outcomes[0].popularity, config.bootstrap_samples))
    return {
        "k": config.k,
        "seeds": len(outcomes[0].ndcg),
        "popularity": popularity,
        "variants": rows,
        "missing": _missing(by_name, config),
    }


def _missing(by_name: dict[str, Outcome], config: EvaluationConfig) -> list[dict[str, Any]]:
    """Each modality that the default loses only in serving, beside the variant that was trained without it.

    Above zero, it pays to have learned with what is missing now.
    """
    default = by_name.get(DEFAULT)
    rows = []
    for name, served in ({} if default is None else default.missing).items():
        trained = by_name.get(f"no {name}")
        if trained is None or trained.variant.group != "modality":
            continue
        pair = served.mean(axis=0), trained.ndcg.mean(axis=0)
        rows.append(
            {
                "modality": name,
                "ndcg": interval_json(bootstrap_mean(pair[0], config.bootstrap_samples)),
                "minus_trained_without": interval_json(bootstrap_difference(*pair, config.bootstrap_samples)),
            }
        )
    return rows


def to_markdown(report: dict[str, Any]) -> str:
    """The table as Markdown."""
    seeds = report["seeds"]
    lines = [
        f"# What each part is worth on {report['dataset']}",
        "",
        f"{report['measured_on']}; {report['popularity']['n']:,} questions, {seeds} seed{'s' * (seeds > 1)}; NDCG@"
        f"{report['k']} with 95 % intervals over customers. *Worth* is the NDCG of what a variant is compared with, "
        "minus its own, paired by customer: above zero, the part that was taken out helps.",
        "",
        f"| variant | NDCG@{report['k']} | worth | compared with | between seeds | seconds |",
        "|---|---|---|---|---|---|",
        f"| popularity | {_interval(report['popularity'])} | | | | |",
    ]
    for row in report["variants"]:
        worth = "" if row["worth"] is None else _interval(row["worth"], "+")
        spread = "" if row["seed_spread"] is None else f"{row['seed_spread']:.4f}"
        lines.append(
            f"| {row['variant']} | {_interval(row['ndcg'])} | {worth} | {row['beside'] or ''} | {spread} "
            f"| {row['seconds']:,.0f} |"
        )
    if report.get("missing"):
        lines += [
            "",
            "A modality that is missing in serving only, and the same minus the variant that was trained without it:",
            "",
            f"| missing in serving | NDCG@{report['k']} | minus trained without |",
            "|---|---|---|",
        ]
    for row in report.get("missing", []):
        pair = _interval(row["ndcg"]), _interval(row["minus_trained_without"], "+")
        lines.append(f"| {row['modality']} | {pair[0]} | {pair[1]} |")
    return "\n".join(lines) + "\n"


def _interval(found: dict[str, float], sign: str = "") -> str:
    return f"{found['mean']:{sign}.4f} [{found['low']:{sign}.4f}, {found['high']:{sign}.4f}]"
