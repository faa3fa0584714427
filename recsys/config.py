"""The base of all configs: frozen, typed, bounded, unknown keys refused; and how one is read from YAML."""

from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, Self

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from recsys.errors import ConfigError

_PREFIX: Final = "Value error, "
"""What pydantic puts before the words of a validator."""


class BaseConfig(BaseModel):
    """A frozen config that refuses unknown keys; components define theirs just above themselves."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    @classmethod
    def from_yaml(cls, path: Path) -> Self:
        """Reads a config.

        Raises:
            ConfigError: the file cannot be read, is no mapping, or a key is unknown or out of bounds.
        """
        return cls.parse(read_yaml(path), source=str(path))

    @classmethod
    def parse(cls, values: Any, source: str) -> Self:
        """Validates `values`; `source` names where they came from in the error."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise ConfigError(source, describe_validation_error(error, tuple(cls.model_fields))) from error


def read_yaml(path: Path) -> dict[str, Any]:
    """Reads a YAML mapping.

    Raises:
        ConfigError: the file is missing, is not UTF-8, is not YAML or is not a mapping.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), f"cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise ConfigError(str(path), f"is not YAML: {' '.join(str(error).split())}") from error
    except ValueError as error:  # what PyYAML lets through for an impossible date such as 2026-13-01
        raise ConfigError(str(path), f"has a date that cannot be read: {error}") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(str(path), f"must be a mapping of keys to values, is a {type(values).__name__}")
    return values


def apply_overrides(values: dict[str, Any], overrides: list[str]) -> dict[str, Any]:
    """Applies `a.b=value` settings (values in YAML syntax) to a nested mapping, returning a new one.

    >>> apply_overrides({"loss": {"kind": "full"}}, ["loss.temperature=0.2", "seed=3"])
    {'loss': {'kind': 'full', 'temperature': 0.2}, 'seed': 3}

    Raises:
        ConfigError: an override is not `key=value`, its value is not YAML, or it passes through something that is not
            a mapping.
    """
    result = dict(values)
    for override in overrides:
        key, separator, text = override.partition("=")
        if not separator or not key:
            raise ConfigError("--set", f"`{override}` is not key=value, for example --set train.epochs=5")
        *parents, leaf = key.split(".")
        node = result
        for parent in parents:
            child = node.get(parent, {})
            if not isinstance(child, dict):
                raise ConfigError("--set", f"`{override}`: `{parent}` is not a group of settings")
            node[parent] = dict(child)
            node = node[parent]
        try:
            node[leaf] = yaml.safe_load(text)
        except (yaml.YAMLError, ValueError) as error:  # ValueError: an impossible date such as 2026-13-01
            raise ConfigError("--set", f"`{override}`: the value is not YAML") from error
    return result


def describe_validation_error(error: ValidationError, known: tuple[str, ...] = ()) -> str:
    """One line a finding: the key's path, what is wrong, and the value given; `known` are the keys of the whole."""
    return "; ".join(describe_finding(item, known) for item in error.errors())


def describe_finding(item: ErrorDetails, known: tuple[str, ...] = ()) -> str:
    """One of pydantic's findings: the key's path, what is wrong, and the value given.

    What is said of the whole names its place itself, and what was given is shown only where it is one value: a whole
    file would hide the message, and may hold what is not to be shown.
    """
    where, message = ".".join(str(part) for part in item["loc"]), item["msg"].removeprefix(_PREFIX)
    if item["type"] == "extra_forbidden":
        return f"{where}: unknown key{_remedy(where, known)}"
    single = item["loc"] and item["type"] != "missing" and not isinstance(item["input"], dict | list | tuple)
    given = f" (given: {item['input']!r})" if single else ""
    if where:
        return f"{where}: {message}{given}"
    return message if item["type"] == "value_error" else f"the file: {message}"


def _remedy(name: str, known: tuple[str, ...]) -> str:
    """Of an unknown key: what it may have been meant to be, or what there is."""
    if not known or "." in name:
        return ": leave it out"
    near = get_close_matches(name, known, 1, cutoff=0.75)
    return f": did you mean `{near[0]}`?" if near else f": leave it out; there are {', '.join(known)}"
