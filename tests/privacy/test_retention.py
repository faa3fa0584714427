import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from sqlalchemy import insert, select

from recsys.encoders.cache import EncodingCache
from recsys.encoders.text import TextEncoderConfig, build_text_encoder
from serving.store.database import open_store, sqlite_url
from serving.store.tables import contacts, decision_features, decisions, events
from serving.store.verification import verify
from tests.privacy.conftest import World, fill_store, run

NOW = datetime(2027, 1, 1, tzinfo=UTC)


def retain(world: World, *options: str) -> int:
    return run("--home", world.home, "retention", "--now", NOW.isoformat(), *options)


def age(path: Path, days: float) -> None:
    moment = (NOW - timedelta(days=days)).timestamp()
    os.utime(path, (moment, moment))


@pytest.fixture
def aged(world: World) -> World:
    """Rows on both sides of every limit; the events and decisions of `made` are 306 days old."""
    with open_store(sqlite_url(world.home)) as store:
        fill_store(store, "old", NOW - timedelta(days=1826))
        with store.writing() as connection:
            for number, days in enumerate((364, 366)):
                row = {"contact_id": str(number), "customer_id": "c1", "channel": "email", "category": ""}
                connection.execute(insert(contacts), row | {"contacted_at": NOW - timedelta(days=days)})
    for name, days in {"new.log": 89.0, "old.log": 91.0}.items():
        (world.home / "logs" / name).write_text("a line\n")
        age(world.home / "logs" / name, days)
    age(world.home / "logs" / "server.log", 1)
    for path in (world.home / "runs" / "abc" / "selection.checkpoint", world.home / "runs" / "abc"):
        age(path, 31)
    return world


def test_retention_deletes_what_is_past_its_time_and_nothing_else(
    aged: World, capsys: pytest.CaptureFixture[str]
) -> None:
    assert retain(aged, "--json") == 0
    gone = {row["kind"]: row["removed"] for row in json.loads(capsys.readouterr().out)["expired"]}
    assert gone == {"events": 1, "contacts": 1, "decisions": 1, "encodings": 0, "logs": 1, "runs": 1}
    with open_store(sqlite_url(aged.home)) as store, store.reading() as connection:
        assert set(connection.scalars(select(events.c.customer_id))) == {aged.customer, aged.other}
        assert list(connection.scalars(select(contacts.c.contact_id))) == ["0"]
        rows = connection.execute(select(decisions).order_by(decisions.c.sequence)).mappings().all()
        assert [row["customer_id"] for row in rows] == [aged.customer, aged.other, None]
        assert rows[2]["payload"] is None
        assert verify(store).finding is None
        assert set(connection.scalars(select(decision_features.c.customer_id))) == {aged.customer, aged.other}
    assert {path.name for path in (aged.home / "logs").iterdir()} == {"new.log", "server.log"}
    assert not (aged.home / "runs" / "abc").exists()


def test_retention_dry_run_says_the_same_and_changes_nothing(aged: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert retain(aged, "--json", "--dry-run") == 0
    first = json.loads(capsys.readouterr().out)["expired"]
    assert retain(aged, "--json", "--dry-run") == 0
    assert json.loads(capsys.readouterr().out)["expired"] == first
    assert retain(aged, "--json") == 0
    assert json.loads(capsys.readouterr().out)["expired"] == first
    assert retain(aged, "--json") == 0
    assert not any(row["removed"] for row in json.loads(capsys.readouterr().out)["expired"])


def test_retention_limits_come_from_the_file(aged: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "days.yaml").write_text("{events: 300, contacts: 9999, decisions: 300, logs: 9999, runs: 9999}")
    assert retain(aged, "--json", "--config", str(tmp_path / "days.yaml")) == 0
    gone = {row["kind"]: row["removed"] for row in json.loads(capsys.readouterr().out)["expired"]}
    assert gone == {"events": 3, "contacts": 0, "decisions": 3, "encodings": 0, "logs": 0, "runs": 0}


def test_retention_forgets_encodings_that_no_table_needs(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    encoder = build_text_encoder(TextEncoderConfig())
    before = _keys(world.home)
    EncodingCache(world.home / "encodings").texts(["a text of a message that is gone"], encoder)
    parts = list((world.home / "encodings").rglob("*.parquet"))
    for part in parts:
        age(part, 29)
    assert retain(world, "--json") == 0
    assert _keys(world.home) > before, "too young"
    for part in parts:
        age(part, 31)
    capsys.readouterr()
    assert retain(world, "--json") == 0
    gone = {row["kind"]: row["removed"] for row in json.loads(capsys.readouterr().out)["expired"]}
    assert gone["encodings"] == 1
    assert _keys(world.home) == before
    assert set(np.load(world.home / "features" / "encodings.npy").tolist()) == before


def _keys(home: Path) -> set[bytes]:
    parts = (home / "encodings").rglob("*.parquet")
    return {key.rstrip(b"\0") for part in parts for key in pq.read_table(part)["key"].to_pylist()}


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (lambda _: ["--now", "yesterday"], 2),
        (lambda _: ["--now", "2027-01-01"], 2),
        (lambda folder: ["--config", str(folder / "absent.yaml")], 1),
        (lambda folder: ["--config", str(_yaml(folder, "{events: 0}"))], 1),
        (lambda folder: ["--config", str(_yaml(folder, "{colours: 3}"))], 1),
    ],
)
def test_retention_bad_calls_are_refused(
    world: World, tmp_path: Path, options: Callable[[Path], list[str]], code: int
) -> None:
    assert run("--home", world.home, "retention", *options(tmp_path)) == code


def test_retention_of_an_empty_home_is_refused(tmp_path: Path) -> None:
    assert run("--home", tmp_path / "nowhere", "retention") == 1
    assert not (tmp_path / "nowhere").exists()


def _yaml(folder: Path, text: str) -> Path:
    file = folder / "days.yaml"
    file.write_text(text)
    return file
