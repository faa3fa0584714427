"""What a GPU wants done in another way than the CPU. Letters: N rows of a table, D dimensions."""

import torch
from torch import Tensor
from torch.nn import functional as F

_STAGED_BYTES = 1 << 16
"""Up to so many, a copy from pageable memory returns before the device has come to it."""


def to_device(values: Tensor, device: torch.device) -> Tensor:
    """The tensor on `device`; the copy to a GPU is queued behind its work, so that the host need not wait for it.

    What is small is staged at once; a larger copy is queued only from pinned memory
    (https://docs.nvidia.com/cuda/cuda-runtime-api/api-sync-behavior.html).
    """
    if device.type != "cuda" or values.is_cuda:
        return values.to(device)
    return (values if values.nbytes <= _STAGED_BYTES else values.pin_memory()).to(device, non_blocking=True)


def take_rows(table: Tensor, index: Tensor) -> Tensor:
    """Rows of a table, [N, D] and [...] int64 to [..., D]; -1 is the last.

    Where many entries name one row, as most do here, indexing's gradient adds them up one after another on a GPU: the
    time buckets of a batch took 10 ms of an H100, and 0.5 ms as an embedding. On the CPU it is indexing that is fast.
    """
    return F.embedding(index.remainder(len(table)), table) if table.is_cuda else table[index]
