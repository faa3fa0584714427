"""What every test starts from: one torch thread, because two cores serve several processes, and no network."""

import os
import sys
from collections.abc import Iterator

import pytest

from tests.trained_bank import bank, champion, trained

__all__ = ["bank", "champion", "trained"]

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Small tensors lose more by sharing out the work than they win."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def denormals_as_usual() -> Iterator[None]:
    """Training flushes denormals for the whole process, which hypothesis rightly refuses to draw floats under."""
    yield
    if "torch" in sys.modules:
        sys.modules["torch"].set_flush_denormal(False)
