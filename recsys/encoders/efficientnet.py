"""EfficientNet-Lite0: the architecture for the packaged ImageNet weights.

Source: M. Tan, Q. Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks" (2019), and its lite
variant (https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite): no squeeze-and-excitation,
ReLU6, stem and head not scaled. Letters in shapes: B images, C channels, H height, W width.
"""

import re
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

IMAGE_SIZE = 224
FEATURE_DIM = 1280
CLASSES = 1000
_BATCH_NORM_EPSILON = 1e-3
"""TensorFlow's value, with which the weights were trained."""


class _Stage(NamedTuple):
    """Blocks of one resolution; the first of them has the stride and changes the channels."""

    repeats: int
    kernel: int
    stride: int
    expansion: int
    channels: int


_STEM_CHANNELS = 32
_STAGES = (
    _Stage(1, 3, 1, 1, 16),
    _Stage(2, 3, 2, 6, 24),
    _Stage(2, 5, 2, 6, 40),
    _Stage(3, 3, 2, 6, 80),
    _Stage(3, 5, 1, 6, 112),
    _Stage(4, 5, 2, 6, 192),
    _Stage(1, 3, 1, 6, 320),
)
_RENAMES = (
    (r"^_conv_stem\.", "stem.conv."),
    (r"^_bn0\.", "stem.norm."),
    (r"^_conv_head\.", "head.conv."),
    (r"^_bn1\.", "head.norm."),
    (r"^_fc\.", "classifier."),
    (r"^_blocks\.", "blocks."),
    (r"\._(expand|depthwise|project)_conv\.", r".\1.conv."),
    (r"\._bn0\.", ".expand.norm."),
    (r"\._bn1\.", ".depthwise.norm."),
    (r"\._bn2\.", ".project.norm."),
)
"""From the names in the weights' file to those of the modules below."""


class ConvolutionSpec(NamedTuple):
    """What a convolution with batch norm is made of."""

    inputs: int
    outputs: int
    kernel: int = 1
    stride: int = 1
    groups: int = 1
    activation: bool = True


class NormedConvolution(nn.Module):
    """Convolution with TensorFlow's "SAME" padding, batch norm, and ReLU6 unless it is a projection."""

    def __init__(self, spec: ConvolutionSpec) -> None:
        super().__init__()
        self.spec = spec
        # With stride 1 "SAME" is symmetric; with stride 2 the odd pixel goes to the right and bottom: see forward.
        self.conv = nn.Conv2d(
            spec.inputs,
            spec.outputs,
            spec.kernel,
            stride=spec.stride,
            padding=spec.kernel // 2 if spec.stride == 1 else 0,
            groups=spec.groups,
            bias=False,
        )
        self.norm: nn.Module = nn.BatchNorm2d(spec.outputs, eps=_BATCH_NORM_EPSILON)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """[B, C, H, W] -> [B, outputs, ceil(H / stride), ceil(W / stride)]."""
        if self.spec.stride > 1:
            (top, bottom), (left, right) = (self._padding(size) for size in images.shape[-2:])
            images = F.pad(images, (left, right, top, bottom))
        images = self.norm(self.conv(images))
        return F.relu6(images) if self.spec.activation else images

    def _padding(self, size: int) -> tuple[int, int]:
        outputs = -(-size // self.spec.stride)
        total = max((outputs - 1) * self.spec.stride + self.spec.kernel - size, 0)
        return total // 2, total - total // 2

    def fuse(self) -> None:
        """Folds the batch norm into the convolution: the same function in one pass over memory less."""
        if isinstance(self.norm, nn.BatchNorm2d):
            self.conv = fuse_conv_bn_eval(self.conv, self.norm)
            self.norm = nn.Identity()


class InvertedResidual(nn.Module):
    """Expand by 1 x 1, filter each channel, project by 1 x 1; added to the input where the shapes agree."""

    def __init__(self, inputs: int, stage: _Stage, stride: int) -> None:
        super().__init__()
        inner = inputs * stage.expansion
        self.expand = NormedConvolution(ConvolutionSpec(inputs, inner)) if stage.expansion > 1 else nn.Identity()
        self.depthwise = NormedConvolution(ConvolutionSpec(inner, inner, stage.kernel, stride, groups=inner))
        self.project = NormedConvolution(ConvolutionSpec(inner, stage.channels, activation=False))
        self.residual = stride == 1 and inputs == stage.channels

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """[B, inputs, H, W] -> [B, channels, H / stride, W / stride]."""
        outputs = self.project(self.depthwise(self.expand(images)))
        return images + outputs if self.residual else outputs


class EfficientNetLite0(nn.Module):
    """The network; `forward` gives pooled features, `classify` ImageNet logits."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = NormedConvolution(ConvolutionSpec(3, _STEM_CHANNELS, kernel=3, stride=2))
        blocks, channels = [], _STEM_CHANNELS
        for stage in _STAGES:
            for repeat in range(stage.repeats):
                blocks.append(InvertedResidual(channels, stage, stage.stride if repeat == 0 else 1))
                channels = stage.channels
        self.blocks = nn.Sequential(*blocks)
        self.head = NormedConvolution(ConvolutionSpec(channels, FEATURE_DIM))
        self.classifier = nn.Linear(FEATURE_DIM, CLASSES)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """[B, 3, 224, 224], values (pixel - 127) / 128 -> [B, 1280]."""
        return self.head(self.blocks(self.stem(images))).mean(dim=(2, 3))

    def classify(self, images: torch.Tensor) -> torch.Tensor:
        """[B, 3, 224, 224] -> [B, 1000] logits over ImageNet's classes."""
        return self.classifier(self(images))

    @classmethod
    def load(cls, weights: Path, *, fuse: bool = True) -> "EfficientNetLite0":
        """Reads the packaged weights (tensors only, every name must match) and folds the batch norms."""
        state = torch.load(weights, map_location="cpu", weights_only=True)
        network = cls()
        network.load_state_dict({_renamed(name): tensor for name, tensor in state.items()}, strict=True)
        network.eval().requires_grad_(False)
        if fuse:
            for module in network.modules():
                if isinstance(module, NormedConvolution):
                    module.fuse()
        return network


def _renamed(name: str) -> str:
    for pattern, replacement in _RENAMES:
        name = re.sub(pattern, replacement, name)
    return name
