"""A language model at the command line: what it writes is used where it is true, and counted where it is not."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from tests.end_to_end.conftest import TrainedBank, run

HONEST, LIE = " Take your time.", " Guaranteed: 99 % for everyone."
ASKED = 6


class Handler(BaseHTTPRequestHandler):
    """Answers as OpenAI's chat completions do; every second rewrite promises too much."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        words = json.loads(asked["messages"][0]["content"].rpartition("Message: ")[2])
        self.server.asked += 1  # type: ignore[attr-defined]
        words["body"] += HONEST if self.server.asked % 2 else LIE  # type: ignore[attr-defined]
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"choices": [{"message": {"content": json.dumps(words)}}]}).encode())

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Path]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.asked = 0  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        file = tmp_path / "writer.yaml"
        file.write_text(f"url: http://127.0.0.1:{server.server_port}/v1\nmodel: any\n")
        yield file
        server.shutdown()


@pytest.fixture
def brief(values: dict[str, Any], champion: TrainedBank, tmp_path: Path) -> Path:
    """By mail, about one savings account: few variants, so that the test is quick."""
    products = pl.read_parquet(champion.data / "products.parquet").sort("product_id")
    savings = products.filter(pl.col("category") == "savings", pl.col("status") == "live")["product_id"][0]
    mail = [entry for entry in values["channels"] if entry["channel"] == "email"]
    asked = {key: value for key, value in values.items() if key not in ("categories", "limits")}
    file = tmp_path / "brief.yaml"
    file.write_text(yaml.safe_dump({**asked, "products": [savings], "channels": mail, "budget": 1.0}))
    return file


def test_content_uses_what_the_writer_may_say_and_counts_the_rest(
    champion: TrainedBank, brief: Path, writer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "content"
    verb = ("--home", champion.home, "campaign", "content", brief, "--out", out)
    assert run(*verb, "--writer", writer, "--rewrites", str(ASKED), "--json") == 0
    report = json.loads(capsys.readouterr().out)
    rewrites = report["rewrites"]
    assert (rewrites["accepted"], rewrites["rejected"]) == (ASKED // 2, ASKED // 2)
    assert rewrites["reasons"]["claim"] == ASKED // 2
    variants = json.loads((out / "variants.json").read_text())
    written = [one for one in variants if one["source"] == "model"]
    assert len(written) == ASKED // 2 < len(variants)
    assert all(one["body"].endswith(HONEST.strip()) and one["machine_made"] for one in written)
    assert not any("Guaranteed" in one["body"] for one in variants)


def test_plan_with_composed_copy_says_what_the_writer_was_not_believed(
    champion: TrainedBank, brief: Path, writer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "plan"
    verb = ("--home", champion.home, "campaign", "plan", brief, "--out", out)
    assert run(*verb, "--compose", "3", "--writer", writer) == 0
    summary = json.loads((out / "plan.json").read_text())
    rewrites = summary["rewrites"]
    assert rewrites["accepted"] > 0
    assert rewrites["reasons"]["claim"] == rewrites["rejected"] > 0
    said = " ".join(capsys.readouterr().err.split())
    assert f"the language model rewrote {rewrites['accepted']}; {rewrites['rejected']} refused (" in said
    assert f"claim {rewrites['rejected']}" in said
    variants = json.loads((out / "variants.json").read_text())
    assert {one["source"] for one in variants} == {"model", "template"}
    assert not any("Guaranteed" in one["body"] for one in variants)


def test_writer_without_copy_to_rewrite_or_without_its_file_is_refused(
    champion: TrainedBank, brief: Path, writer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "plan"
    verb = ("--home", champion.home, "campaign", "plan", brief, "--out", out)
    assert run(*verb, "--writer", writer) == 2
    assert "add --compose 3" in " ".join(capsys.readouterr().err.split())
    assert run(*verb, "--compose", "3", "--writer", tmp_path / "nothing.yaml") == 1
    assert "nothing.yaml" in "".join(capsys.readouterr().err.split())
    assert not out.exists()
