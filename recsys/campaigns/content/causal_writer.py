"""A writer from any causal language model that transformers loads: a folder, a hub id, or a GGUF file in a folder."""

from typing import Any

from pydantic import Field

from recsys.config import BaseConfig
from recsys.errors import ModelError


class CausalWriterConfig(BaseConfig):
    """Which model, and how long it may write."""

    model: str
    """A folder, or an id of a hub that the bank runs."""
    gguf_file: str | None = None
    """File in `model` where the weights are GGUF (needs the packages gguf and accelerate)."""
    max_new_tokens: int = Field(default=200, ge=1, le=2000)
    timeout: float = Field(default=60.0, gt=0)
    """Seconds an answer may take; what is written by then is the answer."""


class CausalWriter:
    """Writes greedily, so that the same prompt gives the same text."""

    def __init__(self, config: CausalWriterConfig) -> None:
        """Loads the model.

        Raises:
            ModelError: it cannot be loaded.
        """
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self._config = config
        extra = {"gguf_file": config.gguf_file} if config.gguf_file else {}
        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(config.model, **extra)
            self._model: Any = AutoModelForCausalLM.from_pretrained(config.model, **extra).eval()
        except (OSError, ValueError, ImportError) as error:
            raise ModelError(f"the language model `{config.model}` cannot be loaded: {error}") from error

    def write(self, prompt: str) -> str:
        """The model's answer to `prompt`, through its chat template where it has one."""
        import torch

        text = prompt
        if self._tokenizer.chat_template:
            turns = [{"role": "user", "content": prompt}]
            text = self._tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        tokens = self._tokenizer(text, return_tensors="pt")["input_ids"]
        with torch.inference_mode():
            written = self._model.generate(
                tokens,
                attention_mask=torch.ones_like(tokens),
                max_new_tokens=self._config.max_new_tokens,
                max_time=self._config.timeout,
                do_sample=False,
                pad_token_id=self._tokenizer.eos_token_id,
            )
        return str(self._tokenizer.decode(written[0, tokens.shape[1] :], skip_special_tokens=True))
