"""What the library says when it refuses something, in the reader's language: by patterns, for it speaks English."""

import re
from functools import cache
from pathlib import Path
from typing import Final

from recsys.config import read_yaml

_FOLDER: Final = Path(__file__).parents[1] / "words"


def translate(text: str, language: str) -> str:
    """A message in another language; each part between `; ` that no pattern knows stays as it is.

    >>> translate("audience: nobody is in it: check the values, or ask for less", "zh")
    'audience：受众为空：请检查取值，或放宽条件'
    """
    if language == "en":
        return text
    whole = _one(text, language)
    if whole is not None:
        return whole
    parts = text.split("; ")
    return "；".join(_one(part, language) or part for part in parts)


def _one(text: str, language: str) -> str | None:
    for pattern, words in _patterns(language):
        match = pattern.fullmatch(text)
        if match is not None:
            return match.expand(words)
    return None


@cache
def _patterns(language: str) -> list[tuple[re.Pattern[str], str]]:
    read = read_yaml(_FOLDER / f"messages.{language}.yaml")
    return [(re.compile(pattern, re.DOTALL), str(words)) for pattern, words in read.items()]
