"""Where frozen weights come from: a package that is installed, a local folder, or the hub's cache; and their hash."""

import hashlib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from recsys.errors import ConfigError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

_MODEL_FILES = ("*.json", "*.txt", "*.model", "*.safetensors")
"""What a model is made of. Pickled weights (`*.bin`) are left out: reading them may run code."""
_CHUNK_BYTES = 1 << 22


class ModelFolder(NamedTuple):
    """A model that transformers can load without the network."""

    path: Path
    name: str
    """What the user called it, fit for a file name."""


def packaged_path(package: str, *parts: str) -> Path:
    """The path of a file or folder that an installed package carries; the package is not imported.

    Raises:
        ConfigError: the package is not installed, or carries no such file.
    """
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        distribution = package.replace("_", "-")
        raise ConfigError("encoders", f"the package {distribution} is not installed: run `make install`")
    path = Path(spec.submodule_search_locations[0], *parts)
    if not path.exists():
        raise ConfigError("encoders", f"the package {package} has no {'/'.join(parts)}: install the pinned version")
    return path


def resolve_model(model: str) -> ModelFolder:
    """Finds a model that the user named: a local folder, else a hub id, optionally `id@revision`.

    The hub's local cache is asked first, so that a frozen encoder stays what it was and needs no network; only a model
    that is not there yet is downloaded.

    Raises:
        ConfigError: there is no such folder, and no such model in the cache or on the hub.
    """
    folder = Path(model).expanduser()
    if folder.is_dir():
        return ModelFolder(folder, slug(folder.resolve().name))
    if model.startswith((".", "/", "~")):
        raise ConfigError("encoders", f"there is no model folder {model}")
    return ModelFolder(_hub_snapshot(model), slug(model))


def _hub_snapshot(model: str) -> Path:
    """The folder of a hub model, from the cache or else downloaded into it."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    repository, _, revision = model.partition("@")
    wanted: dict[str, Any] = {"revision": revision or None, "allow_patterns": list(_MODEL_FILES)}
    wanted["ignore_patterns"] = ["*/*"]  # what lies in folders are exports to other formats
    try:
        try:
            return Path(snapshot_download(repository, local_files_only=True, **wanted))
        except LocalEntryNotFoundError:
            return Path(snapshot_download(repository, **wanted))
    except (HFValidationError, OSError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ConfigError(
            "encoders",
            f"`{model}` is neither a packaged encoder, nor a local folder, nor a model that can be had from the hub "
            f"({reason}): name a folder that holds the model, or download it first",
        ) from error


def model_digest(paths: Sequence[Path], settings: str) -> str:
    """12 hex digits over the files' names and contents and over `settings`: what makes two encoders differ.

    `settings` holds what changes vectors beside the weights, such as the pooling and the truncation. The precision is
    not among them, so that a cache and a bundle may move between machines: bf16 and float32 agree to a cosine of 0.9999
    for texts (MiniLM) and of 0.995 for pictures (EfficientNet-Lite0, film posters), both the lowest of some hundreds.
    """
    digest = hashlib.blake2b(settings.encode(), digest_size=6)
    for path in sorted(paths, key=lambda path: path.name):
        digest.update(path.name.encode() + b"\0")
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
    return digest.hexdigest()


def model_files(folder: Path) -> list[Path]:
    """The files of a model folder that decide what it computes."""
    return [path for pattern in _MODEL_FILES for path in folder.glob(pattern) if path.is_file()]


def slug(name: str) -> str:
    """A name fit for a folder.

    >>> slug("google/SigLIP-base@v1")
    'google-siglip-base-v1'
    """
    return re.sub(r"[^a-z0-9._]+", "-", name.lower()).strip("-.") or "model"


def load_transformer(folder: ModelFolder, device: "torch.device", dtype: "torch.dtype") -> "PreTrainedModel":
    """Loads any `AutoModel` from safetensors, in evaluation mode, with no gradients and no code of the repository.

    Transformers fills weights that the file lacks with random numbers. A pooler that is not there is common, and is
    taken out; anything else that is not there is refused.

    Raises:
        ConfigError: the folder holds no model that transformers can load, or only a part of one.
    """
    from transformers import AutoModel

    with loading(folder):
        model, report = AutoModel.from_pretrained(
            folder.path, local_files_only=True, use_safetensors=True, dtype=dtype, output_loading_info=True
        )
    missing = sorted(report["missing_keys"])
    if any(name.startswith("pooler.") for name in missing):
        model.pooler = None
    lacking = [name for name in missing if not name.startswith("pooler.")]
    if lacking:
        problem = f"the weights in {folder.path} lack {len(lacking)} tensors of the model, such as {lacking[0]}"
        raise ConfigError("encoders", f"{problem}: save the whole model again")
    return model.eval().requires_grad_(False).to(device)


@contextmanager
def loading(folder: ModelFolder) -> Iterator[None]:
    """Keeps transformers' own bars and notes off the screen, and turns what it raises into a ConfigError."""
    from transformers.utils import logging

    bars, verbosity = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, ImportError, RuntimeError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ConfigError(
            "encoders",
            f"the model in {folder.path} cannot be loaded ({reason}): it needs config.json, model.safetensors and the "
            "tokenizer's or image processor's files of a model that transformers knows",
        ) from error
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
