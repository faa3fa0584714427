"""A writer behind an OpenAI-compatible endpoint (POST {url}/chat/completions); recsys itself knows no network.

API: https://platform.openai.com/docs/api-reference/chat/create
"""

import http.client
import json
import urllib.request
from typing import Any, Final

from pydantic import Field, SecretStr, field_validator

from recsys.config import BaseConfig
from recsys.errors import ModelError

_MOST_BYTES: Final = 256 * 1024


class EndpointConfig(BaseConfig):
    """Where the model answers; the key comes from the server's settings."""

    url: str
    """Up to and including the version, such as http://models.bank.internal/v1."""
    model: str
    key: SecretStr | None = None
    timeout: float = Field(default=20.0, gt=0)
    """Seconds without a byte after which the call is given up."""
    max_tokens: int = Field(default=300, ge=1)

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        if not url.startswith(("http://", "https://")):
            raise ValueError("must begin with http:// or https://")
        return url.rstrip("/")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would take the key and the prompt to a host that nobody configured."""

    def redirect_request(self, *_: Any) -> None:
        """Refuses."""


class EndpointWriter:
    """Asks the endpoint; its answer is a proposal that the fact guard judges."""

    def __init__(self, config: EndpointConfig) -> None:
        self._config = config
        self._opener = urllib.request.build_opener(_NoRedirect())

    def write(self, prompt: str) -> str:
        """The first choice's text.

        Raises:
            ModelError: no answer in time, an HTTP error, a redirect, or an answer of another shape.
        """
        request = urllib.request.Request(  # noqa: S310  (the scheme is checked in the config)
            f"{self._config.url}/chat/completions", json.dumps(self._question(prompt)).encode(), self._headers()
        )
        try:
            with self._opener.open(request, timeout=self._config.timeout) as response:
                content = response.read(_MOST_BYTES + 1)
            if len(content) > _MOST_BYTES:
                raise ValueError(f"more than {_MOST_BYTES} bytes")
            text = json.loads(content)["choices"][0]["message"]["content"]
            if not isinstance(text, str):
                raise TypeError("no text")
        except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError) as error:
            problem = f"{type(error).__name__}: {error}"
            raise ModelError(f"the copy model at {self._config.url} gave no usable answer ({problem})") from error
        return text

    def _question(self, prompt: str) -> dict[str, Any]:
        return {
            "model": self._config.model,
            "messages": [{"role": "user", "content": prompt}],
            "temperature": 0,
            "max_tokens": self._config.max_tokens,
        }

    def _headers(self) -> dict[str, str]:
        headers = {"Content-Type": "application/json"}
        if self._config.key is not None:
            headers["Authorization"] = f"Bearer {self._config.key.get_secret_value()}"
        return headers
