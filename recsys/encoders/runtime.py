"""What an encoder runs on: device and precision."""

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import torch

_FAST_BF16 = ("avx512_bf16", "amx_bf16")
"""CPU features with which bf16 was measured faster than float32 (MiniLM 3.2x, EfficientNet-Lite0 2.6x)."""
_SMALLEST_NORM = 1e-12


class Precision(StrEnum):
    """The number format of an encoder's weights and activations."""

    AUTO = "auto"
    """bf16 where the hardware has it, else float32."""
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


class Runtime(NamedTuple):
    """Where and in which number format a model runs."""

    device: "torch.device"
    dtype: "torch.dtype"


def choose_runtime(precision: Precision) -> Runtime:
    """The GPU where there is one, else the CPU; and the number format."""
    import torch

    cuda = torch.cuda.is_available()
    if precision is Precision.AUTO:
        capabilities = {} if cuda else torch.cpu.get_capabilities()
        quick = torch.cuda.is_bf16_supported() if cuda else any(capabilities.get(name) for name in _FAST_BF16)
        precision = Precision.BFLOAT16 if quick else Precision.FLOAT32
    return Runtime(torch.device("cuda" if cuda else "cpu"), getattr(torch, precision.value))


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """Divides each row by its Euclidean length; a row of zeros stays as it is. [N, D] float -> [N, D] float32."""
    vectors = np.asarray(vectors, dtype=np.float32)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.maximum(norms, _SMALLEST_NORM)
