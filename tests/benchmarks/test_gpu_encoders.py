"""The packaged encoders on a GPU, in the precision that is chosen there, beside the CPU in float32.

python -m pytest -m benchmark -s tests/benchmarks/test_gpu_encoders.py
"""

import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from recsys.encoders.image import ImageEncoderConfig, build_image_encoder
from recsys.encoders.runtime import Precision, choose_runtime
from recsys.encoders.text import TextEncoderConfig, build_text_encoder

pytestmark = [
    pytest.mark.benchmark,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU: torch.cuda.is_available() is false"),
]
WORDS = (
    "account",
    "saving",
    "mortgage",
    "loan",
    "card",
    "interest",
    "travel",
    "pension",
    "fund",
    "house",
    "rate",
    "fee",
)


def _compare(
    build: Callable[[Precision], Any], inputs: Sequence[Any], monkeypatch: pytest.MonkeyPatch
) -> tuple[np.ndarray, dict[str, float]]:
    """[N] cosine of each row's two vectors, and inputs a second of the GPU and of the CPU."""
    vectors, speeds = {}, {}
    for device, precision in (("cuda", Precision.AUTO), ("cpu", Precision.FLOAT32)):
        with monkeypatch.context() as patch:
            patch.setattr("torch.cuda.is_available", lambda device=device: device == "cuda")
            assert choose_runtime(precision).device.type == device
            encoder = build(precision)
            encoder.encode(inputs)
            started = time.perf_counter()
            vectors[device] = encoder.encode(inputs)
            speeds[device] = len(inputs) / (time.perf_counter() - started)
    return (vectors["cuda"] * vectors["cpu"]).sum(axis=1), speeds


def test_texts_on_the_gpu_have_the_vectors_of_the_cpu(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(WORDS, rng.integers(2, 60))) for _ in range(2000)]

    def build(precision: Precision) -> Any:
        return build_text_encoder(TextEncoderConfig(precision=precision, batch_size=256))

    cosine, speeds = _compare(build, texts, monkeypatch)
    with capsys.disabled():
        sys.stdout.write(f"\ntexts: lowest cosine {cosine.min():.5f}, a second {speeds}\n")
    assert cosine.min() > 0.999


def test_pictures_on_the_gpu_have_the_vectors_of_the_cpu(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (256, 9, 9, 3), dtype=np.uint8)
    pictures = [Image.fromarray(pixels).resize((320, 240)) for pixels in small]

    def build(precision: Precision) -> Any:
        return build_image_encoder(ImageEncoderConfig(precision=precision))

    cosine, speeds = _compare(build, pictures, monkeypatch)
    with capsys.disabled():
        sys.stdout.write(f"\npictures: lowest cosine {cosine.min():.5f}, a second {speeds}\n")
    assert cosine.min() > 0.99
