"""One small bank, built and trained once by the command line itself; its fixtures are every test's (`conftest.py`).

Where pytest-xdist runs several workers, the first that asks trains for all of them, and each works on a copy.
"""

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock


@dataclass(frozen=True)
class TrainedBank:
    """A dataset, its home, and what `recsys train --json` printed."""

    data: Path
    home: Path
    """A copy, to work on."""
    result: dict[str, Any]
    first: Path
    """The home as `recsys train` left it, for all workers: nothing is written to it."""


def run(*arguments: str | Path) -> int:
    """Runs the command line in this process and returns its exit code."""
    from recsys.cli.app import main

    with pytest.raises(SystemExit) as exit_info:
        main([str(argument) for argument in arguments])
    return int(exit_info.value.code or 0)


def _of_all_workers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all workers of this run see, and no other run."""
    own = tmp_path_factory.getbasetemp()
    shared = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "trained_bank"
    shared.mkdir(exist_ok=True)
    return shared


@pytest.fixture(scope="session")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from recsys.simulator import SimulatorConfig, simulate

    shared = _of_all_workers(tmp_path_factory)
    out = shared / "data"
    config = SimulatorConfig(customers=1000, products=24, days=120, creatives_per_product=(2, 4), sent_pictures=48)
    with FileLock(shared / "data.lock"):
        if not out.exists():
            simulate(config, out)  # large enough for the test part to hold some hundred acquisitions
    return out


@pytest.fixture(scope="session")
def trained(bank: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainedBank:
    shared = _of_all_workers(tmp_path_factory)
    first, file = shared / "state", shared / "train.json"
    with FileLock(shared / "train.lock"):
        if not file.exists():
            printed = file.with_suffix(".part")
            settings = ["--set", "loop.epochs=8", "--set", "loop.patience=8"]
            with printed.open("w") as handle, pytest.MonkeyPatch.context() as patch:
                patch.setattr("sys.stdout", handle)
                assert run("--home", first, "train", bank, "--json", *settings) == 0
            printed.rename(file)
    home = tmp_path_factory.mktemp("home") / "state"
    shutil.copytree(first, home)
    return TrainedBank(bank, home, json.loads(file.read_text()), first)


@pytest.fixture(scope="session")
def champion(trained: TrainedBank) -> TrainedBank:
    from tests.end_to_end.champions import crown

    crown(trained.home, trained.result["version"])
    return trained
