"""What a GPU wants done in another way than the CPU. Letters: N rows of a table, D dimensions."""

import torch
from torch import Tensor
from torch.nn import functional as F


def to_device(values: Tensor, device: torch.device) -> Tensor:
    """The tensor on `device`; the copy to a GPU is queued behind its work, so that the host need not wait for it.

    Only copies from pinned memory are queued (https://docs.pytorch.org/docs/stable/notes/cuda.html, Use pinned memory
    buffers); a copy from any other waits until all that was queued before is done.
    """
    if device.type == "cuda" and values.device.type == "cpu":
        return values.pin_memory().to(device, non_blocking=True)
    return values.to(device)


def take_rows(table: Tensor, index: Tensor) -> Tensor:
    """Rows of a table, [N, D] and [...] int64 to [..., D]; -1 is the last.

    Where many entries name one row, as most do here, indexing's gradient adds them up one after another on a GPU: the
    time buckets of a batch took 10 ms of an H100, and 0.5 ms as an embedding. On the CPU it is indexing that is fast.
    """
    return F.embedding(index.remainder(len(table)), table) if table.is_cuda else table[index]
