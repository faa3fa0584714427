"""`recsys erase`, by the command line, on a home with something of the customer in every place."""

import gzip
import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest
from sqlalchemy import func, select

import recsys.privacy.erasure as erasure_module
from feature_repo.erasure import erase_online, is_online
from feature_repo.online import OnlineView
from feature_repo.operations import apply_and_materialise, make_store
from feature_repo.operations import open_store as open_features
from feature_repo.settings import StoreSettings
from recsys.cli.app import main
from recsys.cli.workflows import open_dataset
from recsys.data.contract import Dataset
from recsys.encoders.cache import text_key
from recsys.features.spec import FeatureManifest
from recsys.home import Home
from recsys.privacy.certificate import read_certificate
from recsys.privacy.suppression import SuppressionList
from recsys.schema import CUSTOMER_ID, Table
from serving.store.database import open_store, sqlite_url
from serving.store.erasure import find_customer
from serving.store.tables import decisions, events
from serving.store.verification import verify
from tests.privacy.conftest import World, run

PLACES = {
    "store.db",
    "feast/online.db",
    "feast/materialised/customer_text.parquet",
    "features/customer_text.parquet",
    "features/customer_history.parquet",
    "exports/lists.parquet",
    "exports/audience.csv",
    "logs/server.log",
    "runs/abc/selection.checkpoint",
}
CUSTOMER_TABLES = ("customers", "events", "messages", "transactions", "consents")


def erase(world: World, *options: str | Path) -> int:
    return run("--home", world.home, "erase", world.customer, *options)


def grep(folder: Path, who: str, skip: str = "") -> list[str]:
    """An independent look: plain bytes of each file, and of each decoded parquet table."""
    needles = [
        who.encode(),
        hashlib.sha256(who.encode()).digest(),
        hashlib.blake2b(who.encode(), digest_size=16).digest(),
    ]
    needles += [needle.hex().encode() for needle in needles[1:]]
    found = []
    for file in sorted(path for path in folder.rglob("*") if path.is_file() and not (skip and skip in str(path))):
        content = file.read_bytes()
        if content[:4] == b"PAR1":
            content += repr(pq.read_table(file).to_pylist()).encode()
        if content[:2] == b"\x1f\x8b":
            content += gzip.decompress(content)
        if any(needle in content for needle in needles):
            found.append(str(file.relative_to(folder)))
    return found


def places(folder: Path, who: str) -> set[str]:
    """The same, a database and its log as one."""
    return {name.removesuffix("-wal") for name in grep(folder, who)}


def certificates(world: World) -> list[Path]:
    return sorted((world.home / "privacy" / "certificates").glob("*.json"))


def test_erase_leaves_nothing_of_him_in_the_home_and_everything_of_others(world: World) -> None:
    assert places(world.home, world.customer) >= PLACES
    others = {path: pl.read_parquet(path) for path in (world.home / "features").glob("customer_*.parquet")}
    raw = {path: path.read_bytes() for path in world.data.rglob("*") if path.is_file()}
    assert erase(world) == 0
    assert grep(world.home, world.customer) == []
    for path, frame in others.items():
        assert pl.read_parquet(path).equals(frame.filter(pl.col(CUSTOMER_ID) != world.customer)), path
    assert PLACES - {"runs/abc/selection.checkpoint"} <= places(world.home, world.other)
    assert {path: path.read_bytes() for path in raw} == raw, "raw data is only touched by --dataset"


def test_erase_forgets_his_texts_in_the_cache(world: World) -> None:
    rows = Dataset.open(world.data).scan(Table.MESSAGES).filter(pl.col(CUSTOMER_ID) == world.customer).collect()
    keys = {key for text in rows["text"].to_list() if (key := text_key(text))}
    assert keys & _cached(world.home)
    assert erase(world) == 0
    assert not keys & _cached(world.home)
    assert _cached(world.home), "what the catalogue says stays"


def _cached(home: Path) -> set[bytes]:
    return {key for part in (home / "encodings").rglob("*.parquet") for key in pq.read_table(part)["key"].to_pylist()}


def test_erase_makes_him_a_stranger_to_the_service(world: World) -> None:
    assert erase(world) == 0
    with open_store(sqlite_url(world.home)) as store:
        assert find_customer(store, world.customer) == []
        assert "customer_facts.customer_id" in find_customer(store, world.other)
        with store.reading() as connection:
            assert connection.scalar(select(func.count()).select_from(events)) == 1
            rows = connection.execute(select(decisions).order_by(decisions.c.sequence)).mappings().all()
        walked = verify(store)
    assert walked.finding is None, "the chain stays whole"
    assert (walked.rows, walked.erased) == (4, 2), "one of each was in the store, one of each in a journal"
    assert [row["customer_id"] for row in rows] == [None, world.other, None, world.other]
    assert [row["payload"] is None for row in rows] == [True, False, True, False]
    store_of_features = open_features(world.home)
    for view in FeatureManifest.read(world.home / "features").views:
        if view.entity.value == CUSTOMER_ID:
            assert OnlineView(store_of_features, view).read([world.customer]) == [None]


def test_erase_old_dataset_does_not_bring_him_back(world: World) -> None:
    assert erase(world) == 0
    assert run("--home", world.home, "features", world.data) == 0
    assert grep(world.home, world.customer) == []
    dataset = open_dataset(Home(world.home), world.data)
    assert world.customer not in dataset.scan(Table.CUSTOMERS).collect()[CUSTOMER_ID]
    assert world.other in dataset.scan(Table.CUSTOMERS).collect()[CUSTOMER_ID]
    with open_store(sqlite_url(world.home)) as store:
        assert find_customer(store, world.customer) == []
        assert "customer_facts.customer_id" in find_customer(store, world.other)
    assert run("--home", world.home, "features", world.data) == 0, "and the build is current"


def test_erase_with_dataset_rewrites_his_rows_only(world: World) -> None:
    (world.data / "truth").mkdir()
    pl.DataFrame({CUSTOMER_ID: [world.customer, world.other]}).write_parquet(world.data / "truth" / "offers.parquet")
    before = {name: pl.read_parquet(world.data / f"{name}.parquet") for name in CUSTOMER_TABLES}
    assert erase(world, "--dataset", world.data) == 0
    assert grep(world.home, world.customer) == []
    assert grep(world.data, world.customer) == []
    for name, frame in before.items():
        left = pl.read_parquet(world.data / f"{name}.parquet")
        assert left.equals(frame.filter(pl.col(CUSTOMER_ID) != world.customer)), name
    assert run("validate", world.data) == 0
    assert Home(world.home).record().features_of == Dataset.open(world.data).fingerprint()  # type: ignore[union-attr]


def test_erase_with_dataset_deletes_pictures_that_only_he_sent(world: World) -> None:
    messages = pl.read_parquet(world.data / "messages.parquet")
    mine = pl.col(CUSTOMER_ID) == world.customer
    own = (world.data / "images" / "p1.png").read_bytes() + b"\x00"
    (world.data / "images" / "own.png").write_bytes(own)
    first = pl.when(mine & (mine.cum_sum() == 1)).then(pl.lit("images/own.png")).otherwise("image_path")
    second = pl.when(mine & (mine.cum_sum() == 2)).then(pl.lit("images/p1.png")).otherwise(pl.col("image_path"))
    messages.with_columns(image_path=first).with_columns(image_path=second).write_parquet(
        world.data / "messages.parquet"
    )
    assert erase(world, "--dataset", world.data) == 0
    assert not (world.data / "images" / "own.png").exists()
    assert (world.data / "images" / "p1.png").exists()


def test_erase_certificate_says_what_was_done_without_naming_him(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    assert erase(world, "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    (file,) = certificates(world)
    certificate = read_certificate(file)
    assert certificate.complete
    assert printed["complete"] is True
    assert printed["sha256"] == certificate.sha256 == certificate.digest()
    assert certificate.model_copy(update={"remaining": ("x",)}).digest() != certificate.sha256
    assert certificate.subject == SuppressionList(Home(world.home)).pseudonym(world.customer)
    removed = {place.place: sum(place.removed.values()) for place in certificate.places}
    assert removed["SQL store"] >= 4
    assert removed["online feature store"] > 0
    assert removed["working files of training"] == 1
    assert certificate.searched[0].files > 10
    assert "raw dataset" in certificate.not_searched[0]
    text = file.with_suffix(".txt").read_text()
    assert world.customer not in file.read_text() + text
    assert certificate.sha256 in text


def test_erase_twice_and_of_a_stranger_is_fine(world: World) -> None:
    assert erase(world) == 0
    assert erase(world) == 0
    assert all(not sum(place.removed.values()) for place in read_certificate(certificates(world)[-1]).places)
    assert run("--home", world.home, "erase", "nobody-ever") == 0
    assert len(certificates(world)) == 3


def test_erase_where_something_remains_says_so_and_exits_with_one(world: World) -> None:
    (world.home / "mlflow").mkdir()
    (world.home / "mlflow" / "notes.json").write_text(f'{{"seen": "{world.customer}"}}')
    assert erase(world) == 1
    certificate = read_certificate(certificates(world)[0])
    assert not certificate.complete
    assert certificate.remaining == ("home: mlflow/notes.json (bytes)",)
    (world.home / "mlflow" / "notes.json").unlink()
    assert erase(world) == 0


def test_erase_of_a_dataset_inside_the_home_leaves_it_alone_unless_named(world: World) -> None:
    inside = world.home / "bank"
    world.data.rename(inside)
    Home(world.home).claim("tiny-bank", inside)
    assert erase(world) == 0
    assert grep(world.home, world.customer, skip="/home/bank/") == []
    assert grep(inside, world.customer)
    assert erase(world, "--dataset", inside) == 0
    assert grep(world.home, world.customer) == []


def test_erase_bad_calls_are_refused(world: World, tmp_path: Path) -> None:
    assert run("--home", tmp_path / "nowhere", "erase", "c1") == 1
    assert not (tmp_path / "nowhere").exists()
    assert run("--home", world.home, "erase", " ") == 2
    assert run("--home", world.home, "erase") == 2
    assert run("--home", world.home, "erase", world.customer, "--dataset", tmp_path / "nothing") == 1
    other = tmp_path / "other"
    other.mkdir()
    for file in world.data.glob("*.parquet"):
        (other / file.name).write_bytes(file.read_bytes())
    (other / "dataset.yaml").write_text((world.data / "dataset.yaml").read_text().replace("tiny-bank", "other"))
    assert run("--home", world.home, "erase", world.customer, "--dataset", other) == 1
    assert grep(other, world.customer), "the dataset of another home is not touched"


STEPS = (
    "recsys.privacy.suppression.SuppressionList.add",
    "serving.store.erasure.erase_customer",
    "feature_repo.erasure.erase_online",
    "recsys.privacy.erasure.forget_customer_encodings",
    "recsys.privacy.erasure.Erasure._unfinished_builds",
    "recsys.privacy.erasure.scrub_files",
    "recsys.privacy.scrub._replace",
    "recsys.privacy.erasure.Erasure._working_files",
    "recsys.privacy.erasure.erase_from_dataset",
    "recsys.privacy.dataset._delete_pictures",
    "recsys.privacy.erasure.Erasure._prove",
    "recsys.privacy.certificate.Certificate.write",
)


class PowerCutError(Exception):
    """Nobody catches it."""


@pytest.mark.parametrize("step", STEPS)
def test_erase_broken_off_before_any_step_is_finished_by_the_next_run(world: World, step: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(step, _cut)
        with pytest.raises(PowerCutError):
            main(["--home", str(world.home), "erase", world.customer, "--dataset", str(world.data)])
    assert erase(world, "--dataset", world.data) == 0
    assert grep(world.home, world.customer) == []
    assert grep(world.data, world.customer) == []
    assert run("validate", world.data) == 0
    assert not list(world.home.rglob("*.erasing"))


def _cut(*_: Any, **__: Any) -> None:
    raise PowerCutError


def test_erase_killed_in_the_middle_of_a_file_is_finished_by_the_next_run(world: World) -> None:
    """A real process, killed after the third file that it replaced."""
    program = f"""
import os, signal
import recsys.privacy.scrub as scrub
real, count = scrub._replace, 0
def replace(*arguments):
    global count
    count += 1
    if count == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    real(*arguments)
scrub._replace = replace
from recsys.cli.app import main
main(["--home", {str(world.home)!r}, "erase", {world.customer!r}])
"""
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, env=os.environ.copy())
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert grep(world.home, world.customer), "the kill came too late to prove anything"
    assert not certificates(world)
    assert erase(world) == 0
    assert grep(world.home, world.customer) == []
    assert not list(world.home.rglob("*.erasing"))


def test_erase_while_another_is_at_work_waits_for_nobody_and_says_so(world: World) -> None:
    with erasure_module.alone(Home(world.home)):
        assert erase(world) == 1
    assert erase(world) == 0


def test_erase_online_from_redis_removes_his_key(world: World, redis_address: str) -> None:
    settings = StoreSettings(online_store="redis", redis=f"{redis_address},db=5")
    apply_and_materialise(world.home, settings=settings)
    assert is_online(world.home, world.customer, settings)
    assert erase_online(world.home, world.customer, settings) == 1
    assert erase_online(world.home, world.customer, settings) == 0
    assert not is_online(world.home, world.customer, settings)
    view = FeatureManifest.read(world.home / "features").view("customer_text")
    online = OnlineView(make_store(world.home, settings), view)
    assert [row is None for row in online.read([world.customer, world.other])] == [True, False]
