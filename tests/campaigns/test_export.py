"""Exports: nobody can be told from them, no cell runs, and nothing but the whole of an unchanged plan goes out."""

import csv
import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.campaigns.export import export_plan, harmless
from recsys.campaigns.export_log import LOG, log_export, log_refusal
from recsys.campaigns.plan_files import MANIFEST, assignment_hash, fingerprint, verify_plan, write_json
from recsys.errors import RecsysError
from serving.campaigns.desk import CampaignDesk, Exporter
from serving.store.database import open_store, sqlite_url

NOW = datetime(2026, 11, 1, tzinfo=UTC)
KEY = b"k" * 32
FORMULA = '=HYPERLINK("http://x.example","win")'


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    folder = tmp_path / "plan"
    (folder / "images").mkdir(parents=True)
    (folder / "images" / "a1.png").write_bytes(b"picture")
    rows = pl.DataFrame(
        {
            "customer_id": ["c1", "c2", "c2"],
            "product_id": ["p1", FORMULA, "p1"],
            "content_id": ["a1", "a2", "a1"],
            "channel": ["email", "app", "sms"],
            "slot": [0, 0, 1],
            "send_at": [NOW] * 3,
            "value": [1.5, 2.5, 3.5],
        }
    )
    rows.write_parquet(folder / "assignments.parquet")
    write_json(folder / "plan.json", {"brief": {"name": "n", "salt": "pepper", "seed": 1}, "seed": 1, "totals": {}})
    write_json(folder / "variants.json", [{"content_id": "a1", "headline": "@SUM(A1)", "opt_out": None}])
    files = {str(one.relative_to(folder)): fingerprint(one) for one in folder.rglob("*") if one.is_file()}
    manifest = {"campaign_id": "x", "files": files, "assignment_hash": assignment_hash(rows), "brief_hash": "b"}
    write_json(folder / MANIFEST, {**manifest, "versions": {}})
    return folder


def _text(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file())


def test_export_names_nobody_and_keeps_who_is_who(plan: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    manifest = export_plan(plan, out, KEY, ("csv", "parquet"), NOW)
    rows = list(csv.DictReader((out / "assignments.csv").read_text().splitlines()))
    assert "customer_id" not in rows[0]
    by_product = sorted((row["recipient"], row["channel"]) for row in rows)
    names = {row["recipient"] for row in rows}
    assert len(names) == 2
    assert sorted(len([name for name, _ in by_product if name == one]) for one in names) == [1, 2]
    assert all(len(name) == 32 for name in names)
    whole = _text(out)
    assert not {"c1", "c2"} & {cell for row in rows for cell in row.values()}
    assert b"pepper" not in whole
    assert pl.read_parquet(out / "assignments.parquet")["recipient"].to_list() == [row["recipient"] for row in rows]
    for name, said in manifest["files"].items():
        assert hashlib.sha256((out / name).read_bytes()).hexdigest() == said["sha256"]
    assert json.loads((out / MANIFEST).read_text()) == manifest
    assert manifest["rows"] == 3


def test_pseudonyms_need_the_key(plan: Path, tmp_path: Path) -> None:
    names = []
    for place, key in enumerate((KEY, KEY, b"other" * 8)):
        export_plan(plan, tmp_path / str(place), key, ("parquet",), NOW)
        names.append(pl.read_parquet(tmp_path / str(place) / "assignments.parquet")["recipient"].to_list())
    assert names[0] == names[1]
    assert not set(names[0]) & set(names[2])


def test_no_cell_runs(plan: Path, tmp_path: Path) -> None:
    export_plan(plan, tmp_path / "out", KEY, ("csv",), NOW)
    for file in ("assignments.csv", "variants.csv"):
        for row in csv.reader((tmp_path / "out" / file).read_text().splitlines()):
            assert not any(cell[:1] in {"=", "+", "-", "@"} for cell in row)
    assert f"'{FORMULA}" in pl.read_csv(tmp_path / "out" / "assignments.csv")["product_id"].to_list()


@given(st.text())
def test_harmless_cell_never_begins_like_a_formula_and_loses_nothing(text: str) -> None:
    cell = harmless(text)
    assert cell in {text, f"'{text}"}
    assert not cell.lstrip().startswith(("=", "+", "-", "@", "＝"))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda plan: (plan / "plan.json").write_text("{}"), "plan.json was changed"),
        (lambda plan: (plan / "images" / "a1.png").unlink(), "images/a1.png is missing"),
        (lambda plan: (plan / "more.txt").write_text(""), "more.txt was added"),
        (lambda plan: (plan / MANIFEST).unlink(), "is no plan"),
    ],
)
def test_a_plan_that_is_not_whole_is_not_exported(plan: Path, tmp_path: Path, change: Any, says: str) -> None:
    assert verify_plan(plan)["campaign_id"] == "x"
    change(plan)
    with pytest.raises(RecsysError, match=says):
        export_plan(plan, tmp_path / "out", KEY, ("csv",), NOW)
    assert not (tmp_path / "out").exists()


def test_unknown_format_and_taken_place_are_refused(plan: Path, tmp_path: Path) -> None:
    with pytest.raises(RecsysError, match="xlsx: no such format"):
        export_plan(plan, tmp_path / "out", KEY, ("xlsx",), NOW)
    export_plan(plan, tmp_path / "out", KEY, ("csv",), NOW)
    before = _text(tmp_path / "out")
    with pytest.raises(RecsysError, match="is there already"):
        export_plan(plan, tmp_path / "out", KEY, ("csv",), NOW)
    assert _text(tmp_path / "out") == before


def test_every_export_leaves_a_line(plan: Path, tmp_path: Path) -> None:
    for place in ("one", "two"):
        log_export(tmp_path / "home", export_plan(plan, tmp_path / place, KEY, ("csv",), NOW), tmp_path / place, "ann")
    lines = [json.loads(line) for line in (tmp_path / "home" / LOG).read_text().splitlines()]
    assert [Path(line["out"]).name for line in lines] == ["one", "two"]
    assert all(line["rows"] == 3 and line["by"] == "ann" for line in lines)


def test_export_that_cannot_be_logged_does_not_leave(plan: Path, tmp_path: Path) -> None:
    home, out = tmp_path / "home", tmp_path / "out"
    (home / LOG).mkdir(parents=True)  # nothing can be appended to a folder
    exporter = Exporter(home, KEY, "ann")
    with open_store(sqlite_url(tmp_path)) as store, pytest.raises(RecsysError, match="cannot be written"):
        CampaignDesk(store).export(plan, out, exporter)
    assert not out.exists()


def test_refusal_leaves_a_line_that_says_who_tried(plan: Path, tmp_path: Path) -> None:
    log_refusal(tmp_path / "home", plan, "eve", "lacks the scope", NOW)
    line = json.loads((tmp_path / "home" / LOG).read_text())
    assert line == {"refused_at": NOW.isoformat(), "plan": str(plan), "by": "eve", "why": "lacks the scope"}
