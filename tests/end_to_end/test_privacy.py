"""A trained and served bank: what customers confided is nowhere, logs and MLflow know nobody, erasure is whole."""

import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import polars as pl
import pyarrow.parquet as pq
import pytest

from recsys.encoders.cache import text_key
from recsys.home import Home
from recsys.privacy.search import Needle, search
from serving.live_server import LiveServer
from serving.tokens import READ, WRITE, issue_token
from tests.end_to_end.champions import crown
from tests.end_to_end.conftest import TrainedBank, run

ASKED = 30


class Served(NamedTuple):
    """A home that answered requests and took events, its server stopped, with what it wrote."""

    home: Path
    log: Path
    customers: list[str]


@pytest.fixture(scope="module")
def canaries(bank: Path) -> pl.DataFrame:
    return pl.read_parquet(bank / "truth" / "canaries.parquet")


@pytest.fixture(scope="module")
def served(trained: TrainedBank, canaries: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Served:
    """The writers of canaries and some others asked and clicked; lists were exported."""
    folder = tmp_path_factory.mktemp("private")
    home = folder / "state"
    shutil.copytree(trained.home, home)
    crown(home, trained.result["version"])
    everyone = pl.read_parquet(trained.data / "customers.parquet")["customer_id"].unique().sort().to_list()
    asked = list(dict.fromkeys([*canaries["customer_id"], *everyone[:ASKED]]))
    (home / "exports").mkdir()
    out = home / "exports" / "lists.parquet"
    assert run("--home", home, "recommend", trained.data, "--customers", "all", "--k", "3", "--out", out) == 0
    with LiveServer(home, folder / "server.log") as server, httpx.Client(base_url=server.url, timeout=20) as http:
        http.headers["authorization"] = f"Bearer {_token(home)}"
        for customer in asked:
            _use(http, customer)
    return Served(home, folder / "server.log", asked)


def _token(home: Path) -> str:
    """Of a service that may ask about anybody."""
    scopes = (READ, WRITE, "consents:write")
    key, lifetime = Home(home).secret(), timedelta(minutes=10)
    return issue_token(key, subject="tests", scopes=scopes, customer_id=None, lifetime=lifetime)


def _use(http: httpx.Client, customer: str) -> None:
    placements: list[dict[str, Any]] = [{"name": "home", "kind": "products", "limit": 3}]
    answer = http.post("/v1/recommendations", json={"customer_id": customer, "placements": placements})
    assert answer.status_code == 200, answer.text
    event = {"event_id": f"click-{customer}", "customer_id": customer, "event_type": "click", "product_id": "p0001"}
    now = datetime.now(UTC).isoformat()
    assert http.post("/v1/events", json={"events": [event | {"event_timestamp": now}]}).status_code == 200
    grant = [{"purpose": "marketing", "granted": True}]
    assert http.put(f"/v1/customers/{customer}/consents", json={"consents": grant}).status_code < 500
    http.post("/v1/recommendations", json={"customer_id": customer})  # malformed: errors are logged too


def _places(value: str, root: Path) -> list[str]:
    return [f"{found.file.relative_to(root)} ({found.where})" for found in search(root, Needle(value)).findings]


def test_canaries_are_found_where_they_were_planted(bank: Path, canaries: pl.DataFrame) -> None:
    """The positive control: this search would find them."""
    assert set(canaries["kind"]) >= {"card", "iban", "phone", "email", "id", "name"}
    folder = bank.parent / "control"
    folder.mkdir()
    shutil.copy(bank / "messages.parquet", folder)
    for value in canaries["value"].unique():
        assert _places(value, folder) == ["messages.parquet (text)"], value


def test_canaries_are_in_nothing_that_was_made_of_the_messages(served: Served, canaries: pl.DataFrame) -> None:
    made = {path.relative_to(served.home).parts[0] for path in served.home.rglob("*") if path.is_file()}
    assert {"features", "encodings", "feast", "mlflow", "store.db", "exports"} <= made
    for value in canaries["value"].unique():
        for form in {value, value.replace(" ", "")}:
            assert _places(form, served.home.parent) == [], form


def test_cache_keys_are_of_redacted_texts_only(served: Served, bank: Path, canaries: pl.DataFrame) -> None:
    messages = pl.read_parquet(bank / "messages.parquet")
    parts = (served.home / "encodings").rglob("*.parquet")
    cached = {key.rstrip(b"\0") for part in parts for key in pq.read_table(part)["key"].to_pylist()}
    planted = messages.join(canaries, on="message_id", how="semi")["text"]
    assert not cached & {(text_key(text) or b"").rstrip(b"\0") for text in planted}
    plain = messages.join(canaries, on="message_id", how="anti").drop_nulls("text")["text"]
    assert len(cached & {(text_key(text) or b"").rstrip(b"\0") for text in plain}) > 100


def test_mlflow_and_logs_know_no_customer(served: Served, trained: TrainedBank) -> None:
    """Every id of the bank, looked for as a word in every byte of MLflow, its database, artefacts and the logs."""
    ids = set(pl.read_parquet(trained.data / "customers.parquet")["customer_id"])
    texts = [path.read_bytes() for path in _files(served.home / "mlflow")] + [served.log.read_bytes()]
    words = {word for text in texts for word in _words(text)}
    assert len(texts) > 10
    assert b"startup complete" in served.log.read_bytes(), "the log says something"
    assert not ids & words
    one = served.customers[0]
    assert _places(one, served.home / "mlflow") == []
    assert _places(one, served.log) == []
    assert _places(one, served.home / "exports") != [], "the search would find him"


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def _words(content: bytes) -> set[str]:
    """Customer ids of the simulated bank are `c` and seven digits."""
    return {match.decode() for match in re.findall(rb"c\d{7}", content)}


def test_erase_after_serving_makes_him_a_stranger_everywhere(
    served: Served, trained: TrainedBank, tmp_path: Path
) -> None:
    home = tmp_path / "state"
    shutil.copytree(served.home, home)
    crown(home, trained.result["version"])
    known = set(pl.read_parquet(home / "features" / "customer_text.parquet")["customer_id"])
    customer, other = [name for name in served.customers if name in known][:2]
    assert run("--home", home, "erase", customer) == 0
    assert _places(customer, home) == []
    assert _places(other, home) != []
    lists, ids = tmp_path / "lists.parquet", tmp_path / "ids.txt"
    ids.write_text(customer)
    recommend = ("--home", home, "recommend", trained.data, "--k", "3", "--out", lists, "--customers")
    assert run(*recommend, ids) == 1, "the dataset does not have him any more, as far as the home is concerned"
    assert run(*recommend, "all") == 0
    assert customer not in pl.read_parquet(lists)["customer_id"]
    with LiveServer(home, tmp_path / "server.log") as server, httpx.Client(base_url=server.url, timeout=20) as http:
        body = {"customer_id": customer, "placements": [{"name": "home", "kind": "products", "limit": 3}]}
        answer = http.post("/v1/recommendations", json=body, headers={"authorization": f"Bearer {_token(home)}"})
    assert answer.status_code == 200
    assert answer.json()["mode"] == "popular"
    assert answer.json()["suitability"] == "missing"
