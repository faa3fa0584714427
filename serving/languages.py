"""Which language an app's user reads, where the app leaves it to the header `Accept-Language`."""

import re
from typing import Final

from recsys.decisions.wording import TEMPLATES
from recsys.policy.facts import primary

_RANGE: Final = re.compile(
    r"^([A-Za-z]{2,8}(?:-[A-Za-z0-9]{1,8})*|\*)(?:\s*;\s*q\s*=\s*(0(?:\.\d{0,3})?|1(?:\.0{0,3})?))?$"
)
MAX_HEADER: Final = 512
MAX_TAG: Final = 35


def accepted_language(header: str | None) -> str | None:
    """The most wanted range whose language reasons can be given in (RFC 9110, section 12.5.4).

    None where none can: the customer's own language then counts. A range that is malformed counts as not sent.

    >>> accepted_language("fr, zh-CN;q=0.8, en;q=0.5")
    'zh-CN'
    """
    return next((tag for tag in wanted_ranges(header) if primary(tag) in TEMPLATES and len(tag) <= MAX_TAG), None)


def wanted_ranges(header: str | None) -> list[str]:
    """The ranges of an Accept-Language header, the most wanted first, without those that are refused (`q=0`).

    >>> wanted_ranges("fr;q=0, zh-CN;q=0.8, en, nonsense;q=x")
    ['en', 'zh-CN']
    """
    found = [_RANGE.match(part.strip()) for part in (header or "")[:MAX_HEADER].split(",")]
    weighed = [(match[1], float(match[2] or 1)) for match in found if match is not None]
    wanted = sorted(weighed, key=lambda pair: -pair[1])  # stable: of two with one weight the first
    return [tag for tag, weight in wanted if weight > 0]
