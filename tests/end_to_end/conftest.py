"""A campaign on the trained bank, and the fixtures of the running server."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.end_to_end.live import answers, customers, known, live
from tests.trained_bank import TrainedBank, run

__all__ = ["TrainedBank", "answers", "customers", "known", "live", "run"]

BUDGET = 3.0
"""Of the campaign: it binds."""
Planning = Callable[[dict[str, Any], Path], int]


def exporters_token(home: Path, scope: str = "campaigns:export") -> str:
    """Ann's."""
    from recsys.cli.workflows import issue_local_token
    from recsys.home import Home

    return issue_local_token(Home(home), None, "ann", [scope])


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
