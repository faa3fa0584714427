"""Packs: the packaged ones load; a broken one names its file and field."""

from pathlib import Path

import pytest

from recsys.errors import ConfigError
from recsys.policy.pack import PolicyPack, load_pack
from recsys.schema import PolicyName

GOOD = """
name: test
version: "1"
held_by: conversions
rules:
  - {id: LIFE_PAUSED, source: the bank, effective_from: 2026-01-01}
  - {id: SUIT_EXPIRED, source: the bank, effective_from: 2026-01-01, max_age_days: 365}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "pack.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", PolicyName)
def test_load_pack_packaged_one_is_valid(name: PolicyName) -> None:
    pack = load_pack(name)
    assert pack.name == name
    assert all(rule.source for rule in pack.rules)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("LIFE_PAUSED, ", "LIFE_PAUSED, colour: red, ", r"rules\.0\.LIFE_PAUSED\.colour: unknown key"),
        ("LIFE_PAUSED", "LIFE_FOREVER", r"rules\.0.*LIFE_FOREVER"),
        ("LIFE_PAUSED, source: the bank, effective_from: 2026-01-01", "SUIT_UNRATED, effective_from: 2026-01-01",
         r"rules\.0\.SUIT_UNRATED\.source: Field required"),
        ("2026-01-01}", "someday}", r"rules\.0\.LIFE_PAUSED\.effective_from"),
        ("2026-01-01}", "2026-13-01}", "date that cannot be read"),
        ("2026-01-01}", "20260101}", r"effective_from.*is a number"),
        ("max_age_days: 365", "max_age_days: 0", r"SUIT_EXPIRED\.max_age_days"),
        ("held_by: conversions", "held_by: luck", "held_by"),
        ("name: test", "name: test\ncolour: red", "colour: unknown key"),
        ("rules:", "rules: [", "is not YAML"),
    ],
)  # fmt: skip
def test_from_yaml_broken_pack_names_file_and_field(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    path = write(tmp_path, GOOD.replace(old, new, 1))
    with pytest.raises(ConfigError, match=complaint) as caught:
        PolicyPack.from_yaml(path)
    assert str(path) in str(caught.value)


def test_from_yaml_rule_id_twice_is_refused(tmp_path: Path) -> None:
    twice = GOOD + "  - {id: LIFE_PAUSED, source: again, effective_from: 2026-01-01}\n"
    with pytest.raises(ConfigError, match="LIFE_PAUSED is there twice"):
        PolicyPack.from_yaml(write(tmp_path, twice))


def test_from_yaml_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        PolicyPack.from_yaml(tmp_path / "none.yaml")
