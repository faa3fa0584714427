"""What each part of the model is worth: the recipe trained again without it, on the same questions and seeds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from recsys.config import apply_overrides
from recsys.metrics.bootstrap import bootstrap_difference, bootstrap_mean
from training.ablation_runs import AblationRun
from training.ablation_variants import CALIBRATION, DEFAULT, Variant
from training.config import EvaluationConfig, TrainConfig
from training.evaluate import interval_json


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
    calibration: tuple[dict[str, Any], ...] = ()
    """What the response model of each seed measured on the test part, where one was fitted."""
    missing: dict[str, np.ndarray] = field(default_factory=dict)
    """Modality to [S, Q] NDCG with it missing in serving."""


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
    train: Callable[[Variant, int], AblationRun],
) -> list[Outcome]:
    """Trains each variant with each seed.

    Args:
        variants: what to train.
        seeds: of the weights and batches.
        train: one run.
    """
    outcomes = []
    for variant in variants:
        runs = [train(variant, seed) for seed in seeds]
        outcomes.append(
            Outcome(
                variant=variant,
                ndcg=np.stack([run.ndcg for run in runs]),
                popularity=runs[0].popularity,
                seconds=float(np.mean([run.seconds for run in runs])),
                calibration=tuple(run.calibration for run in runs if run.calibration),
                missing={name: np.stack([run.missing[name] for run in runs]) for name in runs[0].missing},
            )
        )
    return outcomes


def report_ablation(outcomes: Sequence[Outcome], config: EvaluationConfig) -> dict[str, Any]:
    """Each variant's NDCG, and the variant it is compared with minus it: what the part is worth.

    Intervals are over customers, of each customer's mean over the seeds; `seed_spread` is the standard deviation of the
    seeds' means, None for one seed.
    """
    tests = [test for outcome in outcomes for test in outcome.calibration]
    calibrated = [outcome for outcome in outcomes if outcome.variant.group == CALIBRATION]
    outcomes = [outcome for outcome in outcomes if outcome not in calibrated] or calibrated
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
        "calibration": calibration_rows(tests),
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


def calibration_rows(tests: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each head's calibration error of every seed, without and with calibration; worth is what it takes away.

    Args:
        tests: of every seed, head to a report with `ece` and `ece_before`.
    """
    rows = []
    for head in [name for name in tests[0] if isinstance(tests[0][name], dict)] if tests else []:
        after, before = ([test[head][key] for test in tests] for key in ("ece", "ece_before"))
        worth = [less - more for less, more in zip(before, after, strict=True)]
        rows.append({"head": head, "ece": after, "ece_before": before, "worth": worth})
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
    lines += [*_missing_lines(report), *_calibration_lines(report["calibration"])]
    return "\n".join(lines) + "\n"


def _missing_lines(report: dict[str, Any]) -> list[str]:
    if not report.get("missing"):
        return []
    lines = [
        "",
        "A modality that is missing in serving only, and the same minus the variant that was trained without it:",
        "",
        f"| missing in serving | NDCG@{report['k']} | minus trained without |",
        "|---|---|---|",
    ]
    for row in report["missing"]:
        pair = _interval(row["ndcg"]), _interval(row["minus_trained_without"], "+")
        lines.append(f"| {row['modality']} | {pair[0]} | {pair[1]} |")
    return lines


def _calibration_lines(rows: list[dict[str, Any]]) -> list[str]:
    if not rows:
        return []
    lines = [
        "",
        "Calibration error of the response model's probabilities on the test part; mean of the seeds, in brackets the "
        "lowest and the highest of them.",
        "",
        "| head | not calibrated | calibrated | worth |",
        "|---|---|---|---|",
    ]
    for row in rows:
        worth = {"mean": float(np.mean(row["worth"])), "low": min(row["worth"]), "high": max(row["worth"])}
        before, after = float(np.mean(row["ece_before"])), float(np.mean(row["ece"]))
        lines.append(f"| {row['head']} | {before:.4f} | {after:.4f} | {_interval(worth, '+')} |")
    return lines


def _interval(found: dict[str, float], sign: str = "") -> str:
    return f"{found['mean']:{sign}.4f} [{found['low']:{sign}.4f}, {found['high']:{sign}.4f}]"
