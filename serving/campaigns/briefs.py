"""Briefs as they come in: from a form, as JSON or as YAML; one set of rules, and each finding at its field."""

import re
from collections.abc import Mapping
from datetime import UTC
from typing import Any, Final, NamedTuple

import yaml
from pydantic import ValidationError

from recsys.campaigns.audience import AudienceError, compile_audience, parse_audience
from recsys.campaigns.brief import Brief, BriefError
from recsys.campaigns.offers import Offers, may_be_credit
from recsys.campaigns.source import RuleSource
from recsys.errors import RecsysError
from serving.store.campaign_drafts import Draft

_PLACE: Final = re.compile(r"^(?P<place>[a-z_]+(?:\.[a-z_0-9]+)*): (?P<what>.*)$", re.DOTALL)
_PREFIX: Final = "Value error, "
SECRETS: Final = ("salt",)
"""Of a brief: with the salt anybody could tell who is held out."""
MOST_CHARACTERS: Final = 100_000


class BriefFinding(NamedTuple):
    """What is wrong with a brief, and where."""

    place: str
    """Dotted, such as `channels.0.capacity`; empty: the whole of it."""
    detail: str


class InvalidBriefError(RecsysError):
    """A brief that cannot be used."""

    def __init__(self, findings: list[BriefFinding]) -> None:
        super().__init__("; ".join(f"{one.place}: {one.detail}" if one.place else one.detail for one in findings))
        self.findings = findings


def read_brief(values: Any, salt: str) -> Brief:
    """A brief of plain values.

    Args:
        values: as JSON or YAML gives them.
        salt: the bank's, where the brief names none.

    Raises:
        InvalidBriefError: with every finding at its place.
    """
    if not isinstance(values, Mapping):
        raise InvalidBriefError([BriefFinding("", "a brief is a mapping of keys to values")])
    try:
        return Brief.model_validate({"salt": salt, **values})
    except ValidationError as error:
        raise InvalidBriefError(
            [_finding(item["loc"], item["type"], item["msg"]) for item in error.errors()]
        ) from error


def read_yaml(text: str) -> dict[str, Any]:
    """The values of a brief in YAML.

    Raises:
        InvalidBriefError: it is no YAML, too long, or no mapping.
    """
    if len(text) > MOST_CHARACTERS:
        raise InvalidBriefError([BriefFinding("", f"is longer than {MOST_CHARACTERS:,} characters")])
    try:
        values = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        words = " ".join(str(error).split()) or type(error).__name__
        raise InvalidBriefError([BriefFinding("", f"is not YAML: {words}")]) from error
    if not isinstance(values, dict):
        raise InvalidBriefError([BriefFinding("", "a brief is a mapping of keys to values")])
    return values


def check_brief(brief: Brief, source: RuleSource) -> None:
    """Finds what the bank cannot do, without counting anybody.

    Raises:
        InvalidBriefError: dates in the past, products, categories, fields or creatives that are not there or refused.
    """
    findings = []
    for check in (_check_dates, _check_audience, _check_offers):
        try:
            check(brief, source)
        except (BriefError, AudienceError) as error:
            found = finding_of(error)
            if found not in findings:
                findings.append(found)
    if findings:
        raise InvalidBriefError(findings)


def finding_of(error: RecsysError) -> BriefFinding:
    """An error of the planner at its place: its message begins with it."""
    match = _PLACE.match(str(error))
    return BriefFinding("", str(error)) if match is None else BriefFinding(match["place"], match["what"])


def draft_of(brief: Brief) -> Draft:
    """The brief as it is kept."""
    values = brief.model_dump(mode="json")
    return Draft(brief.campaign_id, brief.name, values, brief.starts.astimezone(UTC), brief.ends.astimezone(UTC))


def shown(values: Mapping[str, Any]) -> dict[str, Any]:
    """A brief without what is nobody's to see."""
    return {name: value for name, value in values.items() if name not in SECRETS}


def as_yaml(values: Mapping[str, Any]) -> str:
    """A brief for people."""
    return str(yaml.safe_dump(shown(values), sort_keys=False, allow_unicode=True, width=100))


def _finding(location: tuple[int | str, ...], kind: str, message: str) -> BriefFinding:
    place = ".".join(str(part) for part in location)
    if kind == "extra_forbidden":
        return BriefFinding(place, "unknown key")
    words = message.removeprefix(_PREFIX)
    if place:
        return BriefFinding(place, words)
    return finding_of(BriefError(words))


def _check_dates(brief: Brief, source: RuleSource) -> None:
    brief.require_future(source.as_of)


def _check_audience(brief: Brief, source: RuleSource) -> None:
    credit = source.policy.pack.credit if may_be_credit(brief, source) else None
    compile_audience(parse_audience(brief.audience), source.fields(), credit)


def _check_offers(brief: Brief, source: RuleSource) -> None:
    Offers.of(brief, source)
