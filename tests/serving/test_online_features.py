import shutil
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from feature_repo.operations import apply_and_materialise
from feature_repo.settings import StoreSettings
from recsys.errors import FeatureError, HomeError
from recsys.features.build import FeatureConfig, build_features
from recsys.features.spec import MANIFEST_FILE, FeatureManifest
from recsys.features.updates import EventUpdate, apply_event_to_behaviour, apply_event_to_history, empty_history
from recsys.testing.tiny_bank import write_tiny_bank
from serving.features import OnlineFeatures
from training.point_in_time import join_features

SQLITE = StoreSettings(online_store="sqlite")
NOW = datetime(2026, 6, 1, tzinfo=UTC)
CUSTOMERS = 60


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("serving") / "home"
    dataset = write_tiny_bank(home.parent / "bank", customers=CUSTOMERS)
    build_features(dataset, home / "features", home / "encodings", FeatureConfig(history_length=5))
    apply_and_materialise(home, settings=SQLITE)
    return home


@pytest.fixture
def own_home(home: Path, tmp_path: Path) -> Path:
    """A copy that a test may write to; the registry's paths still lead to the original tables."""
    shutil.copytree(home, tmp_path / "home")
    return tmp_path / "home"


def test_online_row_equals_the_training_row_of_now(home: Path) -> None:
    ids = [f"c{number:03}" for number in range(CUSTOMERS)]
    moments = pl.DataFrame({"row_id": range(CUSTOMERS), "customer_id": ids, "event_timestamp": [NOW] * CUSTOMERS})
    moments = moments.with_columns(pl.col("event_timestamp").cast(pl.Datetime("us", "UTC")))
    offline = join_features(home, moments, "recommender_v1").drop("row_id").to_dicts()
    online = OnlineFeatures(home, SQLITE).read_customers(ids, NOW)
    nothing = dict.fromkeys(offline[0])
    assert [row or nothing for row in online] == offline
    assert 0 < online.count(None) == sum(row == nothing for row in offline)
    assert sum(row["customer_text__text_vector"] is not None for row in offline) > 20
    assert any(row["customer_behaviour__n_total"] is None for row in offline)


def test_online_one_read_equals_many(home: Path) -> None:
    online = OnlineFeatures(home, SQLITE)
    ids = ["c001", "unknown", "c003"]
    assert [online.read_customer(id_) for id_ in ids] == online.read_customers(ids)


def test_online_unknown_customer_is_none(home: Path) -> None:
    online = OnlineFeatures(home, SQLITE)
    online.warm()
    assert online.read_customer("nobody") is None
    assert online.read_customers([]) == []


def test_online_schema_hash_is_the_manifests(home: Path) -> None:
    assert OnlineFeatures(home, SQLITE).schema_hash == FeatureManifest.read(home / "features").schema_hash


def test_online_too_old_view_reads_as_missing(own_home: Path) -> None:
    manifest = FeatureManifest.read(own_home / "features")
    views = [
        view.model_copy(update={"max_age_days": 10.0}) if view.name == "customer_behaviour" else view
        for view in manifest.views
    ]
    path = own_home / "features" / MANIFEST_FILE
    path.write_text(manifest.model_copy(update={"views": tuple(views)}).model_dump_json())
    online = OnlineFeatures(own_home, SQLITE)
    stored = online.read_view("customer_behaviour", "c001")
    assert stored is not None
    edge = stored["event_timestamp"] + timedelta(days=10)
    fresh, stale = (online.read_customer("c001", edge + late) for late in (timedelta(0), timedelta(microseconds=1)))
    assert fresh is not None
    assert stale is not None
    assert fresh["customer_behaviour__n_total"] == stored["n_total"]
    assert stale["customer_behaviour__n_total"] is None
    assert stale["customer_behaviour__event_timestamp"] is None
    assert stale["customer_history__event_ids"] == fresh["customer_history__event_ids"]


def test_online_event_is_in_the_next_read(own_home: Path) -> None:
    online = OnlineFeatures(own_home, SQLITE)
    before = online.read_customer("c001")
    event = EventUpdate("new-1", NOW, "click", "p2", "k1", positive=True)
    for _ in range(2):
        online.update_customer_view(
            "customer_history", "c001", lambda row: apply_event_to_history(row or empty_history("c001"), event, 5)
        )
    online.update_customer_view(
        "customer_behaviour", "c001", lambda row: row and apply_event_to_behaviour(row, event, (7, 30, 90))
    )
    # Another process reads the same.
    after = OnlineFeatures(own_home, SQLITE).read_customer("c001")
    assert before is not None
    assert after is not None
    assert after["customer_history__event_ids"] == [*before["customer_history__event_ids"], "new-1"][-5:]
    assert after["customer_history__product_ids"][-1] == "p2"
    assert after["customer_history__event_timestamp"] == NOW
    assert after["customer_behaviour__n_total"] == before["customer_behaviour__n_total"] + 1
    assert after["customer_behaviour__last_event_at"] == int(NOW.timestamp())
    unchanged = [name for name in before if not name.startswith(("customer_history", "customer_behaviour"))]
    assert [after[name] for name in unchanged] == [before[name] for name in unchanged]


def test_online_first_event_of_a_stranger_makes_him_known(own_home: Path) -> None:
    online = OnlineFeatures(own_home, SQLITE)
    event = EventUpdate("first", NOW, "view", "p1")
    stored = online.update_customer_view(
        "customer_history", "stranger", lambda row: apply_event_to_history(row or empty_history("stranger"), event, 5)
    )
    found = online.read_customer("stranger")
    assert stored is not None
    assert found is not None
    assert found["customer_history__event_ids"] == stored["event_ids"] == ["first"]
    assert found["customer_profile__segment"] is None


def test_online_older_row_does_not_overwrite_a_newer_one(own_home: Path) -> None:
    online = OnlineFeatures(own_home, SQLITE)
    row = online.read_view("customer_profile", "c001")
    assert row is not None
    online.write_customer_view("customer_profile", [{**row, "segment": "new", "event_timestamp": NOW}])
    online.write_customer_view("customer_profile", [{**row, "segment": "old"}])
    assert online.read_view("customer_profile", "c001") == {**row, "segment": "new", "event_timestamp": NOW}


def test_online_change_that_returns_none_writes_nothing(own_home: Path) -> None:
    online = OnlineFeatures(own_home, SQLITE)
    before = online.read_view("customer_history", "c001")
    assert online.update_customer_view("customer_history", "c001", lambda row: None) == before
    assert online.update_customer_view("customer_history", "nobody", lambda row: None) is None
    assert online.read_view("customer_history", "c001") == before


def test_online_unknown_view_is_named(home: Path) -> None:
    with pytest.raises(FeatureError, match="no customer view product_text; there are customer_profile"):
        OnlineFeatures(home, SQLITE).write_customer_view("product_text", [])


def test_online_home_without_features_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(HomeError, match="recsys features"):
        OnlineFeatures(tmp_path, SQLITE)


@pytest.mark.benchmark
def test_online_store_whose_file_is_gone_says_so_and_makes_no_empty_one(own_home: Path) -> None:
    file = own_home / "feast" / "online.db"
    file.unlink()
    with pytest.raises(FeatureError, match=r"online\.db is gone: run `recsys features DATASET`"):
        OnlineFeatures(own_home)
    assert not file.exists()


def test_online_read_latency_is_printed(home: Path) -> None:
    online = OnlineFeatures(home, SQLITE)
    online.warm()
    seconds = []
    for number in range(1_000):
        started = time.perf_counter()
        online.read_customer(f"c{number % CUSTOMERS:03}")
        seconds.append(time.perf_counter() - started)
    p50, p99 = np.percentile(seconds, [50, 99]) * 1_000
    print(f"one customer, {len(online.manifest.views)} views: p50 {p50:.2f} ms, p99 {p99:.2f} ms")  # noqa: T201
