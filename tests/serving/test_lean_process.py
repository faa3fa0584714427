"""A process that serves has no torch in it: 190 MB a worker, for what numpy does sooner."""

import subprocess
import sys
from pathlib import Path

from tests.trained_bank import TrainedBank

ANSWERS = """
import sys
from pathlib import Path
from serving.champion import load_components
from serving.settings import Settings

components = load_components(Settings(home=Path(sys.argv[1])))  # decides for several customers, to be warm
assert components.features.read_customer("c0000000") is not None
print("torch" in sys.modules, "torchrec" in sys.modules)
"""
ASKS_FOR_TENSORS = """
import sys
from feature_repo.lean import import_feast

import_feast()
before = "torch" in sys.modules
from feast.torch_wrapper import get_torch

print(before, get_torch().ones(2).sum().item())
"""


def run(script: str, *arguments: str | Path) -> str:
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip().splitlines()[-1]


def test_serving_loads_reads_and_decides_without_torch(trained: TrainedBank) -> None:
    assert run(ANSWERS, trained.home) == "False False"


def test_feast_without_torch_still_gives_it_to_who_asks() -> None:
    assert run(ASKS_FOR_TENSORS) == "False 2.0"
