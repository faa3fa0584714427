"""What the README and the demo tell people to copy, run by a shell as it is written: only port and paths differ."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from recsys.cli.demo import demo_instructions, well_known_customer
from recsys.data.contract import Dataset
from recsys.home import Home
from recsys.policy.sources import consent_rows
from recsys.schema import CUSTOMER_ID, Table
from serving.live_server import command_line
from tests.end_to_end.live import Live
from tests.trained_bank import TrainedBank

README = Path(__file__).parents[2] / "README.md"
AS_WRITTEN = ("127.0.0.1:8000", ".venv/bin/recsys")


def shell(command: str, live: Live) -> str:
    """What a shell prints, with this server's port, command and home in place of those of a fresh checkout."""
    for written, own in zip(AS_WRITTEN, (f"127.0.0.1:{live.server.port}", str(command_line())), strict=True):
        assert written in command
        command = command.replace(written, own)
    environment = {**os.environ, "RECSYS_HOME": str(live.server.home)}
    done = subprocess.run(
        ["bash", "-euc", command], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def readme_calls() -> list[str]:
    """The blocks of the README that call the service."""
    blocks = re.findall(r"^```\w*\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)
    return [block for block in blocks if block.startswith("curl ")]


def test_readme_shows_a_call() -> None:
    assert readme_calls()


@pytest.mark.parametrize("number", range(len(readme_calls())))
def test_readme_call_is_taken_as_it_is_written(live: Live, number: int) -> None:
    call = readme_calls()[number]
    answer = json.loads(shell(call, live))
    if "/v1/events" in call:
        assert [result["status"] for result in answer["results"]] == ["accepted"]
        assert json.loads(shell(call, live))["results"][0]["status"] == "duplicate"  # its event_id is written there
    else:
        assert answer["placements"][0]["items"]


def test_demo_prints_a_call_that_is_answered_with_products_and_a_creative(live: Live, trained: TrainedBank) -> None:
    lines = demo_instructions(Home(live.server.home), trained.data, 8000)
    call = "\n".join(line for line in lines[2:5]).replace(f"--home {live.server.home}", "")
    answer = json.loads(shell(call, live))
    assert answer["mode"] == "personalised"
    assert [bool(place["items"]) for place in answer["placements"]] == [True, True]


def test_demo_shows_somebody_who_refuses_nothing(live: Live, trained: TrainedBank, tmp_path: Path) -> None:
    features = Home(live.server.home).features
    first = well_known_customer(Dataset.open(trained.data), features)
    bank = shutil.copytree(trained.data, tmp_path / "bank")
    consents = pl.read_parquet(bank / "consents.parquet")
    marketing = (pl.col(CUSTOMER_ID) == first) & (pl.col("purpose") == "marketing")
    consents.with_columns(pl.col("granted") & ~marketing).write_parquet(bank / "consents.parquet")
    second = well_known_customer(Dataset.open(bank), features)
    assert second != first
    for data, customer in ((trained.data, first), (bank, second)):
        answers = consent_rows(Dataset.open(data)).filter(pl.col(CUSTOMER_ID) == customer).collect()
        assert len(answers)
        assert answers["granted"].all()


def test_demo_shows_somebody_of_a_bank_where_nobody_has_all(trained: TrainedBank, tmp_path: Path) -> None:
    bank = shutil.copytree(trained.data, tmp_path / "bank")
    refused = pl.read_parquet(bank / "consents.parquet").with_columns(granted=pl.lit(value=False))
    refused.write_parquet(bank / "consents.parquet")
    dataset = Dataset.open(bank)
    everybody = dataset.scan(Table.CUSTOMERS).collect()[CUSTOMER_ID].to_list()
    assert well_known_customer(dataset, tmp_path / "no features") in everybody


def test_example_client_runs_as_its_docstring_says(live: Live, trained: TrainedBank) -> None:
    lines = demo_instructions(Home(live.server.home), trained.data, 8000)
    customer = re.search(r"--customer (\S+)\)", "\n".join(lines))
    assert customer is not None
    token = subprocess.run(
        [command_line(), "token", "--service", "app", "--scope", "recommendations:read", "--scope", "events:write"],
        env={**os.environ, "RECSYS_HOME": str(live.server.home)},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    ).stdout.strip()
    done = subprocess.run(
        [sys.executable, "-m", "serving.examples.client", live.server.url, token, customer[1]],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[-1] == "click: accepted"
    assert [int(line[:3]) for line in lines[:-1]] == list(range(1, len(lines)))
