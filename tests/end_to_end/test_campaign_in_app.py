"""A campaign in the app by the command line: it waits for its customers and for nobody held out, and is reported."""

import json
import shutil
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from starlette.testclient import TestClient

from recsys.campaigns.handover import read_plan
from serving.app import create_app
from serving.campaigns.desk import CampaignDesk
from serving.settings import Settings
from serving.store.database import open_store
from serving.store.events import Consequences, EventRecord, EventStore
from serving.store.facts import FactStore
from serving.tokens import READ, issue_token
from tests.end_to_end.conftest import Planning, TrainedBank, run

NOTHING = Consequences([], [], [], [])
ASKED = 20
PLACES: list[dict[str, Any]] = [
    {"name": "home", "kind": "products", "limit": 3},
    {"name": "banner", "kind": "contents", "limit": 2},
]


@pytest.fixture(scope="module")
def waiting(values: dict[str, Any], plan_it: Planning, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plan whose app contacts are not sent."""
    out = tmp_path_factory.mktemp("plans") / "in-app"
    channels = [{name: value for name, value in one.items() if name != "delivery"} for one in values["channels"]]
    assert plan_it({**values, "channels": channels, "campaign_id": "in-app"}, out) == 0
    return out


def test_in_app_contacts_wait_are_seen_and_reported(
    champion: TrainedBank, waiting: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "home"
    shutil.copytree(champion.home, home)
    campaign, plan = ("--home", home, "campaign"), read_plan(waiting)
    assert plan.summary["in_app_channels"] == ["app"]
    rows = plan.assignments.filter(pl.col("channel") == "app").sort("send_at")
    assert len(rows) > 3
    for verb in (("submit", waiting, "--author", "ann"), ("approve", waiting, "--approver", "bob")):
        assert run(*campaign, *verb) == 0
    assert run(*campaign, "launch", waiting, "--by", "ann") == 0
    last = plan.assignments["send_at"].max()
    assert run(*campaign, "dispatch", "--now", (last + timedelta(minutes=1)).isoformat()) == 0
    seen = rows.row(0, named=True)
    with open_store(Settings(home=home).store_url()) as store:
        record = FactStore(store).read(seen["customer_id"], last + timedelta(minutes=1))
        assert [offer.campaign_id for offer in record.offers] == ["in-app"]
        impression = EventRecord(
            "seen-1", seen["customer_id"], "impression", last, seen["product_id"], seen["content_id"], "app", "home",
            None, "d1", 1, last, "in-app",
        )  # fmt: skip
        EventStore(store).add([impression], lambda _: NOTHING)
        ends = CampaignDesk(store).get("in-app").messages
    assert ends["in_app"] == Counter({"": len(rows) - 1})
    sent = ends["sent"][""]
    assert not (home / "outbox" / "app").exists()
    capsys.readouterr()
    assert run(*campaign, "report", waiting, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["funnel"]["delivered"] == sent
    assert report["funnel"]["viewed"] >= 1


def test_service_boosts_whom_the_plan_names_and_nobody_who_is_held_out(
    champion: TrainedBank, waiting: Path, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    shutil.copytree(champion.home, home)
    campaign, plan = ("--home", home, "campaign"), read_plan(waiting)
    for verb in (("submit", "--author", "ann"), ("approve", "--approver", "bob"), ("launch", "--by", "ann")):
        assert run(*campaign, verb[0], waiting, *verb[1:]) == 0
    now = plan.assignments["send_at"].max() + timedelta(minutes=1)
    assert run(*campaign, "dispatch", "--now", now.isoformat()) == 0
    held_out = pl.read_parquet(waiting / "holdout.parquet")
    assert {"global", "campaign"} == set(held_out["group"])
    named = plan.assignments.filter(pl.col("channel") == "app")["customer_id"].to_list()[:ASKED]
    settings = Settings(home=home)
    token = issue_token(
        settings.signing_key(), subject="tests", scopes=[READ], customer_id=None, lifetime=timedelta(hours=1)
    )
    with TestClient(create_app(settings, clock=lambda: now), base_url="http://127.0.0.1") as client:

        def campaigns_of(customer: str) -> set[str | None]:
            body = {"customer_id": customer, "channel": "app", "placements": PLACES}
            answer = client.post("/v1/recommendations", json=body, headers={"Authorization": f"Bearer {token}"})
            assert answer.status_code == 200, answer.text
            return {item["campaign_id"] for place in answer.json()["placements"] for item in place["items"]}

        boosted = [customer for customer in named if "in-app" in campaigns_of(customer)]
        wrongly = [customer for customer in held_out["customer_id"] if "in-app" in campaigns_of(customer)]
    assert len(boosted) > ASKED / 2  # of the others some rule has come between since
    assert wrongly == []
