"""From a brief to a plan by the command line, on a trained bank; the plan checked against the bank's own tables."""

import hashlib
import json
import shutil
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from PIL import Image

from recsys.bundle import Bundle
from recsys.campaigns.audience import AudienceError
from recsys.campaigns.brief import Brief
from recsys.campaigns.holdouts import CAMPAIGN, GLOBAL, NONE, hold_out
from recsys.campaigns.plan_files import assignment_hash
from recsys.campaigns.planner import read_audience
from recsys.cli.people import local_user
from recsys.data.contract import Dataset
from tests.end_to_end.conftest import BUDGET, Planning, TrainedBank, exporters_token, run
from training.campaign import BankCustomers
from training.tracking import Tracker


def read_plan(folder: Path) -> dict[str, Any]:
    plan: dict[str, Any] = json.loads((folder / "plan.json").read_text())
    return plan


def test_plan_keeps_to_budget_capacity_and_caps(planned: Path, values: dict[str, Any]) -> None:
    chosen, plan = pl.read_parquet(planned / "assignments.parquet"), read_plan(planned)
    assert 0 < chosen["cost"].sum() <= BUDGET + 1e-9
    assert plan["totals"]["cost"] == pytest.approx(chosen["cost"].sum())
    assert plan["totals"]["customers"] == plan["waterfall"][-1]["left"] == chosen["customer_id"].n_unique()
    assert chosen["customer_id"].is_unique().all()
    assert plan["gap"] <= 0.01
    assert [entry["name"] for entry in plan["constraints"] if entry["binding"]] == ["budget"]
    expected = plan["totals"]["expected_responses"]
    assert expected["mean"] == pytest.approx(chosen["probability"].sum())
    assert expected["low"] < expected["mean"] < expected["high"]
    learned = plan["learned_from"]
    assert 0 < learned["responses"] <= learned["scored"] <= learned["exposures"]
    assert f"{learned['exposures']} logged impressions of {learned['customers']} customers" in plan["why"]


def test_plan_contacts_only_who_agreed_and_never_who_is_held_out(planned: Path, champion: TrainedBank) -> None:
    chosen, held = (pl.read_parquet(planned / f"{name}.parquet") for name in ("assignments", "holdout"))
    brief = Brief.parse(read_plan(planned)["brief"], source="plan.json")
    assert set(hold_out(chosen["customer_id"].to_list(), brief)) == {NONE}
    assert hold_out(held["customer_id"].to_list(), brief).tolist() == held["group"].to_list()
    assert set(held["group"]) == {GLOBAL, CAMPAIGN}
    consents = pl.read_parquet(champion.data / "consents.parquet").sort("event_timestamp")
    latest = consents.group_by("customer_id", "purpose", "channel").last()
    for purpose in ("marketing", "profiling"):
        general = latest.filter((pl.col("purpose") == purpose) & pl.col("granted"))
        assert chosen.join(general, on="customer_id", how="anti").is_empty(), purpose


def test_plan_sends_approved_creatives_of_suitable_products_by_day(planned: Path, champion: TrainedBank) -> None:
    chosen = pl.read_parquet(planned / "assignments.parquet")
    latest = {
        name: pl.read_parquet(champion.data / f"{name}s.parquet").sort("event_timestamp").group_by(f"{name}_id").last()
        for name in ("customer", "product", "content")
    }
    rows = chosen.join(latest["product"], on="product_id").join(latest["customer"], on="customer_id", suffix="_c")
    rows = rows.join(latest["content"], on="content_id", suffix="_content")
    assert len(rows) == len(chosen)
    assert (rows["product_id"] == rows["product_id_content"]).all()
    assert set(rows["status_content"]) == {"approved"}
    assert set(rows["status"]) == {"live"}
    assert set(rows["category"]) <= {"savings", "term_deposit", "card", "insurance", "fx"}
    assert not rows.filter(pl.col("channel_content") != pl.col("channel")).height
    local = {moment.astimezone(ZoneInfo(zone)).hour for moment, zone in rows.select("send_at", "time_zone").iter_rows()}
    assert local == {10}
    assert chosen["slot"].n_unique() > 1


def test_plan_is_the_audience_of_the_brief_and_no_one_else(planned: Path, champion: TrainedBank) -> None:
    customers = (
        pl.read_parquet(champion.data / "customers.parquet").sort("event_timestamp").group_by("customer_id").last()
    )
    audience = customers.filter(
        pl.col("segment").is_in(["mass", "affluent", "private"])
        & ((pl.col("liquid_amount") >= 500) | pl.col("income_band").is_not_null())
        & (pl.col("kyc_status") != "pending")
    )
    steps = read_plan(planned)["waterfall"]
    assert [step["left"] for step in steps[:2]] == [len(customers), len(audience)]
    chosen = pl.read_parquet(planned / "assignments.parquet")
    assert chosen.join(audience, on="customer_id", how="anti").is_empty()
    for before, after in pairwise(steps):
        assert before["left"] - after["removed"] == after["left"]


def test_plan_manifest_names_every_file_by_its_hash(planned: Path) -> None:
    manifest = json.loads((planned / "manifest.json").read_text())
    files = {str(f.relative_to(planned)) for f in planned.rglob("*") if f.is_file()} - {"manifest.json"}
    assert set(manifest["files"]) == files
    for name, said in manifest["files"].items():
        assert said["sha256"] == hashlib.sha256((planned / name).read_bytes()).hexdigest()
    variants = json.loads((planned / "variants.json").read_text())
    used = set(pl.read_parquet(planned / "assignments.parquet")["content_id"])
    assert {variant["content_id"] for variant in variants} == used
    assert all((planned / "images" / variant["image"]).is_file() for variant in variants)
    with Image.open(planned / "waterfall.png") as picture:
        assert picture.width > 400


def test_plan_of_the_same_brief_has_the_same_assignment_hash(
    planned: Path, values: dict[str, Any], plan_it: Planning, tmp_path: Path
) -> None:
    assert plan_it(values, tmp_path / "again") == 0
    first, second = (json.loads((folder / "manifest.json").read_text()) for folder in (planned, tmp_path / "again"))
    assert first["assignment_hash"] == second["assignment_hash"]
    assert first["assignment_hash"] == assignment_hash(pl.read_parquet(planned / "assignments.parquet").reverse())
    assert plan_it({**values, "budget": BUDGET / 2}, tmp_path / "other") == 0
    assert json.loads((tmp_path / "other" / "manifest.json").read_text())["assignment_hash"] != first["assignment_hash"]


def test_plan_is_the_same_whatever_the_number_of_workers(
    values: dict[str, Any], plan_it: Planning, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recsys.campaigns.judging.BATCH", 97)
    hashes = []
    for processors in (1, 2, 5):
        monkeypatch.setattr("os.cpu_count", lambda processors=processors: processors)
        assert plan_it(values, tmp_path / f"with-{processors}") == 0
        hashes.append(json.loads((tmp_path / f"with-{processors}" / "manifest.json").read_text())["assignment_hash"])
    assert len(set(hashes)) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"audiance": "everyone"}, "audiance: unknown key"),
        ({"audience": {"field": "segment", "equals": "nobody-has-this"}}, "nobody is in it"),
        ({"audience": {"field": "height", "above": 3}}, "`height` is no field"),
        ({"products": ["p9999"], "categories": []}, "no such product"),
        ({"categories": ["spaceship"]}, "no such category"),
        ({"languages": ["xx"]}, "no creative"),
        ({"categories": [], "audience": {"field": "region", "equals": "Cork"}}, "`region` is refused"),
        ({"channels": [{"channel": "sms", "cost_per_contact": 0.01}], "limits": {}}, "ELIG_CHANNEL removes"),
        (
            {"limits": {"cells": [{"segment": "mass", "channel": "email", "minimum": 99999}]}},
            "no plan meets all limits",
        ),
        ({"budget": 0.001}, "does not pay one contact"),
        ({"channels": [{"channel": "email", "cost_per_contact": 1e6}], "budget": 1e9}, "worth what it costs"),
    ],
)
def test_plan_of_a_bad_brief_says_why_and_writes_nothing(
    change: dict[str, Any],
    message: str,
    values: dict[str, Any],
    plan_it: Planning,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert plan_it({**values, **change}, tmp_path / "plan") == 1
    assert message in " ".join(capsys.readouterr().err.split())
    assert [file.name for file in tmp_path.iterdir()] == ["plan.yaml"]


def test_plan_in_the_past_is_refused(
    values: dict[str, Any], plan_it: Planning, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    early = {**values, "starts": values["starts"] - timedelta(days=30)}
    assert plan_it(early, tmp_path / "plan") == 1
    assert "is in the past: the data end at" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "plan").exists()


def test_plan_never_overwrites_a_plan(planned: Path, values: dict[str, Any], plan_it: Planning) -> None:
    before = (planned / "manifest.json").read_bytes()
    assert plan_it(values, planned) == 1
    assert (planned / "manifest.json").read_bytes() == before


@pytest.fixture(scope="module")
def customers(champion: TrainedBank) -> BankCustomers:
    bundle = Bundle.load(Tracker(champion.home).bundle_folder())
    return BankCustomers(Dataset.open(champion.data), champion.home, bundle, "fingerprint")


def test_audience_by_a_feature_is_who_has_it(
    customers: BankCustomers, champion: TrainedBank, values: dict[str, Any]
) -> None:
    brief = Brief.parse({**values, "audience": {"field": "customer_behaviour__n_click_30d", "at_least": 2}}, "test")
    events = pl.read_parquet(champion.home / "features" / "customer_behaviour.parquet").sort("event_timestamp")
    latest = events.filter(pl.col("event_timestamp") <= customers.as_of).group_by("customer_id").last()
    wanted = set(latest.filter(pl.col("n_click_30d") >= 2)["customer_id"])
    assert wanted
    assert set(read_audience(brief, customers)["customer_id"]) == wanted


def test_audience_by_region_depends_on_whether_the_campaign_may_be_about_credit(
    customers: BankCustomers, values: dict[str, Any]
) -> None:
    region = {**values, "categories": [], "audience": {"field": "region", "equals": "Cork"}}
    credit = customers.policy.credits(customers.products)
    loan = next(name for name, is_credit in zip(customers.products.ids, credit, strict=True) if is_credit)
    other = next(name for name, is_credit in zip(customers.products.ids, credit, strict=True) if not is_credit)
    assert len(read_audience(Brief.parse({**region, "products": [other]}, "test"), customers))
    for products in ([loan], [other, loan], "engine"):
        with pytest.raises(AudienceError, match="`region` is refused"):
            read_audience(Brief.parse({**region, "products": products}, "test"), customers)


def test_plan_without_a_brief_is_the_calls_fault() -> None:
    assert run("campaign", "plan") == 2


def test_replay_gives_the_same_assignments_or_says_what_differs(
    champion: TrainedBank, planned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--home", champion.home, "campaign", "replay", planned / "manifest.json", "--json") == 0
    assert json.loads(capsys.readouterr().out)["same"] is True
    other = tmp_path / "other"
    shutil.copytree(planned, other)
    manifest = json.loads((other / "manifest.json").read_text())
    manifest["planned_hash"], manifest["versions"]["model"] = "0" * 64, "another"
    (other / "manifest.json").write_text(json.dumps(manifest))
    assert run("--home", champion.home, "campaign", "replay", other, "--json") == 1
    assert "another" in json.loads(capsys.readouterr().out)["changed_versions"]["model"]["then"]


def test_export_by_command_line_is_logged_and_cannot_be_replayed(
    champion: TrainedBank,
    planned: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "out"
    monkeypatch.setenv("RECSYS_TOKEN", exporters_token(champion.home))
    assert run("--home", champion.home, "campaign", "export", planned, "--out", out) == 0
    ids = set(pl.read_parquet(planned / "assignments.parquet")["customer_id"].to_list())
    text = (out / "assignments.csv").read_text()
    assert not any(one in text for one in ids)
    assert "exported" in capsys.readouterr().err
    lines = [json.loads(line) for line in (champion.home / "campaign_exports.jsonl").read_text().splitlines()]
    assert [line["by"] for line in lines if line.get("out") == str(out)] == ["ann"]
    assert run("--home", champion.home, "campaign", "replay", out / "manifest.json") == 1
    assert "export" in capsys.readouterr().err


def test_export_in_local_mode_is_the_users_of_the_machine(champion: TrainedBank, planned: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run("--home", champion.home, "campaign", "export", planned, "--out", out) == 0
    last = json.loads((champion.home / "campaign_exports.jsonl").read_text().splitlines()[-1])
    assert (last["out"], last["by"]) == (str(out), local_user())


def test_export_with_a_token_without_the_scope_is_refused_and_logged(
    champion: TrainedBank, planned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    held, out = exporters_token(champion.home, "campaigns:write"), tmp_path / "out"
    assert run("--home", champion.home, "campaign", "export", planned, "--out", out, "--token", held) == 1
    told = " ".join(capsys.readouterr().err.split())
    assert "lacks the scope" in told
    assert "recsys token --service NAME --scope campaigns:export" in told
    assert not out.exists()
    last = json.loads((champion.home / "campaign_exports.jsonl").read_text().splitlines()[-1])
    assert (last["plan"], last["by"]) == (str(planned), "ann")
    assert "refused_at" in last
