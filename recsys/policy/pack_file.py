"""Reads a config from YAML so that what is wrong in it is named with file, line and field."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import yaml
from pydantic import ValidationError

from recsys.config import BaseConfig, describe_finding
from recsys.errors import ConfigError

Config = TypeVar("Config", bound=BaseConfig)
_TIMESTAMP: Final = "tag:yaml.org,2002:timestamp"


def parse_with_lines(kind: type[Config], path: Path) -> Config:
    """A valid config.

    Raises:
        ConfigError: the file cannot be read, is no YAML mapping, names a key twice, has a date that cannot be read, or
            does not fit `kind`. One finding a line, each `file:line: field: what is wrong`.
    """
    root = _compose(path)
    if findings := list(_check_nodes(root, ())):
        raise _error(path, findings)
    try:
        return kind.model_validate(_construct(root))
    except ValidationError as error:
        findings = [(_line(root, item["loc"]), describe_finding(item)) for item in error.errors()]
        raise _error(path, findings) from error


def _compose(path: Path) -> yaml.MappingNode:
    try:
        root = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), f"cannot be read: {error}") from error
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigError(f"{path}{line}", f"is not YAML: {error.problem}") from error
    except yaml.YAMLError as error:
        raise ConfigError(str(path), f"is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(root, yaml.MappingNode):
        raise ConfigError(str(path), "must be a mapping of keys to values")
    return root


def _construct(node: yaml.Node) -> Any:
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _check_nodes(node: yaml.Node, field: tuple[str, ...]) -> Iterator[tuple[int, str]]:
    """Line and words of what YAML itself lets through: a key or an id twice, and a date such as 2026-13-01."""
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            name = str(key.value)
            if name in seen:
                yield key.start_mark.line + 1, f"{'.'.join((*field, name))}: is there twice: keep one"
            seen.add(name)
            yield from _check_nodes(value, (*field, name))
    elif isinstance(node, yaml.SequenceNode):
        yield from _check_ids(node, field)
        for number, value in enumerate(node.value):
            yield from _check_nodes(value, (*field, str(number)))
    elif node.tag == _TIMESTAMP:
        try:
            _construct(node)
        except ValueError as error:
            text = f"is a date that cannot be read ({node.value}: {error})"
            yield node.start_mark.line + 1, f"{'.'.join(field)}: {text}"


def _check_ids(node: yaml.SequenceNode, field: tuple[str, ...]) -> Iterator[tuple[int, str]]:
    """A list of things with an id has each id once."""
    seen: set[str] = set()
    for number, item in enumerate(node.value):
        pairs = item.value if isinstance(item, yaml.MappingNode) else []
        for key, value in pairs:
            if key.value == "id" and value.value in seen:
                where = ".".join((*field, str(number), "id"))
                yield value.start_mark.line + 1, f"{where}: {value.value} is there twice: keep one of each id"
            elif key.value == "id":
                seen.add(value.value)


def _line(node: yaml.Node, loc: Sequence[str | int]) -> int:
    """The line of the innermost node that a finding is about; parts that only pydantic knows are passed over."""
    line = node.start_mark.line
    for part in loc:
        if isinstance(node, yaml.MappingNode):
            pair = next((pair for pair in node.value if pair[0].value == str(part)), None)
            if pair is None:
                continue
            line, node = pair[0].start_mark.line, pair[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line
    return line + 1


def _error(path: Path, findings: Sequence[tuple[int, str]]) -> ConfigError:
    """The first finding's place is the error's source; the others follow, a line each."""
    (line, text), *others = findings
    return ConfigError(f"{path}:{line}", "\n".join([text, *(f"{path}:{line}: {text}" for line, text in others)]))
