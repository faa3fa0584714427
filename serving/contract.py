"""The API's contract: the OpenAPI document, and whether a change would break an app that relies on the one before.

The accepted document is `openapi.json` beside this file. `recsys openapi --check` compares with it, `--accept` takes
the present one as accepted.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import orjson

from serving.app import create_app
from serving.settings import Settings

BASELINE: Final = Path(__file__).with_name("openapi.json")
Schema = Mapping[str, Any]
_METHODS: Final = ("get", "put", "post", "delete", "patch", "head", "options")
_UPPER: Final = ("maxLength", "maxItems", "maximum", "exclusiveMaximum", "maxProperties")
_LOWER: Final = ("minLength", "minItems", "minimum", "exclusiveMinimum", "minProperties")
_ANY: Final = "anything"


def present_document() -> dict[str, Any]:
    """The document of this program; nothing is loaded or started for it."""
    return create_app(Settings(docs=True)).openapi()


def accepted_document() -> dict[str, Any]:
    """The document that apps may rely on."""
    document: dict[str, Any] = orjson.loads(BASELINE.read_bytes())
    return document


def accept(document: Mapping[str, Any]) -> None:
    """Makes a document the accepted one."""
    BASELINE.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS) + b"\n")


def breaking_changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What of `new` an app that was written for `old` would stumble over; one line each.

    Gone: a path, a method, a successful answer, a parameter, a field, a value of an enumeration. Required: a parameter
    or field of a request that was not. Narrower: what a request may be. Wider: what an answer may be.
    """
    return [line for path in old["paths"] for line in _path(path, old, new)]


def _path(path: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    if path not in new["paths"]:
        yield f"{path}: is gone"
        return
    before, after = old["paths"][path], new["paths"][path]
    for method in (name for name in _METHODS if name in before):
        where = f"{method.upper()} {path}"
        if method not in after:
            yield f"{where}: is gone"
            continue
        yield from _parameters(where, (old, before[method]), (new, after[method]))
        yield from _body(where, (old, before[method]), (new, after[method]))
        yield from _answers(where, (old, before[method]), (new, after[method]))


Side = tuple[Mapping[str, Any], Schema]
"""A document and a part of it."""


def _parameters(where: str, old: Side, new: Side) -> Iterator[str]:
    before = {(one["in"], one["name"]): one for one in old[1].get("parameters", ())}
    after = {(one["in"], one["name"]): one for one in new[1].get("parameters", ())}
    for key, parameter in before.items():
        name = f"{where}, parameter {key[1]}"
        if key not in after:
            yield f"{name}: is gone"
            continue
        if after[key].get("required") and not parameter.get("required"):
            yield f"{name}: is required now"
        yield from _Comparison(old[0], new[0], request=True).run(name, parameter["schema"], after[key]["schema"])
    for key in after.keys() - before.keys():
        if after[key].get("required"):
            yield f"{where}, parameter {key[1]}: is new and required"


def _body(where: str, old: Side, new: Side) -> Iterator[str]:
    before, after = old[1].get("requestBody"), new[1].get("requestBody")
    if before is None:
        if after is not None and after.get("required"):
            yield f"{where}: a body is required now"
        return
    if after is None:
        yield f"{where}: takes no body any more"
        return
    yield from _contents(f"{where}, body", (old[0], before), (new[0], after), request=True)


def _answers(where: str, old: Side, new: Side) -> Iterator[str]:
    for status, answer in old[1]["responses"].items():
        if status not in new[1]["responses"]:
            if status.startswith("2"):
                yield f"{where}: the answer {status} is gone"
            continue
        after = new[1]["responses"][status]
        yield from _contents(f"{where}, answer {status}", (old[0], answer), (new[0], after), request=False)


def _contents(where: str, old: Side, new: Side, *, request: bool) -> Iterator[str]:
    for kind, content in old[1].get("content", {}).items():
        after = new[1].get("content", {}).get(kind)
        if after is None:
            yield f"{where}: {kind} is gone"
        else:
            compared = _Comparison(old[0], new[0], request=request)
            yield from compared.run(where, content.get("schema", {}), after.get("schema", {}))


class _Comparison:
    """Compares two schemas of two documents; what is met again on the way down is not looked at twice."""

    def __init__(self, old: Mapping[str, Any], new: Mapping[str, Any], *, request: bool) -> None:
        self._old = old
        self._new = new
        self._request = request
        self._seen: set[tuple[str, str]] = set()

    def run(self, where: str, old: Schema, new: Schema) -> Iterator[str]:
        """One line for each breaking difference."""
        key = (old.get("$ref", ""), new.get("$ref", ""))
        if all(key):
            if key in self._seen:
                return
            self._seen.add(key)
        before, after = _variants(old, self._old), _variants(new, self._new)
        lost, gained = before.keys() - after.keys(), after.keys() - before.keys()
        if lost and _ANY not in after and (self._request or _ANY in before):
            yield f"{where}: is {_names(after)}, was {_names(before)}"
        if gained and _ANY not in before and not self._request:
            yield f"{where}: may be {_names(after)}, was {_names(before)}"
        for kind in before.keys() & after.keys():
            yield from self._same_kind(where, before[kind], after[kind])

    def _same_kind(self, where: str, old: Schema, new: Schema) -> Iterator[str]:
        yield from self._values(where, old, new)
        if self._request:
            yield from _bounds(where, old, new)
        yield from self._fields(where, old, new)
        if "items" in old and "items" in new:
            yield from self.run(f"{where}[]", old["items"], new["items"])

    def _values(self, where: str, old: Schema, new: Schema) -> Iterator[str]:
        before, after = _enumeration(old), _enumeration(new)
        if before is None and after is not None and self._request:
            yield f"{where}: takes only {sorted(after)} now"
        if before is not None and after is not None:
            for value in sorted(before - after):
                yield f"{where}: the value {value} is gone"

    def _fields(self, where: str, old: Schema, new: Schema) -> Iterator[str]:
        before, after = old.get("properties", {}), new.get("properties", {})
        for name in before:
            if name not in after:
                yield f"{where}.{name}: is gone"
            else:
                yield from self.run(f"{where}.{name}", before[name], after[name])
        required, was = set(new.get("required", ())), set(old.get("required", ()))
        if self._request:
            for name in sorted(required - was):
                yield f"{where}.{name}: is required now"
        else:
            for name in sorted((was - required) & after.keys()):
                yield f"{where}.{name}: may be missing now"


def _bounds(where: str, old: Schema, new: Schema) -> Iterator[str]:
    for name in _UPPER:
        if name in new and new[name] < old.get(name, float("inf")):
            yield f"{where}: {name} is {new[name]}, was {old.get(name, 'none')}"
    for name in _LOWER:
        if name in new and new[name] > old.get(name, float("-inf")) and not (name.startswith("min") and new[name] == 0):
            yield f"{where}: {name} is {new[name]}, was {old.get(name, 'none')}"
    if "pattern" in new and new["pattern"] != old.get("pattern"):
        yield f"{where}: pattern is {new['pattern']}, was {old.get('pattern', 'none')}"


def _variants(schema: Schema, document: Mapping[str, Any]) -> dict[str, Schema]:
    """What a schema may be, by type."""
    if "$ref" in schema:
        return _variants(document["components"]["schemas"][schema["$ref"].rpartition("/")[2]], document)
    for word in ("anyOf", "oneOf"):
        if word in schema:
            return {kind: one for part in schema[word] for kind, one in _variants(part, document).items()}
    kinds = schema.get("type", "string" if "enum" in schema or "const" in schema else _ANY)
    return dict.fromkeys([kinds] if isinstance(kinds, str) else kinds, schema)


def _enumeration(schema: Schema) -> set[str] | None:
    values = schema.get("enum", [schema["const"]] if "const" in schema else None)
    return None if values is None else {str(value) for value in values}


def _names(variants: Mapping[str, Schema]) -> str:
    return " or ".join(sorted(variants))
