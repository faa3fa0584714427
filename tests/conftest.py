"""What every test starts from: one torch thread, because two cores serve several processes, and no network."""

import os

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Small tensors lose more by sharing out the work than they win."""
    import torch

    torch.set_num_threads(1)
