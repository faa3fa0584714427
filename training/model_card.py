"""The model card of a registered version, made from its run (Mitchell et al. 2019, Model Cards for Model Reporting).

A card is a JSON object; `training.card_text` writes it in words. Nothing in it is typed by hand but the purpose.
"""

from datetime import datetime
from typing import Any, Final, NamedTuple

from recsys.bundle import BundleManifest
from recsys.policy.rules.base import CREDIT
from training.approval import Signatures
from training.promote import GateDecision
from training.train import TrainingOutcome

Card = dict[str, Any]
PURPOSE: Final = (
    "Ranks the bank's products and creatives for its customers within the policy pack: in the app, on the web, and in "
    "campaigns."
)
NOT_FOR: Final = (
    "Deciding on credit, prices or limits, or judging creditworthiness: a score says what a customer is likely to take "
    "up, nothing about whether he can afford it.",
    "Customers who refused profiling: they get what is popular, and nothing is learned from them.",
    "Ranking without the policy engine: the model itself knows no suitability, consent or contact rule.",
)
_FEW_QUESTIONS: Final = 200


class RunRecord(NamedTuple):
    """A run that is about to be registered."""

    outcome: TrainingOutcome
    fairness: dict[str, Any]
    """The fairness report."""
    fingerprint: str
    """Of the dataset."""
    decision: GateDecision
    signatures: Signatures


class Registered(NamedTuple):
    """A version as the registry has it."""

    version: str
    run_id: str
    git_commit: str
    created_at: datetime


def build_card(run: RunRecord, registered: Registered) -> Card:
    """All that the run knows of itself."""
    outcome, manifest, report = run.outcome, run.outcome.manifest, run.outcome.evaluation.report
    signatures = run.signatures if run.decision.passed else run.signatures._replace(approver=None)
    return {
        "model": {
            "name": "recommender",
            "version": registered.version,
            "model_version": manifest.model_version,
            "run_id": registered.run_id,
            "git_commit": registered.git_commit,
            "created_at": registered.created_at.isoformat(timespec="seconds"),
        },
        "purpose": PURPOSE,
        "not_for": list(NOT_FOR),
        "data": {
            "dataset": manifest.dataset,
            "fingerprint": run.fingerprint,
            "trained_until": manifest.trained_until.isoformat(timespec="seconds"),
            "labels": outcome.labels,
            "customers_measured": report["queries"],
            "measured_on": report["measured_on"],
        },
        "policy": run.fairness["policy"],
        "features": _features(manifest),
        "refused_columns": [column._asdict() for column in outcome.refused],
        "architecture": _architecture(manifest, report),
        "metrics": {name: report[name] for name in ("k", "methods", "differences", "slices", "coverage")},
        "fairness": summarise_fairness(run.fairness),
        "limits": _limits(report, run.fairness),
        "gate": {"passed": run.decision.passed, "reasons": run.decision.reasons},
        "approval": approval_entry(run.signatures.gate(run.decision.passed), signatures, registered.created_at),
    }


def approval_entry(gate: str, signatures: Signatures, at: datetime) -> Card:
    """Who trained, who approved and when; `at` counts where somebody approved."""
    return {
        "gate": gate,
        "trainer": signatures.trainer,
        "needs_approver": signatures.needs_approver,
        "approver": signatures.approver,
        "approved_at": at.isoformat(timespec="seconds") if signatures.approver is not None else None,
    }


def summarise_fairness(report: dict[str, Any]) -> Card:
    """Of every group: exposure of credit, NDCG and calibration beside the largest group's, and the probe."""
    attributes = {}
    for name, values in report["attributes"].items():
        groups = {}
        for group, entry in values["groups"].items():
            groups[group] = {"masked": True} if entry["masked"] else _group(entry)
        attributes[name] = {"kind": values["kind"], "reference": values["reference"], "groups": groups}
    certain = [alarm for alarm in report["alarms"] if alarm["certain"]]
    kept = {name: report[name] for name in ("minimum_group", "alarm_below", "steering", "skipped")}
    return kept | {"attributes": attributes, "alarms": certain, "possible_alarms": len(report["alarms"]) - len(certain)}


def _group(entry: dict[str, Any]) -> Card:
    values = {
        "customers": entry["customers"],
        "credit_ratio": entry["exposure"].get(CREDIT, {}).get("ratio"),
        "ndcg_gap": entry.get("ndcg_gap"),
        "calibration_gap": entry.get("calibration_gap"),
        "probe": entry.get("probe"),
    }
    return {"masked": False} | {name: value for name, value in values.items() if value is not None}


def _features(manifest: BundleManifest) -> Card:
    """Side of the model to group of columns to their names."""
    sides = {"customers": manifest.inputs.customers, "products": manifest.inputs.products}
    if manifest.inputs.contents is not None:
        sides["contents"] = manifest.inputs.contents
    features: Card = {
        side: {group.name: [column.key.split("__", 1)[1] for column in group.columns] for group in encoding.groups}
        for side, encoding in sides.items()
    }
    features["customers"]["history"] = [f"the last {manifest.inputs.history_length} things that the customer did"]
    return features


def _architecture(manifest: BundleManifest, report: dict[str, Any]) -> Card:
    return {
        "first_stage": "two towers, one embedding space",
        "dimension": manifest.model.tower.dim,
        "fusion": manifest.model.fusion.kind,
        "popularity_prior": {"weight": manifest.prior.weight, "for_new_customers": manifest.prior.new_weight},
        "second_stage": report["second_stage"],
        "served_second_stage": manifest.stage is not None,
    }


def _limits(report: dict[str, Any], fairness: dict[str, Any]) -> list[str]:
    """What the numbers cannot say, found in the run itself."""
    limits = [
        "Measured offline, on what customers took up under the former recommendations: what was never shown to anybody "
        "was never taken up.",
        "Fairness is that of the ranked lists within the policy, before arbitration and diversification.",
    ]
    if report["queries"] < _FEW_QUESTIONS:
        limits.append(f"Only {report['queries']} customers were asked about: the intervals are wide.")
    small = [name.replace("_", " ") for name, interval in report["slices"].items() if interval["n"] < 30]
    if small:
        limits.append(f"Fewer than 30 customers stand behind the slices: {', '.join(small)}.")
    if report["part"] != "test":
        limits.append("The dataset holds no test answers: choices were made on the answers that are reported.")
    limits += [f"Groups by `{name}` could not be compared: {why}." for name, why in fairness["skipped"].items()]
    told = sorted(_told(fairness))
    if told:
        limits.append(
            "The customer embedding tells these groups better than chance, though no column of theirs is an input: "
            f"{', '.join(told)}."
        )
    return limits


def _told(fairness: dict[str, Any]) -> list[str]:
    """Groups whose probe lies above chance with its whole interval."""
    return [
        f"{name} {group}"
        for name, values in fairness["attributes"].items()
        for group, entry in values["groups"].items()
        if "probe" in entry and entry["probe"]["auc"]["low"] > max(0.5, entry["probe"]["chance"])
    ]
