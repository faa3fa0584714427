"""`recsys benchmark` from the command line on a miniature of MovieLens, and what its task may and may not hold."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recsys.cli.benchmark_report import describe_benchmark
from recsys.data.contract import Dataset, SplitConfig
from recsys.data.splits import Part, assign_parts
from recsys.errors import DatasetError, RecsysError
from recsys.testing.tiny_bank import write_tiny_bank
from tests.end_to_end.conftest import run
from tests.end_to_end.test_movielens import FILMS, USERS, write_movielens
from training.benchmark import Contest, report_contest
from training.config import EvaluationConfig
from training.peers.preparation import OutsideTruth, prepare_frozen, prepare_outside, with_test_part
from training.peers.results import Result, answer
from training.peers.task import Task

PEERS = "popularity,itemknn,ease,als,bpr,lightgbm"


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    write_movielens(folder / "raw")
    assert run("import", "movielens", folder / "raw", "--out", folder / "data") == 0
    return folder / "data"


@pytest.fixture(scope="module")
def home(films: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("films-home") / "state"
    assert run("--home", home, "features", films) == 0
    return home


@pytest.fixture(scope="module")
def task(films: Path, home: Path) -> Task:
    return prepare_frozen(Dataset.open(films), home, k=5)


@pytest.fixture(scope="module")
def truth(films: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One unseen film of each user's own genre."""
    seen = pl.read_parquet(films / "events.parquet").group_by("customer_id").agg("product_id")
    rows = []
    for customer, products in seen.sort("customer_id").iter_rows():
        mine = [f"m{film}" for film in range(1, FILMS + 1) if film % 3 == int(customer[1:]) % 3]
        rows.append((customer, [name for name in mine if name not in products][:1], int(customer[1:]) % 2 == 0))
    file = tmp_path_factory.mktemp("truth") / "truth.parquet"
    schema = {"customer_id": pl.String, "product_id": pl.List(pl.String), "even": pl.Boolean}
    pl.DataFrame(rows, schema, orient="row").write_parquet(file)
    return file


def test_task_exam_knows_nothing_of_its_answers(task: Task) -> None:
    known, questions = task.exam.known, task.exam.questions
    assert len(questions) == USERS
    for row, customer in enumerate(questions.asked.customer):
        mine = known.customer == customer
        assert known.time[mine].max() <= questions.asked.now[row]
        assert not set(known.product[mine]) & set(questions.relevant[row].tolist())
        assert not questions.allowed[row, known.product[mine]].any()
    assert task.lesson is not None
    assert len(known) == len(task.lesson.known) + USERS


def test_task_ties_are_derived_from_the_recorded_times(films: Path, home: Path, task: Task) -> None:
    assert not task.flags["tied"].any()  # the miniature has a minute between two ratings
    assert task.flags["warm_customer"].all()
    assert not task.flags["new_customer"].any()


def test_benchmark_peers_without_the_model_have_no_differences(films: Path, home: Path, tmp_path: Path) -> None:
    out = tmp_path / "table.json"
    options = ["--peers", "popularity,ease,lightgbm", "--k", "5", "--no-model", "--json", out]
    assert run("--home", home, "benchmark", films, *options) == 0
    report = json.loads(out.read_text())
    assert set(report["methods"]) == {"popularity", "ease", "lightgbm"}
    assert (report["failures"], report["differences"]) == ({}, {})
    assert len(report["methods"]["ease"]["grid"]) == 7
    assert report["methods"]["lightgbm"]["importance"]


@pytest.mark.slow
def test_benchmark_model_and_all_peers_are_in_one_table(
    films: Path, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "table.json"
    options = ["--peers", PEERS, "--k", "5", "--json", out, "--set", "loop.epochs=1"]
    assert run("--home", home, "benchmark", films, *options) == 0
    report = json.loads(out.read_text())
    assert report["failures"] == {}
    assert set(report["methods"]) == {"model", *PEERS.split(",")}
    assert set(report["differences"]) == set(PEERS.split(","))
    for name, one in report["methods"].items():
        assert 0 <= one["ndcg@5"]["low"] <= one["ndcg@5"]["mean"] <= one["recall@5"]["mean"] <= 1
        assert one["short_lists"] == 0
        assert min(one["fit_seconds"], one["recommend_seconds"], one["peak_mb"]) >= 0, name
        assert 0 < one["coverage"] <= 1
    assert report["methods"]["model"]["seconds_to_best"] > 0
    assert report["methods"]["ease"]["peak_mb"] < report["methods"]["model"]["peak_mb"]
    assert "samples/s" in capsys.readouterr().err
    assert not list((home / "runs").glob("benchmark-*"))


@pytest.mark.slow
def test_benchmark_outside_truth_is_asked_by_the_path_of_recommend(
    films: Path, home: Path, truth: Path, tmp_path: Path
) -> None:
    candidates, out = tmp_path / "candidates.parquet", tmp_path / "table.json"
    everything = [f"m{film}" for film in range(1, FILMS + 1)]
    pl.DataFrame({"product_id": everything[: FILMS - 3]}).write_parquet(candidates)
    options = ["--peers", "ease", "--k", "5", "--json", out, "--truth", truth, "--candidates", candidates]
    assert run("--home", home, "benchmark", films, *options, "--set", "loop.epochs=1") == 0
    report = json.loads(out.read_text())
    assert report["methods"]["model"]["learned_from"] == "all"
    assert report["slices"] == {"all": USERS, "even": USERS // 2, "not_even": USERS // 2}
    assert report["candidates"]["mean"] < FILMS - 3


def test_benchmark_missing_environment_is_said_and_the_others_are_measured(
    films: Path, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from training.peers.outsiders import peers_python

    if peers_python().exists():
        pytest.skip("`make peers` was run: SASRec would be trained")
    out = tmp_path / "table.json"
    options = ["--peers", "popularity,sasrec", "--no-model", "--json", out]
    assert run("--home", home, "benchmark", films, *options) == 0
    report = json.loads(out.read_text())
    assert list(report["methods"]) == ["popularity"]
    assert "make peers" in report["failures"]["sasrec"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--peers", "slim"), "unknown slim"),
        (("--peers", "", "--no-model"), "nothing to run"),
        (("--candidates", "x.parquet"), "needs --truth"),
    ],
)
def test_benchmark_bad_calls_are_refused(
    films: Path, home: Path, options: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--home", home, "benchmark", films, *options) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ({"customer_id": ["u1"], "product_id": [["m999"]]}, "does not have: m999"),
        ({"customer_id": ["nobody"], "product_id": [["m1"]]}, "does not have: nobody"),
        ({"customer_id": ["u1", "u1"], "product_id": [["m1"], ["m2"]]}, "named twice"),
        ({"customer_id": ["u1"], "product_id": [[]]}, "has no answer"),
        ({"customer_id": ["u1"]}, "has no column product_id"),
    ],
)
def test_prepare_outside_bad_truth_is_refused(films: Path, home: Path, tmp_path: Path, rows: dict, words: str) -> None:
    schema = {name: pl.String if name == "customer_id" else pl.List(pl.String) for name in rows}
    pl.DataFrame(rows, schema).write_parquet(tmp_path / "truth.parquet")
    with pytest.raises(RecsysError, match=words):
        prepare_outside(Dataset.open(films), home, 5, OutsideTruth(tmp_path / "truth.parquet"))


def test_prepare_outside_answers_that_the_customer_has_are_refused(films: Path, home: Path, tmp_path: Path) -> None:
    first = pl.read_parquet(films / "events.parquet").head(1)
    rows = {"customer_id": first["customer_id"], "product_id": [[first["product_id"].item()]]}
    pl.DataFrame(rows).write_parquet(tmp_path / "truth.parquet")
    with pytest.raises(RecsysError, match="1 answers are what the customer already has"):
        prepare_outside(Dataset.open(films), home, 5, OutsideTruth(tmp_path / "truth.parquet"))


def test_prepare_outside_one_answer_a_row_equals_lists(films: Path, home: Path, truth: Path, tmp_path: Path) -> None:
    flat = pl.read_parquet(truth).explode("product_id").sort("customer_id", descending=True)
    flat.write_parquet(tmp_path / "flat.parquet")
    dataset = Dataset.open(films)
    one = prepare_outside(dataset, home, 5, OutsideTruth(truth))
    other = prepare_outside(dataset, home, 5, OutsideTruth(tmp_path / "flat.parquet"))
    np.testing.assert_array_equal(one.exam.questions.relevant.values, other.exam.questions.relevant.values)
    np.testing.assert_array_equal(one.flags["even"], other.flags["even"])


def test_with_test_part_empty_test_part_the_split_moves_earlier(tmp_path: Path) -> None:
    bank = write_tiny_bank(tmp_path / "bank")
    end = bank.end()
    split = SplitConfig(validation_start=end - timedelta(days=20), test_start=end + timedelta(days=1))
    held = replace(bank, config=bank.config.model_copy(update={"split": split}))
    moved = with_test_part(held)
    before = assign_parts(held).collect()
    after = assign_parts(moved).collect()
    assert set(before.filter(pl.col("part") == str(Part.VALIDATION))["event_id"]) == set(
        after.filter(pl.col("part") == str(Part.TEST))["event_id"]
    )
    assert (after["part"] == str(Part.VALIDATION)).any()
    assert with_test_part(bank) is bank


def test_with_test_part_nothing_before_validation_is_refused(tmp_path: Path) -> None:
    bank = write_tiny_bank(tmp_path / "bank")
    early = bank.end() - timedelta(days=5000)
    split = SplitConfig(validation_start=early, test_start=bank.end() + timedelta(days=1))
    with pytest.raises(DatasetError, match="move the split's times earlier"):
        with_test_part(replace(bank, config=bank.config.model_copy(update={"split": split})))


def test_report_paired_differences_and_counts_of_short_lists(task: Task) -> None:
    rng = np.random.default_rng(0)
    relevant = np.zeros((len(task.customer_ids), FILMS), np.float32)
    relevant[task.exam.questions.asked.customer] = task.exam.questions.relevant.mask(np.arange(USERS), FILMS)
    costs = {"settings": {}, "tune_seconds": 0.0, "fit_seconds": 1.0, "peak_mb": 1.0, "learned_from": "train"}
    own = costs | {"fit_seconds": 100.0, "samples_per_second": 7.0}
    oracle = answer(task, lambda questions: relevant[questions.asked.customer], own)
    noise = answer(task, lambda questions: rng.random((len(questions), FILMS)), costs)
    none = Result(noise.metrics, np.full_like(noise.ranked, -1), noise.report)
    report = report_contest(Contest(task, {"model": oracle, "noise": noise, "none": none}, {}), EvaluationConfig(k=5))
    mean = float((oracle.metrics.ndcg - noise.metrics.ndcg).mean())
    assert report["differences"]["noise"]["all"]["mean"] == pytest.approx(mean)
    assert report["methods"]["model"]["ndcg@5"]["mean"] == 1
    assert (report["methods"]["none"]["short_lists"], report["methods"]["none"]["empty_lists"]) == (USERS, USERS)
    assert report["methods"]["none"]["novelty"] is None
    assert any("noise is 100 times faster to train" in note for note in report["notes"])
    shown = "\n".join(describe_benchmark({"dataset": "x", "measured_on": "y", **report}))
    assert max(len(line) for line in shown.splitlines() if not line.startswith("[yellow]note")) < 100
    assert "none: 40 lists, 40 empty" in shown
