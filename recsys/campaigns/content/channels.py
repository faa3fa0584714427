"""What fits a channel: lengths of the words and the size of the picture."""

import unicodedata
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from pydantic import Field

from recsys.config import BaseConfig


class ChannelLimits(BaseConfig):
    """Lengths in columns: a wide (Chinese) character takes two."""

    headline: int = Field(ge=10)
    body: int = Field(ge=40)
    cta: int = Field(default=24, ge=4)
    total: int = Field(default=1000, ge=100)
    """Headline, body, call, disclaimer and opt-out together."""
    image: tuple[int, int] | None = None
    """Width and height of the picture in pixels; none: the channel shows no picture."""


DEFAULT_CHANNELS: Final[Mapping[str, ChannelLimits]] = MappingProxyType(
    {
        "app": ChannelLimits(headline=60, body=180, total=520, image=(1080, 608)),
        "web": ChannelLimits(headline=72, body=260, total=700, image=(1200, 628)),
        "email": ChannelLimits(headline=78, body=480, total=1200, image=(1200, 480)),
        "branch": ChannelLimits(headline=72, body=320, total=800, image=(1080, 1350)),
        "push": ChannelLimits(headline=60, body=120, total=400, image=(720, 720)),
        "sms": ChannelLimits(headline=60, body=160, total=400),
    }
)
"""The limits where the caller states none."""


def columns(text: str) -> int:
    """The width of `text`.

    >>> columns("Ab"), columns("存款")
    (2, 4)
    """
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def limits_of(channel: str, limits: Mapping[str, ChannelLimits]) -> ChannelLimits:
    """The limits of `channel`; the strictest where it is unknown, since what fits there fits anywhere."""
    return limits.get(channel) or ChannelLimits(headline=60, body=120, total=400)
