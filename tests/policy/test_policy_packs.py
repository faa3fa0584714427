"""Packs: the packaged ones load; a broken one names its file and field."""

from pathlib import Path

import pytest
import yaml

from recsys.errors import ConfigError
from recsys.policy.pack import PolicyPack, load_pack
from recsys.policy.registry import PackRegistry, pack_in_force, packaged_packs
from recsys.policy.rules.vulnerability import VulnerabilityRule
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
    assert packaged_packs() == sorted(PolicyName)


SERVING_RULES = [
    *("ELIG_AGE", "ELIG_RESIDENCE", "ELIG_SEGMENT", "ELIG_INCOME", "ELIG_KYC", "ELIG_PREREQUISITE", "ELIG_HELD"),
    *("ELIG_PENDING", "ELIG_DECLINED", "ELIG_CHANNEL", "ELIG_JURISDICTION"),
    *("LIFE_NOT_LIVE", "LIFE_PAUSED", "LIFE_SOLD_OUT"),
    *("SUIT_RISK", "SUIT_EXPIRED", "SUIT_MISSING", "SUIT_HORIZON", "SUIT_AMOUNT", "SUIT_KNOWLEDGE"),
    *("SUIT_NEGATIVE_TARGET", "SUIT_UNRATED", "CRED_ARREARS", "CRED_STEERING"),
    *("VULN_MINOR", "VULN_ARREARS", "VULN_BEREAVED", "VULN_FRAUD_VICTIM", "VULN_COMPLAINT"),
    *("CONSENT_MARKETING", "CONSENT_PROFILING", "CONSENT_CHANNEL"),
    *("CONTACT_CAP", "CONTACT_QUIET", "CONTACT_COOLOFF", "CAP_PRODUCT"),
    *("CONTENT_NOT_APPROVED", "CONTENT_EXPIRED", "CONTENT_LOCALE", "CONTENT_PRICE_MISMATCH", "DATA_STALE"),
]
"""Of domain.md, those that concern serving."""


@pytest.mark.parametrize("name", sorted(set(PolicyName) - {PolicyName.NONE}))
def test_load_pack_every_jurisdiction_has_every_rule_and_section(name: PolicyName) -> None:
    pack = load_pack(name)
    assert sorted(rule.id for rule in pack.rules) == sorted(SERVING_RULES)
    assert {"sex", "age", "nationality", "religion", "marital_status"} <= set(pack.credit.protected_columns)
    assert pack.credit.proxy_columns
    assert set(pack.exploration.off_for) == {"investment", "credit"}
    assert not pack.promotion.needs_second_approver  # the package has nobody to name: a bank's own pack says true


def limits(pack: PolicyPack) -> dict[str, float]:
    """Settings of which the lower is the stricter, or whose sign was turned so that it is."""
    settings = {(rule.id, name): value for rule in pack.rules for name, value in rule.model_dump().items()}
    lower = {"max_age_days", "max_age_hours", "total", "default_category"}
    higher = {"cool_off_days", "pending_days", "window_days"}
    found = {f"{rule}.{name}": value for (rule, name), value in settings.items() if name in lower}
    return found | {f"{rule}.{name}": -value for (rule, name), value in settings.items() if name in higher}


@pytest.mark.parametrize("name", ["eu", "uk", "us", "cn"])
def test_bank_pack_is_the_strictest(name: str) -> None:
    bank, other = load_pack(PolicyName.BANK), load_pack(PolicyName(name))
    theirs = limits(other)
    assert {key: value for key, value in limits(bank).items() if value > theirs[key]} == {}
    for rule in bank.rules:
        if isinstance(rule, VulnerabilityRule):
            lesser = other.rule(rule.id)
            assert isinstance(lesser, VulnerabilityRule)
            assert set(lesser.suppressed) <= set(rule.suppressed)
            assert rule.contents >= lesser.contents
    assert set(other.pushed_channels) <= set(bank.pushed_channels)


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
        ("name: test", "name: test\nname: again", r"pack.yaml:3: name: is there twice"),
        ("  - {id: SUIT", "  - {id: CONTACT_QUIET, source: x, effective_from: 2026-01-01, start: 21:00}\n  - {id: SUIT",
         r"pack.yaml:7: .*start.*is a number"),
        ("  - {id: SUIT", "  - {id: CONTACT_QUIET, source: x, effective_from: 2026-01-01}\n  - {id: SUIT",
         "pushed_channels: CONTACT_QUIET needs to know"),
        ("name: test", "name: test\nchannel_aliases: {sms: text}\npushed_channels: [sms]", "sms is an alias"),
    ],
)  # fmt: skip
def test_from_yaml_broken_pack_names_file_and_field(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    path = write(tmp_path, GOOD.replace(old, new, 1))
    with pytest.raises(ConfigError, match=complaint) as caught:
        PolicyPack.from_yaml(path)
    assert str(path) in str(caught.value)


def test_from_yaml_rule_id_twice_is_refused(tmp_path: Path) -> None:
    twice = GOOD + "  - {id: LIFE_PAUSED, source: again, effective_from: 2026-01-01}\n"
    with pytest.raises(ConfigError, match=r"pack\.yaml:8: rules\.2\.id: LIFE_PAUSED is there twice"):
        PolicyPack.from_yaml(write(tmp_path, twice))
    with pytest.raises(ConfigError, match="LIFE_PAUSED is there twice"):
        PolicyPack.parse(yaml.safe_load(twice), source="a mapping")


@pytest.mark.parametrize(
    ("old", "new", "line", "field"),
    [
        ("LIFE_PAUSED, ", "LIFE_PAUSED, colour: red, ", 6, "rules.0.LIFE_PAUSED.colour"),
        ("max_age_days: 365", "max_age_days: soon", 7, "rules.1.SUIT_EXPIRED.max_age_days"),
        ("2026-01-01}", "2026-13-01}", 6, "rules.0.effective_from"),
        ("2026-01-01}", "someday}", 6, "rules.0.LIFE_PAUSED.effective_from"),
        ("source: the bank, effective_from: 2026-01-01, max", "effective_from: 2026-01-01, max", 7, "source"),
        ("held_by: conversions", "held_by: luck", 4, "held_by"),
    ],
)
def test_from_yaml_broken_pack_names_the_line(tmp_path: Path, old: str, new: str, line: int, field: str) -> None:
    path = write(tmp_path, GOOD.replace(old, new, 1))
    with pytest.raises(ConfigError) as caught:
        PolicyPack.from_yaml(path)
    assert str(caught.value).startswith(f"{path}:{line}: ")
    assert field in str(caught.value)


def test_from_yaml_names_all_findings_at_once(tmp_path: Path) -> None:
    broken = GOOD.replace("held_by: conversions", "held_by: luck").replace("max_age_days: 365", "max_age_days: 0")
    with pytest.raises(ConfigError) as caught:
        PolicyPack.from_yaml(write(tmp_path, broken))
    assert [part.split(": ")[0].rpartition(":")[2] for part in str(caught.value).splitlines()] == ["4", "7"]


def own_pack(folder: Path, text: str) -> None:
    (folder / "bank.yaml").write_text(text)


def test_registry_failed_reload_keeps_the_last_good_pack(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    own_pack(tmp_path, GOOD.replace("name: test", "name: bank"))
    registry = PackRegistry(tmp_path)
    first = registry.get(PolicyName.BANK)
    assert (first.version, registry.reload()) == ("1", [])
    own_pack(tmp_path, "name: bank\nrules: [")
    (failure,) = registry.reload()
    assert "bank.yaml" in str(failure)
    assert "stays at version 1" in caplog.text
    assert registry.get(PolicyName.BANK) == first
    own_pack(tmp_path, GOOD.replace("name: test", "name: bank").replace('"1"', '"2"'))
    assert registry.reload() == []
    assert registry.get(PolicyName.BANK).version == "2"


def test_registry_names_without_a_file_of_their_own_are_the_packaged_ones(tmp_path: Path) -> None:
    assert PackRegistry(tmp_path).get(PolicyName.EU) == load_pack(PolicyName.EU)
    assert PackRegistry().get(PolicyName.UK) == load_pack(PolicyName.UK)


def test_registry_first_pack_that_is_broken_stops_the_start(tmp_path: Path) -> None:
    own_pack(tmp_path, GOOD)
    with pytest.raises(ConfigError, match="name: is test, must be bank"):
        PackRegistry(tmp_path).get(PolicyName.BANK)


def test_from_yaml_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        PolicyPack.from_yaml(tmp_path / "none.yaml")


def test_pack_in_force_is_the_homes_own_and_else_the_packaged_one(tmp_path: Path) -> None:
    own = GOOD.replace("name: test", "name: uk") + "promotion: {needs_second_approver: true}\n"
    (tmp_path / "packs").mkdir()
    (tmp_path / "packs" / "uk.yaml").write_text(own)
    assert pack_in_force(tmp_path, PolicyName.UK).promotion.needs_second_approver
    assert pack_in_force(tmp_path, PolicyName.EU) == load_pack(PolicyName.EU)
    (tmp_path / "packs" / "uk.yaml").write_text(own + "colour: red\n")
    with pytest.raises(ConfigError, match=r"uk\.yaml:\d+: colour: unknown key"):
        pack_in_force(tmp_path, PolicyName.UK)
