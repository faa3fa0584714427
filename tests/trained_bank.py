"""One small bank, built and trained once by the command line itself; its fixtures are every test's (`conftest.py`)."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest


@dataclass(frozen=True)
class TrainedBank:
    """A dataset, its home, and what `recsys train --json` printed."""

    data: Path
    home: Path
    result: dict[str, Any]


def run(*arguments: str | Path) -> int:
    """Runs the command line in this process and returns its exit code."""
    from recsys.cli.app import main

    with pytest.raises(SystemExit) as exit_info:
        main([str(argument) for argument in arguments])
    return int(exit_info.value.code or 0)


@pytest.fixture(scope="session")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from recsys.simulator import SimulatorConfig, simulate

    out = tmp_path_factory.mktemp("bank") / "data"
    config = SimulatorConfig(customers=1000, products=24, days=120, creatives_per_product=(2, 4), sent_pictures=48)
    simulate(config, out)  # large enough for the test part to hold some hundred acquisitions
    return out


@pytest.fixture(scope="session")
def trained(bank: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainedBank:
    home = tmp_path_factory.mktemp("home") / "state"
    file = tmp_path_factory.mktemp("out") / "train.json"
    settings = ["--set", "loop.epochs=8", "--set", "loop.patience=8"]
    with file.open("w") as handle, pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdout", handle)
        assert run("--home", home, "train", bank, "--json", *settings) == 0
    return TrainedBank(bank, home, json.loads(file.read_text()))


@pytest.fixture(scope="session")
def champion(trained: TrainedBank) -> TrainedBank:
    from tests.end_to_end.champions import crown

    crown(trained.home, trained.result["version"])
    return trained
