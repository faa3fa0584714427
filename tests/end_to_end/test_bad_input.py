"""What each command says to input that cannot be used: a plain error, the exit code, and nothing half-written."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from serving.live_server import free_port
from tests.end_to_end.conftest import TrainedBank, run

Capture = pytest.CaptureFixture[str]
DONE, INPUT, CALL = 0, 1, 2
"""Exit codes: done, the input is at fault, the call is at fault."""


def state(*folders: Path) -> dict[str, int | None]:
    """Every path below the folders with the time of its last change; a folder that is not there has none."""
    return {
        str(path): None if path.is_dir() else path.stat().st_mtime_ns
        for folder in folders
        for path in [folder, *folder.rglob("*")]
        if path.exists()
    }


class Failing:
    """Runs a command that must fail, and checks what every failure has in common."""

    def __init__(self, capsys: Capture, scratch: Path) -> None:
        self._capsys = capsys
        self.scratch = scratch
        self.home = scratch / "home"

    def __call__(self, code: int, *arguments: str | Path, watched: tuple[Path, ...] = ()) -> str:
        """What it said, on one line. `watched` folders and the scratch folder stay as they were."""
        before = state(self.scratch, *watched)
        assert run(*arguments) == code
        assert state(self.scratch, *watched) == before
        captured = self._capsys.readouterr()
        assert captured.out == ""
        assert "Traceback" not in captured.err
        if code == INPUT:
            assert "error: " in captured.err
        return " ".join(captured.err.split())


@pytest.fixture
def failing(capsys: Capture, tmp_path: Path) -> Failing:
    return Failing(capsys, tmp_path)


def set_cell(bank: Path, table: str, column: str, value: Any) -> None:
    """Overwrites the first row's value."""
    file = bank / f"{table}.parquet"
    frame = pl.read_parquet(file)
    first = pl.int_range(pl.len()) == 0
    frame.with_columns(pl.when(first).then(pl.lit(value)).otherwise(pl.col(column)).alias(column)).write_parquet(file)


def drop_table(bank: Path) -> None:
    (bank / "events.parquet").unlink()


def wrong_type(bank: Path) -> None:
    file = bank / "transactions.parquet"
    pl.read_parquet(file).with_columns(amount=pl.lit("much")).write_parquet(file)


def duplicate_key(bank: Path) -> None:
    file = bank / "events.parquet"
    frame = pl.read_parquet(file)
    pl.concat([frame, frame[:1]]).write_parquet(file)


def unknown_customer(bank: Path) -> None:
    set_cell(bank, "events", "customer_id", "nobody")


def unknown_product(bank: Path) -> None:
    set_cell(bank, "events", "product_id", "nothing")


def corrupt_picture(bank: Path) -> None:
    name = pl.read_parquet(bank / "contents.parquet")["image_path"].drop_nulls()[0]
    (bank / name).write_bytes(b"no picture")


def no_parquet(bank: Path) -> None:
    (bank / "products.parquet").write_text("product_id,name\n")


def unknown_key(bank: Path) -> None:
    file = bank / "dataset.yaml"
    file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text()), "colour": "red"}))


def unreadable_yaml(bank: Path) -> None:
    (bank / "dataset.yaml").write_text("name: [bank")


BREACHES: list[tuple[Callable[[Path], None], str]] = [
    (drop_table, "events.parquet: required table is missing"),
    (wrong_type, "transactions.parquet: column amount"),
    (duplicate_key, "events.parquet: column event_id is a duplicate key"),
    (unknown_customer, "events.parquet: column customer_id names an unknown customer"),
    (unknown_product, "events.parquet: column product_id names an unknown product"),
    (corrupt_picture, "contents.parquet: column image_path names a file that is not an image"),
    (no_parquet, "products.parquet: is not a readable parquet file"),
    (unknown_key, "colour: unknown key"),
    (unreadable_yaml, "is not YAML"),
]


@pytest.mark.parametrize(("breach", "words"), BREACHES, ids=[breach.__name__ for breach, _ in BREACHES])
def test_broken_dataset_is_refused_by_every_command_that_reads_it(
    bank: Path, tmp_path: Path, capsys: Capture, breach: Callable[[Path], None], words: str
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(bank, broken)
    breach(broken)
    failing = Failing(capsys, tmp_path)
    for verb in ("features", "train"):
        assert words in failing(INPUT, "--home", failing.home, verb, broken)
    for arguments in (("evaluate", broken), ("recommend", broken, "--out", tmp_path / "recs.parquet")):
        failing(INPUT, "--home", failing.home, *arguments)
    before = state(tmp_path)
    assert run("validate", broken, "--json") == INPUT
    report = json.loads(capsys.readouterr().out)
    assert not report["ok"]
    assert any(words in finding for finding in report["findings"]), report["findings"]
    assert state(tmp_path) == before


def test_validate_names_all_findings_at_once(bank: Path, tmp_path: Path, capsys: Capture) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(bank, broken)
    breaches = (wrong_type, duplicate_key, unknown_product, corrupt_picture, unknown_key)
    for breach in breaches:
        breach(broken)
    assert run("validate", broken, "--json") == INPUT
    assert len(json.loads(capsys.readouterr().out)["findings"]) == len(breaches)
    assert run("validate", broken) == INPUT
    said = capsys.readouterr()
    assert said.out == ""
    assert f"{len(breaches)} finding(s)" in said.err


def test_home_of_a_good_state_survives_a_broken_one(trained: TrainedBank, failing: Failing) -> None:
    """A dataset that was sound when the champion was trained and is broken now changes nothing in the home."""
    broken = failing.scratch / "broken"
    shutil.copytree(trained.data, broken)
    duplicate_key(broken)
    for verb in ("features", "train"):
        said = failing(INPUT, "--home", trained.home, verb, broken, watched=(trained.home,))
        assert "is a duplicate key" in said


@pytest.mark.parametrize("verb", ["features", "train"])
@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--set", "nope=1", "--set: nope: unknown key"),
        ("--set", "loop.nope=1", "loop.nope: unknown key"),
        ("--set", "loop.epochs=many", "loop.epochs: Input should be a valid integer"),
        ("--set", "loop.epochs=0", "loop.epochs"),
        ("--set", "loop.epochs=[", "the value is not YAML"),
        ("--set", "loop", "is not key=value"),
        ("--config", "unknown_key.yaml", "unknown_key.yaml: nope: unknown key"),
        ("--config", "unreadable.yaml", "unreadable.yaml: is not YAML"),
        ("--config", "list.yaml", "list.yaml: must be a mapping"),
        ("--config", "missing.yaml", "missing.yaml: cannot be read"),
    ],
)
def test_bad_config_is_refused_before_anything_is_done(
    bank: Path, failing: Failing, verb: str, option: str, value: str, words: str
) -> None:
    for name, text in {"unknown_key": "nope: 1", "unreadable": "loop: {epochs: [1", "list": "- 1"}.items():
        (failing.scratch / f"{name}.yaml").write_text(text)
    given = failing.scratch / value if option == "--config" else value
    assert words in failing(INPUT, "--home", failing.home, verb, bank, option, given)


def test_no_champion_yet_says_to_train(bank: Path, failing: Failing) -> None:
    out = failing.scratch / "recs.parquet"
    for arguments in (("evaluate", bank), ("recommend", bank, "--out", out), ("serve", "--port", str(free_port()))):
        said = failing(INPUT, "--home", failing.home, *arguments)
        assert "no champion" in said
        assert "recsys train" in said


def test_features_without_champion_say_to_train(bank: Path, failing: Failing, trained: TrainedBank) -> None:
    """A home whose features are built and where nothing was promoted yet."""
    failing.home.mkdir()
    shutil.copytree(trained.home / "features", failing.home / "features")
    shutil.copy(trained.home / "home.yaml", failing.home / "home.yaml")
    said = failing(INPUT, "--home", failing.home, "serve", "--port", str(free_port()))
    assert "no champion" in said
    assert "recsys train" in said


def test_home_of_another_dataset_names_the_option(trained: TrainedBank, failing: Failing) -> None:
    other = failing.scratch / "other"
    shutil.copytree(trained.data, other)
    file = other / "dataset.yaml"
    file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text()), "name": "another-bank"}))
    out = failing.scratch / "recs.parquet"
    for arguments in (("features", other), ("train", other), ("evaluate", other), ("recommend", other, "--out", out)):
        said = failing(INPUT, "--home", trained.home, *arguments, watched=(trained.home,))
        assert "--home" in said
        assert "another-bank" in said


def test_dataset_that_changed_since_its_features_is_not_ranked(trained: TrainedBank, failing: Failing) -> None:
    changed = failing.scratch / "changed"
    shutil.copytree(trained.data, changed)
    file = changed / "events.parquet"
    pl.read_parquet(file)[:-1].write_parquet(file)
    home = failing.home
    shutil.copytree(trained.home, home)
    said = failing(INPUT, "--home", home, "recommend", changed, "--out", failing.scratch / "recs.parquet")
    assert "recsys features" in said


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (("--customers", "missing.txt"), "missing.txt: cannot be read"),
        (("--customers", "empty.txt"), "empty.txt: holds no id"),
        (("--customers", "strangers.txt"), "--customers names 1"),
        (("--candidates", "missing.txt"), "missing.txt: cannot be read"),
        (("--candidates", "strangers.txt"), "--candidates names 1 products"),
        (("--kind", "contents", "--candidates", "strangers.txt"), "--candidates names 1 contents"),
    ],
)
def test_recommend_bad_lists_of_ids_are_named(
    trained: TrainedBank, failing: Failing, option: tuple[str, ...], words: str
) -> None:
    (failing.scratch / "strangers.txt").write_text("nobody\n")
    (failing.scratch / "empty.txt").write_text("\n")
    given = [failing.scratch / part if part.endswith(".txt") else part for part in option]
    arguments = ["recommend", trained.data, "--out", failing.scratch / "recs.parquet", *given]
    assert words in failing(INPUT, "--home", trained.home, *arguments)


@pytest.mark.parametrize("verb", [("recommend", "--out"), ("evaluate", "--json")])
def test_output_that_cannot_be_written_is_found_first(
    trained: TrainedBank, failing: Failing, verb: tuple[str, str]
) -> None:
    (failing.scratch / "file").write_text("mine")
    (failing.scratch / "folder").mkdir()
    name, option = verb
    for out, words in (("file/recs.parquet", "cannot be written"), ("folder", "is a directory")):
        said = failing(INPUT, "--home", trained.home, name, trained.data, option, failing.scratch / out)
        assert words in said


def test_home_that_cannot_be_made_names_the_option(bank: Path, failing: Failing) -> None:
    file = failing.scratch / "file"
    file.write_text("mine")
    for arguments in (("features", bank), ("token", "--service", "tests")):
        assert "--home" in failing(INPUT, "--home", file, *arguments)


def test_simulate_and_import_leave_what_is_there_alone(bank: Path, failing: Failing) -> None:
    taken = failing.scratch / "taken"
    taken.mkdir()
    (taken / "mine.txt").write_text("mine")
    size = ("--customers", "20", "--products", "10", "--days", "30")
    for out in (taken, taken / "mine.txt", bank):
        assert "already exists and is not empty" in failing(INPUT, "simulate", "--out", out, *size, watched=(bank,))
    assert "cannot be written" in failing(INPUT, "simulate", "--out", taken / "mine.txt/bank", *size)
    assert "language" in failing(INPUT, "simulate", "--out", failing.scratch / "new", *size, "--language", "fr")
    assert "u.user" in failing(INPUT, "import", "movielens", taken, "--out", failing.scratch / "new")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("token",), "--customer"),
        (("token", "--customer", "c1", "--service", "s1"), "--customer"),
        (("nonsense",), "No such command"),
        (("train",), "Missing argument"),
        (("validate", "x", "--nonsense"), "No such option"),
        (("recommend", "x"), "--out"),
        (("recommend", "x", "--out", "y", "--kind", "nonsense"), "--kind"),
        (("recommend", "x", "--out", "y", "--k", "0"), "--k"),
        (("recommend", "x", "--out", "y", "--k", "many"), "--k"),
        (("serve", "--port", "99999"), "--port"),
        (("serve", "--workers", "0"), "--workers"),
        (("simulate", "--out", "x", "--customers", "1"), "--customers"),
        (("import", "nonsense"), "No such command"),
        (("demo", "--port", "0"), "--port"),
    ],
)
def test_bad_call_is_refused_with_two(failing: Failing, arguments: tuple[str, ...], words: str) -> None:
    assert words in failing(CALL, "--home", failing.home, *arguments)
