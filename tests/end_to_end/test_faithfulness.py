"""Reasons of a trained champion on the simulated bank, measured by the command."""

import json
from pathlib import Path

import pytest

from tests.end_to_end.conftest import TrainedBank, run


@pytest.mark.slow
def test_faithfulness_of_the_champion_is_above_zero(
    trained: TrainedBank, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "faithfulness.json"
    arguments = ("faithfulness", trained.data, "--customers", "120", "--draws", "4", "--json", file)
    assert run("--home", trained.home, *arguments) == 0
    report = json.loads(file.read_text())
    assert report["faithful"]
    assert report["customers"] > 60
    assert len(report["by_code"]) >= 4
    assert report["by_rank"]["1"]["low"] > 0
    assert "faithful" in capsys.readouterr().err


def test_faithfulness_of_a_home_without_a_champion_is_a_plain_error(
    bank: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--home", tmp_path / "new", "faithfulness", bank) == 1
    assert "no champion" in " ".join(capsys.readouterr().err.split())
