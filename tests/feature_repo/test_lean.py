"""Feast is imported without what only costs time, and nobody else notices."""

import subprocess
import sys

PROGRAM = """
import sys, typeguard
before = typeguard.typechecked
from feature_repo.lean import import_feast
import_feast()
import feast
assert typeguard.typechecked is before
assert not {"duckdb", "ibis", "lightgbm", "torch", "torchrec"} & set(sys.modules)
feast.Entity(name="customer")
from feast.torch_wrapper import get_torch
assert get_torch().ones(2).sum() == 2  # who asks for tensors gets them
"""


def test_feast_is_imported_lean_and_typeguard_is_as_it_was() -> None:
    subprocess.run([sys.executable, "-c", PROGRAM], check=True, timeout=240)
