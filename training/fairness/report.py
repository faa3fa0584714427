"""The fairness report: exposure, quality and calibration by group, steering, and the probe, with 95 % intervals.

Measured by the weights that have not seen the measured part, on its lists: what the towers and the second stage rank
within the policy, before arbitration and diversification.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import false_discovery_control

from recsys.bundle import Bundle
from recsys.metrics.bootstrap import Interval
from recsys.metrics.fairness import (
    Resampled,
    calibration_residuals,
    chance_of_shortfall,
    exposure_by_family,
    mean_gap,
    mean_of,
    resample,
    share_gap,
    share_of,
    share_ratio,
)
from recsys.metrics.ranking import top_k
from recsys.metrics.relevance import NO_ITEM
from recsys.policy.pack import PolicyPack
from recsys.policy.rules.base import CREDIT, INVESTMENT
from recsys.recommender import Recommender
from recsys.schema import Kind
from training.evaluate import FrozenSplit, interval_json
from training.fairness.audience import Audience, draw_audience
from training.fairness.config import FairnessConfig
from training.fairness.groups import Attribute, read_attributes
from training.fairness.probe import probe
from training.fairness.steering import Steering, measure_steering
from training.queries import Queries
from training.scoring import metrics_of, recommender_scores

_NDCG, _RESIDUAL, _SHOWN = range(3)
_PAIRS, _RANKED, _COSTLIER_SHOWN = range(3)
_FEWEST_EXPECTED = 5
"""So many of a group must be expected to see a family before it is compared: else nobody sees it by chance."""
_FALSE_ALARMS = 0.05
Report = dict[str, Any]


@dataclass(frozen=True)
class Measured:
    """What groups are compared by: one row a customer."""

    audience: Audience
    vectors: np.ndarray
    """[B, D] the model's embeddings of the audience."""
    families: tuple[str, ...]
    exposure: np.ndarray
    """[B, 2F + 2]: attention to each family and to all; then candidates of each family and of all."""
    steering: Steering | None
    queries: Queries
    quality: np.ndarray
    """[Q, 3]: NDCG, calibration residual, places shown."""


def measure_fairness(
    bundle: Bundle, split: FrozenSplit, home: Path, pack: PolicyPack, config: FairnessConfig, k: int
) -> Report:
    """The report of a bundle whose weights have not seen the measured part; empty of groups where the pack names none.

    Args:
        bundle: the model.
        split: the questions and candidates.
        home: where the features are.
        pack: the policy in force; its protected and proxy columns make the groups.
        config: settings.
        k: length of the lists.
    """
    part, queries = split.measured
    report: Report = {
        "dataset": split.dataset.config.name,
        "model_version": bundle.manifest.model_version,
        "policy": f"{pack.name}@{pack.version}",
        "part": str(part),
        "as_of": split.catalogue.as_of.isoformat(),
        "k": k,
        "minimum_group": config.minimum_group,
        "alarm_below": config.alarm_below,
        "attributes": {},
        "skipped": {},
        "alarms": [],
        "steering": None,
    }
    if not (pack.credit.protected_columns or pack.credit.proxy_columns):
        return report
    audience = draw_audience(split.dataset, home, split.catalogue, pack, config.customers)
    measured = _measure(Recommender(bundle), audience, queries, k)
    everybody = list(dict.fromkeys([*audience.customer_ids, *queries.customer_ids]))
    found, skipped = read_attributes(split.dataset, everybody, audience.now, pack.credit, config.most_groups)
    report |= {"customers": len(audience), "queries": len(queries), "skipped": skipped}
    found = sorted(found, key=lambda attribute: (attribute.kind, attribute.name))  # protected before proxies
    report["attributes"] = {a.name: _attribute(a, everybody, measured, config) for a in found}
    report["alarms"] = _alarms(report["attributes"], config.alarm_below)
    report["steering"] = None if measured.steering is None else _steering(_pair_counts(measured.steering), config)
    return report


def _measure(recommender: Recommender, audience: Audience, queries: Queries, k: int) -> Measured:
    now = np.full(len(audience), round(audience.now.timestamp() * 1e6), np.int64)
    states = recommender.encode_columns(audience.columns.to_dict(), now, [None] * len(audience))
    scores = recommender.score(states, Kind.PRODUCTS, audience.choosable)
    ranked = top_k(np.where(audience.allowed, scores, -np.inf), k)
    names, families = _families(audience)
    candidates = audience.allowed.astype(np.float64) @ np.vstack([families, np.ones(families.shape[1])]).T
    return Measured(
        audience=audience,
        vectors=states.vectors[:, :-1],
        families=names,
        exposure=np.concatenate([exposure_by_family(ranked, families), candidates], axis=1),
        steering=measure_steering(audience, scores, ranked),
        queries=queries,
        quality=_quality(recommender, queries, k),
    )


def _families(audience: Audience) -> tuple[tuple[str, ...], np.ndarray]:
    """Names, and [F, P] bool: credit and investment as the pack understands them, then the catalogue's categories."""
    policy, products = audience.policy, audience.products
    masks = {CREDIT: policy.credits(products), INVESTMENT: policy.investments(products)}
    for category in sorted({name for name in products.category.tolist() if name} - set(masks)):
        masks[category] = products.category == category
    some = {name: mask for name, mask in masks.items() if mask.any()}
    return tuple(some), np.array(list(some.values()), bool).reshape(len(some), len(products))


def _quality(recommender: Recommender, queries: Queries, k: int) -> np.ndarray:
    """[Q, 3]."""
    scores = recommender_scores(recommender, queries)
    ranked = top_k(np.where(queries.allowed, scores, -np.inf), k)
    relevant = queries.relevant.mask(np.arange(len(queries)), scores.shape[1])
    hits = np.take_along_axis(relevant, np.maximum(ranked, 0), axis=1) & (ranked != NO_ITEM)
    return np.column_stack([metrics_of(scores, queries, k).ndcg, calibration_residuals(hits, ranked != NO_ITEM)])


def _attribute(attribute: Attribute, everybody: list[str], measured: Measured, config: FairnessConfig) -> Report:
    """One column's groups, each beside the largest."""
    place = {name: row for row, name in enumerate(everybody)}
    of_audience = attribute.take(np.array([place[name] for name in measured.audience.customer_ids], np.int64)).labels
    of_queries = attribute.take(np.array([place[name] for name in measured.queries.customer_ids], np.int64)).labels
    known = of_audience[[label is not None for label in of_audience]].astype(str)
    names, counts = np.unique(known, return_counts=True)
    report: Report = {"kind": attribute.kind, "unknown": len(of_audience) - len(known), "groups": {}}
    if not len(names) or counts.max() < config.minimum_group:
        return report | {"reference": None, "groups": {str(name): {"masked": True} for name in names}}
    order = np.argsort(-counts, kind="stable")
    reference = str(names[order[0]])
    report["reference"] = reference
    comparison = _Comparison(measured, of_audience, of_queries, reference, config)
    told = probe(measured.vectors, of_audience, config)
    for seed, name in enumerate(names[order].tolist()):
        report["groups"][name] = comparison.group(name, seed) | _probe_json(told.get(name))
    return report


class _Comparison:
    """The groups of one column against its largest one."""

    def __init__(
        self,
        measured: Measured,
        of_audience: np.ndarray,
        of_queries: np.ndarray,
        reference: str,
        config: FairnessConfig,
    ) -> None:
        self._measured = measured
        self._labels = of_audience, of_queries
        self._config = config
        self._reference = reference
        self._known = {reference: self._resampled(reference, 0)}
        self._viewers = (measured.exposure[of_audience == reference] > 0).mean(axis=0)

    def group(self, name: str, seed: int) -> Report:
        """What one group gets; masked where it is small."""
        if (self._labels[0] == name).sum() < self._config.minimum_group:
            return {"masked": True}
        mine = self._known.get(name) or self._resampled(name, seed)
        theirs = {} if name == self._reference else self._known[self._reference]
        report: Report = {"masked": False, "customers": mine["exposure"].n}
        report["exposure"] = self._exposure(mine["exposure"], theirs.get("exposure"))
        report |= _quality_json(mine.get("quality"), theirs.get("quality"))
        if "steering" in mine:
            report["steering"] = _steering_json(mine["steering"], theirs.get("steering"))
        return report

    def _resampled(self, name: str, seed: int) -> dict[str, Resampled]:
        """The group's rows of each table in which it is large enough."""
        measured, samples = self._measured, self._config.bootstrap_samples
        tables = {"exposure": (measured.exposure, 0), "quality": (measured.quality, 1)}
        if measured.steering is not None:
            tables["steering"] = (_pair_counts(measured.steering), 0)
        rows = {table: values[self._labels[which] == name] for table, (values, which) in tables.items()}
        large = {table: values for table, values in rows.items() if len(values) >= self._config.minimum_group}
        return {table: resample(values, samples, seed) for table, values in large.items()}

    def _exposure(self, mine: Resampled, theirs: Resampled | None) -> Report:
        """Family to its share of attention and of candidates, and their ratios to the reference group's.

        `p` is the chance of a share this far below the alarm's bound, `expected` how many of the group would see the
        family if as many did as in the reference group.
        """
        families = self._measured.families
        every, report = len(families), {}
        for column, family in enumerate(families):
            candidates, all_candidates = every + 1 + column, 2 * every + 1
            entry: Report = {"share": _json(share_of(mine, column, every))}
            entry["candidates"] = _json(share_of(mine, candidates, all_candidates))
            if theirs is not None:
                entry["ratio"] = _json(share_ratio(mine, theirs, column, every))
                entry["candidates_ratio"] = _json(share_ratio(mine, theirs, candidates, all_candidates))
                entry["p"] = chance_of_shortfall(mine, theirs, column, every, self._config.alarm_below)
                entry["expected"] = round(float(self._viewers[column]) * mine.n, 1)
            report[family] = entry
        return report


def _quality_json(mine: Resampled | None, theirs: Resampled | None) -> Report:
    """NDCG and calibration of the group's questions; nothing where it asks too few."""
    if mine is None:
        return {"queries": None}
    report: Report = {"queries": mine.n, "ndcg": _json(mean_of(mine, _NDCG))}
    report["calibration"] = _json(share_of(mine, _RESIDUAL, _SHOWN))
    if theirs is not None:
        report["ndcg_gap"] = _json(mean_gap(mine, theirs, _NDCG))
        report["calibration_gap"] = _json(share_gap(mine, theirs, _RESIDUAL, _SHOWN))
    return report


def _pair_counts(steering: Steering) -> np.ndarray:
    """[B, 3]."""
    return np.stack([steering.pairs, steering.ranked, steering.shown], axis=1).astype(np.float64)


def _steering(pairs: np.ndarray, config: FairnessConfig) -> Report:
    """Of everybody who may choose between two variants of a type."""
    choosers = int((pairs[:, _PAIRS] > 0).sum())
    if choosers < config.minimum_group:
        return {"masked": True}
    return {"masked": False, "customers": choosers} | _steering_json(resample(pairs, config.bootstrap_samples), None)


def _steering_json(mine: Resampled, theirs: Resampled | None) -> Report:
    report = {
        "costlier_ranked_above": _json(share_of(mine, _RANKED, _PAIRS)),
        "costlier_shown": _json(share_of(mine, _COSTLIER_SHOWN, _PAIRS)),
    }
    if theirs is not None:
        report["gap"] = _json(share_gap(mine, theirs, _RANKED, _PAIRS))
    return report


def _probe_json(told: dict[str, Any] | None) -> Report:
    return {} if told is None else {"probe": {"auc": _json(told["auc"]), "chance": told["chance"]}}


def _alarms(attributes: dict[str, Report], below: float) -> list[Report]:
    """Every ratio of exposures below the bound, those that chance does not explain (`certain`) first.

    There are many groups and families: which of them are no chance is decided for all at once, so that of the certain
    alarms at most one in twenty is false (Benjamini and Hochberg 1995).
    """
    compared = [
        (attribute, name, family, entry)
        for attribute, values in attributes.items()
        for name, group in values["groups"].items()
        for family, entry in group.get("exposure", {}).items()
        if entry.get("ratio") is not None and entry["expected"] >= _FEWEST_EXPECTED
    ]
    adjusted = false_discovery_control([entry["p"] for *_, entry in compared]) if compared else []
    found = [
        {"attribute": attribute, "group": name, "family": family, "certain": bool(chance < _FALSE_ALARMS)}
        | {"ratio": entry["ratio"], "candidates_ratio": entry["candidates_ratio"]}
        for (attribute, name, family, entry), chance in zip(compared, adjusted, strict=True)
        if entry["ratio"]["mean"] < below
    ]
    return sorted(found, key=lambda alarm: (not alarm["certain"], alarm["family"] != CREDIT))


def _json(interval: Interval | None) -> dict[str, float] | None:
    return None if interval is None else interval_json(interval)
