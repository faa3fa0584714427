"""The written bank: the contract, the same bytes, parts, refusals."""

import hashlib
from pathlib import Path

import polars as pl
import pytest
from pydantic import ValidationError

from recsys.data.output import new_directory
from recsys.data.validation import validate
from recsys.errors import RecsysError
from recsys.simulator import SimulatorConfig, simulate
from recsys.testing.banks import tiny_bank_config

MINUTE = SimulatorConfig(customers=60, products=12, days=35, creatives_per_product=(1, 2), sent_pictures=12)


def hashes(folder: Path) -> dict[str, str]:
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def test_simulate_same_config_writes_same_bytes(tmp_path: Path) -> None:
    simulate(MINUTE, tmp_path / "one")
    simulate(MINUTE, tmp_path / "two")
    assert hashes(tmp_path / "one") == hashes(tmp_path / "two")


def test_simulate_other_seed_writes_another_bank(tmp_path: Path) -> None:
    simulate(MINUTE, tmp_path / "one")
    simulate(MINUTE.model_copy(update={"seed": 8}), tmp_path / "two")
    one, two = hashes(tmp_path / "one"), hashes(tmp_path / "two")
    assert one["events.parquet"] != two["events.parquet"]
    assert one["images/creatives/a00000.jpg"] != two["images/creatives/a00000.jpg"]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_simulate_writes_a_valid_dataset_with_all_tables(tmp_path: Path, language: str) -> None:
    config = SimulatorConfig.parse({**MINUTE.model_dump(), "language": language}, "test")
    report = simulate(config, tmp_path / "bank")
    found = validate(tmp_path / "bank")
    assert found.ok, found.findings
    undeclared = [
        note.split()[2] for note in found.notes if note.endswith("is neither canonical nor declared: ignored")
    ]
    assert sorted(undeclared) == ["birth_date", "sex"]  # for the fairness report, and for no model
    assert len(found.notes) == len(undeclared)
    assert {name: report.rows[name] for name in found.rows} == found.rows
    assert len(found.rows) == 8
    assert report.pictures == sum(1 for _ in (tmp_path / "bank" / "images").rglob("*.jpg"))


def test_tiny_bank_is_valid_and_has_what_a_model_needs(tmp_path: Path) -> None:
    simulate(tiny_bank_config(), tmp_path / "bank")
    assert validate(tmp_path / "bank").ok
    events = pl.read_parquet(tmp_path / "bank" / "events.parquet")
    assert {"impression", "click", "view", "apply", "convert", "dismiss"} <= set(events["event_type"])
    assert events["event_type"].eq("click").sum() > 500


def test_simulate_in_blocks_writes_parts_and_the_first_block_stays_the_same(tmp_path: Path) -> None:
    simulate(MINUTE, tmp_path / "one")
    blocks = MINUTE.model_copy(update={"customers": 130, "block_size": 60})
    simulate(blocks, tmp_path / "three")
    assert validate(tmp_path / "three").ok
    parts = sorted(file.name for file in (tmp_path / "three" / "events").iterdir())
    assert parts == ["part-00000.parquet", "part-00001.parquet", "part-00002.parquet"]
    first = pl.read_parquet(tmp_path / "three" / "events" / parts[0])
    assert first.equals(pl.read_parquet(tmp_path / "one" / "events.parquet"))
    customers = pl.read_parquet(tmp_path / "three" / "customers")["customer_id"]
    assert customers.n_unique() == 130
    assert (tmp_path / "three" / "truth" / "offers" / "part-00002.parquet").is_file()


def test_simulate_into_a_folder_with_something_in_it_is_refused_and_nothing_changes(tmp_path: Path) -> None:
    (tmp_path / "bank").mkdir()
    (tmp_path / "bank" / "mine.txt").write_text("keep")
    with pytest.raises(RecsysError, match="already exists and is not empty: choose another --out"):
        simulate(MINUTE, tmp_path / "bank")
    assert [file.name for file in tmp_path.rglob("*")] == ["bank", "mine.txt"]


def test_simulate_into_an_empty_folder_fills_it(tmp_path: Path) -> None:
    (tmp_path / "bank").mkdir()
    simulate(MINUTE, tmp_path / "bank")
    assert (tmp_path / "bank" / "dataset.yaml").is_file()


def test_new_directory_after_an_interrupt_leaves_nothing(tmp_path: Path) -> None:
    def interrupted() -> None:
        with new_directory(tmp_path / "bank") as folder:
            (folder / "half.parquet").write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "wrong",
    [{"products": 5}, {"customers": 0}, {"validation_share": 0.95}, {"creatives_per_product": (8, 4)}, {"seeds": 1}],
)
def test_config_out_of_bounds_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        SimulatorConfig.model_validate(wrong)
