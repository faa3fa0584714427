"""The brief builder's form: from fields to a brief's values, and back."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import yaml

from recsys.campaigns.audience import EVERYONE, OPERATORS
from serving.web.studio.session import Form

ROWS: Final = 6
"""Conditions of an audience that the form shows at most; what is more goes into the expression."""
CELLS: Final = 3
_TWO: Final = ("in", "not_in")


class Row(NamedTuple):
    """One condition of an audience."""

    field: str = ""
    operator: str = "equals"
    value: str = ""
    negated: bool = False


class Conditions(NamedTuple):
    """An audience as the form shows it."""

    mode: str
    """`everyone`, `conditions` or `expression`."""
    join: str
    """`all` or `any`."""
    rows: list[Row]
    expression: str
    """YAML."""


def values_of(form: Form) -> dict[str, Any]:
    """The brief that a form says, as YAML would have it: what does not fit stays as it is, for the brief to refuse."""
    values: dict[str, Any] = {
        "campaign_id": form.one("campaign_id"),
        "name": form.one("name"),
        "objective": form.one("objective"),
        "products": "engine" if form.one("choose") != "list" else form.many("products"),
        "audience": _audience(form),
        "channels": _channels(form),
        "budget": _number(form.one("budget")),
        "starts": _instant(form.one("starts")),
        "ends": _instant(form.one("ends")),
        "send_hour": _number(form.one("send_hour")),
        "languages": form.many("languages"),
        "limits": _limits(form),
        "holdout": {name: _share(form.one(name)) for name in ("global_share", "campaign_share")},
    }
    if values["products"] == "engine":
        values["categories"] = form.many("categories")
    if form.one("tone"):
        values["tone"] = form.one("tone")
    return values


def conditions_of(audience: Any) -> Conditions:
    """An audience for the form: as rows where it is flat, as an expression where it is nested."""
    empty = [Row() for _ in range(ROWS)]
    text = "" if audience in (None, EVERYONE) else str(yaml.safe_dump(audience, sort_keys=False, allow_unicode=True))
    if audience in (None, EVERYONE):
        return Conditions("everyone", "all", empty, text)
    join = next((name for name in ("all", "any") if isinstance(audience, Mapping) and name in audience), None)
    members = audience[join] if join is not None else [audience]
    rows = [_row(member) for member in members] if isinstance(members, list) else [None]
    flat = [row for row in rows if row is not None]
    if len(flat) != len(rows) or len(rows) > ROWS:
        return Conditions("expression", "all", empty, text)
    return Conditions("conditions", join or "all", [*flat, *empty[len(flat) :]], text)


def channels_of(values: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The channels of a brief by name."""
    entries = values.get("channels") or []
    return {str(entry.get("channel")): dict(entry) for entry in entries if isinstance(entry, Mapping)}


def _audience(form: Form) -> Any:
    mode = form.one("audience_mode")
    if mode == "everyone":
        return EVERYONE
    if mode == "expression":
        try:
            return yaml.safe_load(form.one("expression"))
        except (yaml.YAMLError, ValueError, RecursionError):
            return form.one("expression")
    parts = zip(*(form.many(name) for name in ("field", "operator", "value", "negated")), strict=False)
    members = [
        _condition(Row(field.strip(), operator, value.strip(), negated == "not"))
        for field, operator, value, negated in parts
        if field.strip()
    ]
    if not members:
        return None
    return members[0] if len(members) == 1 else {form.one("join") or "all": members}


def _condition(row: Row) -> dict[str, Any]:
    value: Any = (
        [_plain(part) for part in row.value.split(",") if part.strip()] if row.operator in _TWO else _plain(row.value)
    )
    comparison = {"field": row.field, row.operator: value}
    return {"not": comparison} if row.negated else comparison


def _row(member: Any) -> Row | None:
    if not isinstance(member, Mapping):
        return None
    if set(member) == {"not"}:
        inner = _row(member["not"])
        return None if inner is None or inner.negated else inner._replace(negated=True)
    operators = [name for name in member if name in OPERATORS]
    if len(member) != 2 or len(operators) != 1 or "field" not in member:
        return None
    value = member[operators[0]]
    text = ", ".join(_said(part) for part in value) if isinstance(value, list) else _said(value)
    return Row(str(member["field"]), operators[0], text)


def _said(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _plain(text: str) -> Any:
    """`500` is a number, `true` is true, `2026-01-01` is a day; anything else is itself."""
    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        return text.strip()
    return text.strip() if value is None or isinstance(value, dict | list) else value


def _channels(form: Form) -> list[dict[str, Any]]:
    found = []
    for name in form.many("channels"):
        entry: dict[str, Any] = {"channel": name, "cost_per_contact": _number(form.one(f"cost_{name}"))}
        if capacity := form.one(f"capacity_{name}"):
            entry["capacity"] = _number(capacity)
        found.append(entry)
    return found


def _limits(form: Form) -> dict[str, Any]:
    limits: dict[str, Any] = {"per_customer": _number(form.one("per_customer"))}
    limits["per_category"] = _number(form.one("per_category")) if form.one("per_category") else None
    names = ("cell_segment", "cell_channel", "cell_minimum", "cell_maximum")
    cells = []
    for segment, channel, minimum, maximum in zip(*(form.many(name) for name in names), strict=False):
        if segment.strip() and channel.strip():
            cell: dict[str, Any] = {"segment": segment.strip(), "channel": channel.strip()}
            cell |= {"minimum": _number(minimum)} if minimum.strip() else {}
            cell |= {"maximum": _number(maximum)} if maximum.strip() else {}
            cells.append(cell)
    if cells:
        limits["cells"] = cells
    return limits


def _number(text: str) -> Any:
    """A number where it is one."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _share(text: str) -> Any:
    """Percent as a share."""
    value = _number(text)
    return round(value / 100, 6) if isinstance(value, int | float) else value


def _instant(text: str) -> str:
    """What a date-and-time field gives, in UTC."""
    return f"{text}Z" if text and text[-1] != "Z" and "+" not in text else text
