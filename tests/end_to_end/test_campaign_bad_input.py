"""What a campaign cannot be, said by the command line in words, with nothing half-done."""

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from recsys.campaigns.handover import read_plan
from recsys.campaigns.plan_files import MANIFEST, fingerprint, write_json
from serving.campaigns.desk import CampaignDesk
from serving.settings import Settings
from serving.store.database import open_store
from tests.end_to_end.conftest import Planning, TrainedBank, exporters_token, run

FORMULA = '=HYPERLINK("http://x.example","Day Saver")'


@pytest.fixture
def home(champion: TrainedBank, tmp_path: Path) -> Path:
    """A home of this test's own; the dataset is the champion's."""
    copied = tmp_path / "home"
    shutil.copytree(champion.home, copied)
    return copied


def said(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(capsys.readouterr().err.split())


def status(home: Path, campaign_id: str) -> tuple[str, dict[str, Any]]:
    with open_store(Settings(home=home).store_url()) as store:
        found = CampaignDesk(store).get(campaign_id)
    return found.campaign.state, found.messages


def with_headline(plan: Path, out: Path, headline: str) -> Path:
    """The same plan with other words in one creative, and a manifest that fits them."""
    shutil.copytree(plan, out)
    variants = json.loads((out / "variants.json").read_text())
    variants[0] |= {"headline": headline, "content_hash": "f" * 64}
    write_json(out / "variants.json", variants)
    manifest = json.loads((out / MANIFEST).read_text())
    manifest["files"]["variants.json"] = fingerprint(out / "variants.json")
    write_json(out / MANIFEST, manifest)
    return out


def test_capacity_of_zero_is_refused(
    values: dict[str, Any], plan_it: Planning, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nothing = {**values, "channels": [{"channel": "email", "cost_per_contact": 0.05, "capacity": 0}], "limits": {}}
    assert plan_it(nothing, tmp_path / "plan") == 1
    assert "a channel that can carry nothing is no channel" in said(capsys)
    assert not (tmp_path / "plan").exists()


def test_in_app_delivery_where_the_bank_reaches_out_is_refused(
    values: dict[str, Any], plan_it: Planning, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    email = {"channel": "email", "cost_per_contact": 0.05, "delivery": "in_app"}
    assert plan_it({**values, "channels": [email], "limits": {}}, tmp_path / "plan") == 1
    assert "email is where the bank reaches out" in said(capsys)


def test_creative_that_nobody_approved_stops_the_launch(
    home: Path, planned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    campaign, name = ("--home", home, "campaign"), read_plan(planned).brief.campaign_id
    assert run(*campaign, "submit", planned, "--author", "ann") == 0
    assert run(*campaign, "launch", planned, "--by", "ann") == 1
    assert "only one that is approved can become scheduled" in said(capsys)
    assert run(*campaign, "approve", planned, "--approver", "bob") == 0
    other = with_headline(planned, tmp_path / "other", "Another promise")
    assert run(*campaign, "launch", other, "--by", "ann") == 1
    assert "changed after bob approved it" in said(capsys)
    assert status(home, name) == ("approved", {})


def test_formula_in_a_name_is_text_in_an_export(home: Path, planned: Path, tmp_path: Path) -> None:
    plan = with_headline(planned, tmp_path / "other", FORMULA)
    held = ("--format", "csv", "--token", exporters_token(home))
    assert run("--home", home, "campaign", "export", plan, "--out", tmp_path / "out", *held) == 0
    with (tmp_path / "out" / "variants.csv").open() as handle:
        headlines = [row["headline"] for row in csv.DictReader(handle)]
    assert f"'{FORMULA}" in headlines
    assert not any(line.startswith("=") for line in headlines)


def test_two_people_approving_at_once_one_wins_and_the_other_is_told_who(home: Path, planned: Path) -> None:
    name = read_plan(planned).brief.campaign_id
    assert run("--home", home, "campaign", "submit", planned, "--author", "ann") == 0
    command = [
        sys.executable,
        "-c",
        "from recsys.cli.app import run; run()",
        "--home",
        str(home),
        "campaign",
        "approve",
    ]
    running = {
        who: subprocess.Popen([*command, str(planned), "--approver", who], stderr=subprocess.PIPE, text=True)
        for who in ("bob", "eve")
    }
    ends = {who: (process.communicate(timeout=180)[1], process.returncode) for who, process in running.items()}
    winners = [who for who, (_, code) in ends.items() if code == 0]
    assert len(winners) == 1
    ((words, code),) = [ends[who] for who in ends if who not in winners]
    assert code == 1
    assert f"by {winners[0]}" in " ".join(words.split())
    assert status(home, name)[0] == "approved"
