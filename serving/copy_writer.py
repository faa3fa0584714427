"""Opens the language model that a bank lets rewrite copy, from a file that says which."""

from pathlib import Path
from typing import Any

from recsys.campaigns.content.causal_writer import CausalWriter, CausalWriterConfig
from recsys.campaigns.content.rewriting import Writer
from recsys.config import read_yaml
from recsys.errors import ConfigError
from serving.copy_endpoint import EndpointConfig, EndpointWriter
from serving.settings import Settings


def open_writer(file: Path, settings: Settings) -> Writer:
    """The writer of a file.

    A YAML file with `model` and perhaps `gguf_file`, `max_new_tokens`, `timeout` is a causal model of transformers; one
    with a `url` too is an OpenAI-compatible endpoint, with perhaps `timeout` and `max_tokens`. Its key is no business
    of a file: it comes from the environment, as RECSYS_COPY_KEY.

    Raises:
        ConfigError: the file cannot be read, or a key in it is unknown, or holds a secret.
        ModelError: the model cannot be loaded.
    """
    values: dict[str, Any] = read_yaml(file)
    if "key" in values:
        raise ConfigError(f"{file}: key", "a secret does not belong into a file: set RECSYS_COPY_KEY instead")
    if "url" not in values:
        return CausalWriter(CausalWriterConfig.parse(values, source=str(file)))
    config = EndpointConfig.parse(values, source=str(file))
    return EndpointWriter(config.model_copy(update={"key": settings.copy_key}))
