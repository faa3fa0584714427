"""One small bank, built and trained once by the command line itself."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from recsys.cli.app import main
from recsys.simulator import SimulatorConfig, simulate
from tests.end_to_end.champions import crown

BUDGET = 3.0
"""Of the campaign: it binds."""
Planning = Callable[[dict[str, Any], Path], int]


@dataclass(frozen=True)
class TrainedBank:
    """A dataset, its home, and what `recsys train --json` printed."""

    data: Path
    home: Path
    result: dict[str, Any]


def run(*arguments: str | Path) -> int:
    """Runs the command line in this process and returns its exit code."""
    with pytest.raises(SystemExit) as exit_info:
        main([str(argument) for argument in arguments])
    return int(exit_info.value.code or 0)


@pytest.fixture(scope="session")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Path:
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
    crown(trained.home, trained.result["version"])
    return trained


@pytest.fixture(scope="session")
def values(champion: TrainedBank, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    file = tmp_path_factory.mktemp("brief") / "brief.yaml"
    assert run("--home", champion.home, "campaign", "example", "--out", file) == 0
    read: dict[str, Any] = yaml.safe_load(file.read_text())
    sent = [{**channel, "delivery": "message"} for channel in read["channels"]]  # in the app too: see its own tests
    return {**read, "budget": BUDGET, "channels": sent}


@pytest.fixture(scope="session")
def plan_it(champion: TrainedBank) -> Planning:
    def plan(values: dict[str, Any], out: Path) -> int:
        file = out.with_suffix(".yaml")
        file.write_text(yaml.safe_dump(values))
        return run("--home", champion.home, "campaign", "plan", file, "--out", out)

    return plan


@pytest.fixture(scope="session")
def planned(values: dict[str, Any], plan_it: Planning, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("plans") / "plan"
    assert plan_it(values, out) == 0
    return out
