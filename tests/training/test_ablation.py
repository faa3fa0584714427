"""`recsys ablate`: every variant is a recipe that exists, its worth is what it says, and the files are there."""

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recsys.data.splits import PART
from recsys.features.spec import FeatureManifest
from recsys.schema import CUSTOMER_ID, EVENT_TYPE
from tests.end_to_end.conftest import run
from tests.training.conftest import Governed
from training.ablation import Outcome, calibration_rows, recipe_of, report_ablation, to_markdown
from training.ablation_runs import AblationRun, AblationRuns, code_digest
from training.ablation_variants import CURVE, PRETRAINED, SHARES, SUPERVISED, Variant, curve_name, variants_of
from training.config import EvaluationConfig, TrainConfig
from training.labels import LabelsConfig, choose_labels, teachers
from training.plots import plot_label_curve
from training.tracking import tracking_uri


def test_every_variant_changes_the_recipe_and_keeps_the_rest(governed: Governed) -> None:
    recipe = TrainConfig()
    variants = variants_of(FeatureManifest.read(governed.home.path / "features"))
    assert len({variant.name for variant in variants}) == len(variants)
    assert {variant.beside for variant in variants} <= {variant.name for variant in variants}
    built = [recipe_of(variant, recipe, 3) for variant in variants]
    assert len({one.model_dump_json() for one in built}) == len(built)
    assert all(one.loop.seed == 3 and not one.refit for one in built)
    assert {"no text", "no image", "no behaviour", "no profile"} <= {variant.name for variant in variants}


def test_worth_is_the_paired_difference_to_what_it_is_compared_with() -> None:
    full, less = np.array([[0.6, 0.4], [0.8, 0.2]]), np.array([[0.5, 0.3], [0.5, 0.3]])
    popularity = np.zeros(2)
    outcomes = [
        Outcome(Variant("default", "model", ()), full, popularity, 2.0),
        Outcome(Variant("a", "model", ("x=1",)), less, popularity, 1.0),
        Outcome(Variant("b", "model", ("x=2",), "a"), less, popularity, 1.0),
    ]
    report = report_ablation(outcomes, EvaluationConfig(bootstrap_samples=100))
    default, one, two = report["variants"]
    assert default["worth"] is None
    assert one["worth"]["mean"] == pytest.approx(0.1)
    assert two["worth"] == {"mean": 0.0, "low": 0.0, "high": 0.0, "n": 2}
    assert default["seed_spread"] == pytest.approx(0.0)
    table = to_markdown({"dataset": "d", "measured_on": "test", **report})
    assert "| a | 0.4000 [0.3000, 0.5000] | +0.1000 [" in table


def test_choose_labels_hides_the_acquisitions_of_the_others_and_nothing_else() -> None:
    rows = pl.DataFrame(
        {
            CUSTOMER_ID: [f"c{index % 500}" for index in range(3000)],
            EVENT_TYPE: ["click", "apply", "convert"] * 1000,
            PART: ["train"] * 2000 + ["validation"] * 500 + ["test"] * 500,
        }
    )
    few = choose_labels(rows, LabelsConfig(share=0.1))
    labelled = few.filter(pl.col(EVENT_TYPE) != "click")
    assert few.filter(pl.col(EVENT_TYPE) == "click").height == 1000
    assert 0.05 < labelled[CUSTOMER_ID].n_unique() / 500 < 0.15
    assert set(labelled[CUSTOMER_ID]) == teachers(rows, LabelsConfig(share=0.1))
    more = choose_labels(rows, LabelsConfig(share=0.5))
    assert set(labelled[CUSTOMER_ID]) <= set(more.filter(pl.col(EVENT_TYPE) != "click")[CUSTOMER_ID])
    assert set(choose_labels(rows, LabelsConfig(next_event=False))[EVENT_TYPE]) == {"apply", "convert"}
    assert choose_labels(rows, LabelsConfig()).equals(rows)
    assert len(teachers(rows, LabelsConfig())) == 500


def test_label_curve_has_a_line_with_and_one_without_self_supervision(governed: Governed, tmp_path: Path) -> None:
    variants = variants_of(FeatureManifest.read(governed.home.path / "features"))
    curve = [variant for variant in variants if variant.group == CURVE]
    rng = np.random.default_rng(0)
    outcomes = [Outcome(one, rng.random((2, 30)), np.zeros(30), 1.0) for one in curve]
    report = {"dataset": "d", "measured_on": "test", **report_ablation(outcomes, EvaluationConfig())}
    few = recipe_of(next(v for v in curve if v.name == curve_name(0.1, PRETRAINED)), TrainConfig(), 0)
    assert (few.labels.share, few.labels.next_event, few.pretrain.enabled) == (0.1, False, True)
    bare = recipe_of(next(v for v in curve if v.name == curve_name(0.1, SUPERVISED)), TrainConfig(), 0)
    assert (bare.labels.next_event, bare.pretrain.enabled, bare.model.loss.alignment_weight) == (False, False, 0)
    path = tmp_path / "curve.png"
    assert plot_label_curve(report, path)
    assert path.stat().st_size > 10_000
    assert len(curve) == 3 * len(SHARES)
    assert not plot_label_curve({**report, "variants": []}, tmp_path / "none.png")


def test_calibration_is_reported_with_what_it_is_worth() -> None:
    heads = {"ece": 0.01, "ece_before": 0.03}
    seeds = [{"click": heads}, {"click": heads | {"ece": 0.02}}]
    table = {"calibration": calibration_rows(seeds)}
    assert table["calibration"] == [
        {"head": "click", "ece": [0.01, 0.02], "ece_before": [0.03, 0.03], "worth": pytest.approx([0.02, 0.01])}
    ]
    nothing = np.zeros((2, 3))
    outcomes = [Outcome(Variant("default", "model", ()), nothing, np.zeros(3), 1.0)]
    report = {"dataset": "d", "measured_on": "test", **report_ablation(outcomes, EvaluationConfig()), **table}
    assert "| click | 0.0300 | 0.0150 | +0.0150 [+0.0100, +0.0200] |" in to_markdown(report)


def test_choose_labels_without_acquisitions_takes_every_positive_as_one() -> None:
    rows = pl.DataFrame({CUSTOMER_ID: ["a", "b"], EVENT_TYPE: ["rate", "rate"], PART: ["train", "train"]})
    assert choose_labels(rows, LabelsConfig(next_event=False)).equals(rows)


def test_ablate_writes_markdown_json_and_mlflow_and_leaves_no_run_behind(governed: Governed, tmp_path: Path) -> None:
    import mlflow

    out, file, home = tmp_path / "table.md", tmp_path / "report.json", tmp_path / "home"
    shutil.copytree(governed.home.path, home)  # the features are made anew: other tests read those that are there
    small = ["--set", "loop.epochs=1", "--set", "model.tower.dim=16", "--set", "ranking.enabled=false"]
    small += ["--set", "features.history_length=8", "--set", "loop.device=cpu"]
    command = ["ablate", governed.dataset.path, "--seeds", 1, "--only", "self-supervision", "--out", out]
    assert run("--home", home, *command, "--json", file, *small) == 0
    report = json.loads(file.read_text())
    names = [row["variant"] for row in report["variants"]]
    assert names == ["default", "no contrastive alignment", "no next-event prediction", "pretraining before the labels"]
    assert all(name in out.read_text() for name in names)
    assert not list((home / "runs").glob("ablation-*"))
    client = mlflow.MlflowClient(tracking_uri(home))
    experiment = client.get_experiment_by_name(f"{governed.dataset.config.name}-ablation")
    assert experiment is not None
    (logged,) = client.search_runs([experiment.experiment_id])
    assert "worth/no next-event prediction" in logged.data.metrics
    before = {path: path.stat().st_mtime_ns for path in (home / "ablation").iterdir()}
    assert len(before) == 4
    assert run("--home", home, *command, "--json", tmp_path / "again.json", *small) == 0, "nothing is trained again"
    assert {path: path.stat().st_mtime_ns for path in (home / "ablation").iterdir()} == before
    assert json.loads((tmp_path / "again.json").read_text()) == report
    assert run("--home", home, "ablate", governed.dataset.path, "--only", "colour", "--out", out) == 2


def test_a_run_is_kept_by_recipe_data_and_code_and_comes_back_as_it_was(tmp_path: Path) -> None:
    made = AblationRun(
        np.array([0.5, 0.25]), np.zeros(2), {"text": np.ones(2)}, {"click": {"ece": 0.1}, "n": 3}, "test part", 1.5
    )
    recipe, asked = TrainConfig(), []

    def make() -> AblationRun:
        asked.append(1)
        return made

    runs = AblationRuns(tmp_path / "kept", "data", "code")
    for known in (False, True):
        run, was_there = runs.get_or_make(recipe, make)
        assert was_there is known
        assert run.ndcg.tolist() == made.ndcg.tolist()
        assert run.missing["text"].tolist() == [1, 1]
        assert (run.calibration, run.measured_on, run.seconds) == (made.calibration, "test part", 1.5)
    other = recipe.model_copy(update={"refit": False})
    for store, which in ((runs, other), (AblationRuns(tmp_path / "kept", "data", "newer"), recipe)):
        assert not store.get_or_make(which, make)[1]
    assert len(asked) == 3


def test_code_that_changed_is_other_code_whether_it_is_committed_or_not(tmp_path: Path) -> None:
    file = tmp_path / "training" / "inner" / "loop.py"
    file.parent.mkdir(parents=True)
    file.write_text("rate = 1")
    before = code_digest(tmp_path)
    (tmp_path / "training" / "notes.txt").write_text("no code")
    assert code_digest(tmp_path) == before
    file.write_text("rate = 2")
    changed = code_digest(tmp_path)
    file.rename(file.with_name("step.py"))
    assert len({before, changed, code_digest(tmp_path), code_digest()}) == 4


def test_a_run_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> AblationRun:
        raise ValueError("no events")

    with pytest.raises(ValueError, match="no events"):
        AblationRuns(tmp_path / "kept", "data").get_or_make(TrainConfig(), fail)
    assert not (tmp_path / "kept").exists()


def test_missing_in_serving_is_paired_with_trained_without() -> None:
    full, popularity = np.array([[0.6, 0.4], [0.8, 0.2]]), np.zeros(2)
    served, trained = np.array([[0.5, 0.3], [0.5, 0.3]]), np.array([[0.4, 0.2], [0.4, 0.2]])
    outcomes = [
        Outcome(Variant("default", "model", ()), full, popularity, 1.0, missing={"text": served, "history": served}),
        Outcome(Variant("no text", "modality", ("x=1",)), trained, popularity, 1.0),
    ]
    report = report_ablation(outcomes, EvaluationConfig(bootstrap_samples=100))
    (row,) = report["missing"]
    assert row["modality"] == "text"
    assert row["ndcg"]["mean"] == pytest.approx(0.4)
    assert row["minus_trained_without"]["low"] == pytest.approx(0.1)
    table = to_markdown({"dataset": "d", "measured_on": "test", **report})
    assert "| text | 0.4000 [0.3000, 0.5000] | +0.1000 [+0.1000, +0.1000] |" in table
