"""Answers that clients may keep and ask about again: entity tags and 304 (RFC 9110, sections 8.8.3 and 13.1.2)."""

from hashlib import sha256
from typing import Final

from fastapi import Request, Response

REVALIDATE: Final = "private, no-cache"
"""Kept by the app, and asked about every time: a withdrawn item is seen to be."""
MINUTES: Final = "private, max-age=300"
_SIGNATURES: Final = ((b"\xff\xd8\xff", "image/jpeg"), (b"\x89PNG\r\n\x1a\n", "image/png"), (b"GIF8", "image/gif"))


def tagged(request: Request, content: bytes, media_type: str, caching: str = REVALIDATE) -> Response:
    """The content with its tag; without it where the client has it already."""
    tag = f'"{sha256(content).hexdigest()[:32]}"'
    headers = {"ETag": tag, "Cache-Control": caching, "Vary": "Authorization"}
    if _has(request.headers.get("if-none-match", ""), tag):
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=media_type, headers=headers)


def picture_type(content: bytes) -> str | None:
    """The media type by what the file is, whatever it is called; None: no picture that browsers show."""
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp"
    return next((name for start, name in _SIGNATURES if content.startswith(start)), None)


def _has(sent: str, tag: str) -> bool:
    """Whether If-None-Match names the tag; weak ones count (section 13.1.2)."""
    return any(one.strip().removeprefix("W/") in (tag, "*") for one in sent.split(","))
