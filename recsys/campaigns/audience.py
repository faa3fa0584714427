"""Who a campaign is for: AND, OR and NOT over fields of the customers, checked and turned into a polars expression.

An expression is the word `everyone`, a comparison such as `{field: segment, in: [mass, affluent]}`, or one of
`{all: [...]}`, `{any: [...]}` and `{not: ...}` around expressions. What is not known of a customer makes a comparison
neither true nor false (Kleene's logic), and who is not certainly in an audience is not in it: `{not: ...}` about a
field that is not known admits nobody.
"""

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from difflib import get_close_matches
from typing import Any, Final

import polars as pl

from recsys.config import BaseConfig
from recsys.errors import RecsysError
from recsys.policy.facts import FLAGS
from recsys.policy.fair_inputs import refusal_of
from recsys.policy.pack import CreditPolicy

EVERYONE: Final = "everyone"
_GROUPS: Final = ("all", "any", "not")
_ORDERS: Final = {"at_least": "ge", "at_most": "le", "above": "gt", "below": "lt"}
OPERATORS: Final = ("equals", "not_equals", "in", "not_in", *_ORDERS, "known")
_MOST_DEEP: Final = 20
_NEVER: Final = frozenset({"customer_id", *FLAGS})
"""A list of names is no audience, and a vulnerability decides who is spared, never who is sought (domain.md)."""


class AudienceError(RecsysError):
    """An audience that cannot be used; the message names the place in the brief."""


@dataclass(frozen=True)
class Comparison:
    """One field against a value."""

    field: str
    operator: str
    value: Any


@dataclass(frozen=True)
class Group:
    """`all`, `any` or `not` (of exactly one) of other expressions."""

    kind: str
    members: tuple["Expression", ...]


Expression = Comparison | Group


class AudienceFields(BaseConfig):
    """What an audience may ask about."""

    numbers: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    times: tuple[str, ...] = ()

    @classmethod
    def of_schema(cls, schema: Mapping[str, pl.DataType]) -> "AudienceFields":
        """The columns of a frame that can be compared; lists, vectors and what is never asked are left out."""
        kinds: dict[str, list[str]] = {"numbers": [], "words": [], "flags": [], "times": []}
        for name, dtype in schema.items():
            kind = _kind_of(dtype)
            if kind is not None and name not in _NEVER:
                kinds[kind].append(name)
        return cls(**{kind: tuple(sorted(names)) for kind, names in kinds.items()})

    def kind(self, field: str) -> str | None:
        """`numbers`, `words`, `flags` or `times`; None for a field that is not there."""
        return next((kind for kind in ("numbers", "words", "flags", "times") if field in getattr(self, kind)), None)

    def names(self) -> list[str]:
        """All of them, sorted."""
        return sorted((*self.numbers, *self.words, *self.flags, *self.times))


def parse_audience(value: Any, where: str = "audience", depth: int = 0) -> Expression:
    """Reads an expression as YAML or JSON gives it; which fields there are is `compile_audience`'s business.

    >>> parse_audience({"all": [{"field": "segment", "equals": "mass"}]}).kind
    'all'

    Raises:
        AudienceError: it is none; the message names the place.
    """
    if depth > _MOST_DEEP:
        raise AudienceError(f"{where}: is nested more than {_MOST_DEEP} deep: say it more simply")
    if value == EVERYONE:
        return Group("all", ())
    if not isinstance(value, Mapping):
        raise AudienceError(f"{where}: must be `{EVERYONE}`, a comparison or all/any/not, is {value!r}")
    group = [key for key in value if key in _GROUPS]
    if not group:
        return _parse_comparison(value, where)
    if len(value) != 1:
        raise AudienceError(f"{where}: `{group[0]}` stands alone; beside it is {_others(value, group[0])}")
    kind, inner = group[0], value[group[0]]
    members = [inner] if kind == "not" else inner
    if not isinstance(members, list) or not members:
        raise AudienceError(f"{where}.{kind}: must be a list of at least one expression")
    places = [f"{where}.{kind}" if kind == "not" else f"{where}.{kind}.{i}" for i in range(len(members))]
    return Group(kind, tuple(parse_audience(m, p, depth + 1) for m, p in zip(members, places, strict=True)))


def fields_of(expression: Expression) -> list[str]:
    """The fields that an expression asks about, each once, in the order in which they come."""
    if isinstance(expression, Comparison):
        return [expression.field]
    return list(dict.fromkeys(field for member in expression.members for field in fields_of(member)))


def compile_audience(expression: Expression, fields: AudienceFields, credit: CreditPolicy | None) -> pl.Expr:
    """A boolean expression over a frame of the fields; never null.

    Args:
        expression: what the brief says.
        fields: what there is.
        credit: the pack's section, where the campaign may be about credit: its protected columns and their proxies
            are refused wherever they stand, inside a `not` too.

    Raises:
        AudienceError: a field is refused or unknown, or a value does not fit it.
    """
    for field in fields_of(expression):
        _check_field(field, fields, credit)
    return _compile(expression, fields).fill_null(value=False)


def _check_field(field: str, fields: AudienceFields, credit: CreditPolicy | None) -> None:
    if field in _NEVER:
        raise AudienceError(
            f"audience: `{field}` is never a field of an audience: "
            + ("name a group, not people" if field == "customer_id" else "vulnerability protects, it does not select")
        )
    refusal = None if credit is None else refusal_of(field.split("__", 1)[-1], credit)
    if refusal is not None:
        raise AudienceError(
            f"audience: `{field}` is refused, because the campaign may be about credit and `{refusal.entry}` is "
            f"{'a protected column' if refusal.kind == 'protected' else 'a proxy of a protected column'} of the policy "
            "pack: leave it out, or name products or categories that are no credit"
        )
    if fields.kind(field) is None:
        raise AudienceError(f"audience: `{field}` is no field; {_suggestions(field, fields.names())}")


def _suggestions(field: str, names: list[str]) -> str:
    """The customers' own columns, and of the many features those with a name like this one."""
    own = [name for name in names if "__" not in name]
    near = [name for name in get_close_matches(field, names, n=5) if name not in own]
    near = near or [name for name in names if name not in own][:2]
    return f"there are {', '.join(own)}" + (f", and features such as {', '.join(near)}" if near else "")


def _compile(expression: Expression, fields: AudienceFields) -> pl.Expr:
    if isinstance(expression, Comparison):
        return _compare(expression, fields.kind(expression.field) or "")
    members = [_compile(member, fields) for member in expression.members]
    if expression.kind == "not":
        return ~members[0]
    if not members:
        return pl.lit(value=True)
    return pl.all_horizontal(members) if expression.kind == "all" else pl.any_horizontal(members)


def _compare(comparison: Comparison, kind: str) -> pl.Expr:
    column, operator, value = pl.col(comparison.field), comparison.operator, comparison.value
    if operator == "known":
        if not isinstance(value, bool):
            raise AudienceError(f"audience: {comparison.field}: `known` is true or false, is {value!r}")
        return column.is_not_null() if value else column.is_null()
    if operator in _ORDERS and kind not in ("numbers", "times"):
        raise AudienceError(f"audience: {comparison.field}: `{operator}` compares numbers and times, this is neither")
    if operator in ("in", "not_in"):
        if not isinstance(value, list) or not value:
            raise AudienceError(f"audience: {comparison.field}: `{operator}` needs a list of at least one value")
        listed = column.is_in([_fitting(item, kind, comparison.field) for item in value])
        return listed if operator == "in" else ~listed
    fitting = pl.lit(_fitting(value, kind, comparison.field))
    if operator == "equals":
        return column == fitting
    if operator == "not_equals":
        return column != fitting
    compared: pl.Expr = getattr(column, _ORDERS[operator])(fitting)
    return compared


def _fitting(value: Any, kind: str, field: str) -> Any:
    """The value as the column's type; a mistake is found here and not by polars."""
    if kind == "numbers" and isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return value
    if kind == "flags" and isinstance(value, bool):
        return value
    if kind == "words" and isinstance(value, str):
        return value
    if kind == "times" and isinstance(value, str):  # JSON has no times
        with suppress(ValueError):
            value = datetime.fromisoformat(value)
    if kind == "times" and isinstance(value, date):
        moment = value if isinstance(value, datetime) else datetime(value.year, value.month, value.day, tzinfo=UTC)
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
    wanted = {"numbers": "a number", "flags": "true or false", "words": "a text", "times": "a time with its zone"}
    raise AudienceError(f"audience: {field}: {value!r} is not {wanted[kind]}")


def _parse_comparison(value: Mapping[str, Any], where: str) -> Comparison:
    field = value.get("field")
    if not isinstance(field, str):
        raise AudienceError(f"{where}: a comparison has a `field` and one of {', '.join(OPERATORS)}")
    operators = [key for key in value if key != "field"]
    unknown = [str(key) for key in operators if key not in OPERATORS]
    if unknown:
        raise AudienceError(
            f"{where}: {field}: unknown operator {', '.join(unknown)}; there are {', '.join(OPERATORS)}"
        )
    if len(operators) != 1:
        raise AudienceError(f"{where}: {field}: needs exactly one of {', '.join(OPERATORS)}")
    return Comparison(field, operators[0], value[operators[0]])


def _others(value: Mapping[str, Any], key: str) -> str:
    return ", ".join(f"`{other}`" for other in value if other != key)


def _kind_of(dtype: pl.DataType) -> str | None:
    if dtype == pl.Boolean:
        return "flags"
    if dtype.is_numeric():
        return "numbers"
    if dtype in (pl.String, pl.Categorical):
        return "words"
    return "times" if dtype.is_temporal() and dtype != pl.Duration else None
