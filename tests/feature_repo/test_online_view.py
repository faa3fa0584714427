from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Lock, Thread

import pytest
from redis import Redis

from feature_repo.online import OnlineView, from_micros, locked, to_micros
from feature_repo.operations import apply_and_materialise, open_store
from feature_repo.settings import StoreSettings
from recsys.errors import FeatureError
from recsys.features.spec import FeatureManifest

NOW = datetime(2026, 6, 1, 12, 0, 0, 123457, tzinfo=UTC)
KINDS = ("sqlite", "redis")


@pytest.fixture(params=KINDS)
def settings(request: pytest.FixtureRequest) -> StoreSettings:
    """Both online stores must behave alike."""
    if request.param == "sqlite":
        return StoreSettings(online_store="sqlite")
    address = request.getfixturevalue("redis_address")
    Redis(port=int(address.partition(":")[2])).flushall()
    return StoreSettings(online_store="redis", redis=address)


@pytest.fixture
def history(fresh_home: Path, settings: StoreSettings) -> OnlineView:
    apply_and_materialise(fresh_home, settings=settings)
    view = FeatureManifest.read(fresh_home / "features").view("customer_history")
    return OnlineView(open_store(fresh_home, settings), view)


def row(id_: str, time: datetime, *products: str) -> dict[str, object]:
    n = len(products)
    return {
        "customer_id": id_,
        "event_timestamp": time,
        "product_ids": list(products),
        "content_ids": [""] * n,
        "event_types": ["click"] * n,
        "event_ids": [f"e{number}" for number in range(n)],
        "timestamps": [to_micros(time) + number for number in range(n)],
        "products_ever": list(products),
    }


def test_online_row_reads_back_to_the_microsecond(history: OnlineView) -> None:
    rows = [row("new-1", NOW, "p1", "p2"), row("new-2", NOW)]
    assert history.write(rows) == 2
    assert history.read(["new-2", "nobody", "new-1"]) == [rows[1], None, rows[0]]


def test_online_older_row_does_not_overwrite(history: OnlineView) -> None:
    history.write([row("x", NOW, "new")])
    assert history.write([row("x", NOW - timedelta(microseconds=1), "old")]) == 0
    assert history.read(["x"])[0]["product_ids"] == ["new"]  # type: ignore[index]


def test_online_row_of_the_same_time_corrects(history: OnlineView) -> None:
    history.write([row("x", NOW, "wrong")])
    assert history.write([row("x", NOW, "right")]) == 1
    assert history.read(["x"])[0]["product_ids"] == ["right"]  # type: ignore[index]


def test_online_overwrite_writes_an_older_row(history: OnlineView) -> None:
    history.write([row("x", NOW, "new")])
    assert history.write([row("x", NOW - timedelta(days=1), "old")], overwrite=True) == 1
    assert history.read(["x"])[0]["product_ids"] == ["old"]  # type: ignore[index]


def test_online_erased_row_is_gone_and_can_come_back(history: OnlineView) -> None:
    history.write([row("x", NOW, "p")])
    history.erase(["x", "never-there"])
    assert history.read(["x", "never-there"]) == [None, None]
    history.write([row("x", NOW - timedelta(days=9), "p")])
    assert history.read(["x"])[0] is not None


def test_online_missing_columns_are_null(history: OnlineView) -> None:
    history.write([{"customer_id": "x", "event_timestamp": NOW}])
    found = history.read(["x"])[0]
    assert found is not None
    assert found["product_ids"] is None


def test_online_nothing_to_read_or_write_is_fine(history: OnlineView) -> None:
    assert history.read([]) == []
    assert history.write([]) == 0


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        ({"event_timestamp": NOW}, "customer_id"),
        ({"customer_id": "x"}, "event_timestamp"),
        ({"customer_id": "x", "event_timestamp": datetime(2026, 1, 1)}, "zone"),
        ({"customer_id": "x", "event_timestamp": NOW, "timestamps": ["today"]}, "does not fit"),
    ],
)
def test_online_row_that_does_not_fit_is_refused(history: OnlineView, bad: dict[str, object], named: str) -> None:
    with pytest.raises(FeatureError, match=named):
        history.write([row("good", NOW, "p"), bad])
    assert history.read(["good", "x"]) == [None, None]


def test_materialise_into_another_store_writes_everything(fresh_home: Path, redis_address: str) -> None:
    first = apply_and_materialise(fresh_home, settings=StoreSettings(online_store="sqlite"))
    redis = StoreSettings(online_store="redis", redis=f"{redis_address},db=3")
    assert apply_and_materialise(fresh_home, settings=redis).written == first.written
    assert not apply_and_materialise(fresh_home, settings=redis).changed
    assert apply_and_materialise(fresh_home, settings=StoreSettings(online_store="sqlite")).changed


def test_micros_are_exact_far_from_the_epoch() -> None:
    for time in (NOW, datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)):
        assert from_micros(to_micros(time)) == time


def test_locked_lets_one_in_at_a_time(tmp_path: Path) -> None:
    counter = {"n": 0}

    def add() -> None:
        for _ in range(200):
            with locked(tmp_path / "lock", Lock()):  # a lock of its own: only the file keeps the others out
                counter["n"] = counter["n"] + 1

    threads = [Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counter["n"] == 800
