"""What a measurement runs on where no home is named: the small trained bank of the end-to-end tests."""

import shutil
from pathlib import Path

import pytest

from tests.end_to_end.champions import crown
from tests.trained_bank import TrainedBank


@pytest.fixture
def champion_home(trained: TrainedBank, tmp_path: Path) -> Path:
    home = tmp_path / "champion"
    shutil.copytree(trained.home, home)
    crown(home, trained.result["version"])
    return home
