"""The languages that pages speak, and their words: `words/<area>.<language>.yaml`."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

from recsys.config import read_yaml
from recsys.policy.facts import primary
from serving.languages import wanted_ranges

LANGUAGES: Final[Mapping[str, str]] = {"en": "English", "zh": "中文"}
"""Code to the name that the language has for itself."""
DEFAULT: Final = "en"
HTML_LANGUAGE: Final[Mapping[str, str]] = {"en": "en", "zh": "zh-Hans"}
SHARED: Final = "base"
_FOLDER: Final = Path(__file__).parent / "words"


@cache
def words(area: str, language: str) -> Mapping[str, str]:
    """The words of an area of pages, with those that all areas share.

    Raises:
        ConfigError: there is no such file.
    """
    shared = {} if area == SHARED else words(SHARED, language)
    return {**shared, **{str(key): str(text) for key, text in read_yaml(_FOLDER / f"{area}.{language}.yaml").items()}}


def choose_language(asked: str | None, accepted: str | None) -> str:
    """What to speak with somebody.

    Args:
        asked: what he chose himself; counts if pages speak it.
        accepted: the header Accept-Language (RFC 9110, section 12.5.4); None: his browser did not say.

    >>> choose_language(None, "fr, zh-CN;q=0.8, en;q=0.5")
    'zh'
    """
    if asked is not None and asked in LANGUAGES:
        return asked
    return next((primary(tag) for tag in wanted_ranges(accepted) if primary(tag) in LANGUAGES), DEFAULT)
