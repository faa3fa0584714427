"""`recsys audit verify`: what it prints, and how it exits. Replay and why-not need a champion: see end_to_end."""

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from recsys.cli.app import app, main
from serving.decision_log import JOURNAL_FOLDER, encode
from serving.journal import Journal
from serving.store.database import open_store, sqlite_url
from serving.store.decisions import DecisionEntry, DecisionStore

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def entry(number: int) -> DecisionEntry:
    payload = {"customer_id": "anna", "salt": str(number)}
    return DecisionEntry.build({"decision_id": f"d{number}"}, payload, None, NOW)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    with open_store(sqlite_url(tmp_path)) as store:
        DecisionStore(store).append([entry(number) for number in range(5)])
    return tmp_path


def run(*arguments: str | Path) -> int:
    with pytest.raises(SystemExit) as exit_info:
        main([str(argument) for argument in arguments])
    return int(exit_info.value.code or 0)


def test_audit_verify_whole_log_prints_an_anchor_that_it_takes_back(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--home", home, "audit", "verify", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["ok"], found["rows"], found["erased"]) == (True, 5, 0)
    assert run("--home", home, "audit", "verify", "--anchor", found["anchor"]) == 0
    assert found["anchor"] in capsys.readouterr().err.replace("\n", "")


def test_audit_verify_changed_row_is_named_and_exits_with_one(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with open_store(sqlite_url(home)) as store, store.writing() as connection:
        connection.exec_driver_sql("DROP TRIGGER decisions_keep")
        connection.exec_driver_sql("UPDATE decisions SET record = replace(record, 'd2', 'd9') WHERE sequence = 3")
    assert run("--home", home, "audit", "verify") == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "row 3 (decision d2): the row was changed" in said
    assert run("--home", home, "audit", "verify", "--json") == 1
    assert json.loads(capsys.readouterr().out)["finding"]["sequence"] == 3


def test_audit_verify_brings_in_what_a_dead_server_left(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    journal = Journal(home / JOURNAL_FOLDER)
    asyncio.run(journal.append(encode(entry(7))))
    journal.close()
    journal.remove()
    assert run("--home", home, "audit", "verify", "--json") == 0
    assert json.loads(capsys.readouterr().out)["rows"] == 6


def test_audit_verify_bad_anchor_or_home_is_a_plain_error(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--home", home, "audit", "verify", "--anchor", "nonsense") == 1
    assert "is no anchor" in capsys.readouterr().err
    assert run("--home", tmp_path / "new", "audit", "verify") == 1
    assert "nothing was decided there yet" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("verb", ["verify", "replay", "why-not", "explain"])
def test_audit_help_has_an_example(verb: str) -> None:
    result = CliRunner().invoke(app, ["audit", verb, "--help"])
    assert result.exit_code == 0
    assert "Example: recsys audit" in result.output
