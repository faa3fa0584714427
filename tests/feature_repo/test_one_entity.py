"""All views of an entity in one read are what each view says by itself, on every online store."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from feast.protos.feast.types.Value_pb2 import FloatList, Int64List, StringList, Value
from redis import Redis

from feature_repo.one_entity import OneEntityReader, decoder
from feature_repo.online import OnlineView
from feature_repo.operations import apply_and_materialise, open_store
from feature_repo.settings import StoreSettings
from recsys.features.spec import ColumnType, Entity, FeatureManifest

NOW = datetime(2026, 6, 1, 12, 0, 0, 123457, tzinfo=UTC)


@pytest.fixture(params=("sqlite", "redis"))
def settings(request: pytest.FixtureRequest) -> StoreSettings:
    if request.param == "sqlite":
        return StoreSettings(online_store="sqlite")
    address = request.getfixturevalue("redis_address")
    Redis(port=int(address.partition(":")[2])).flushall()
    return StoreSettings(online_store="redis", redis=address)


def test_read_is_what_each_view_says_by_itself(fresh_home: Path, settings: StoreSettings) -> None:
    apply_and_materialise(fresh_home, settings=settings)
    manifest = FeatureManifest.read(fresh_home / "features")
    store = open_store(fresh_home, settings)
    views = manifest.views_of(Entity.CUSTOMER)
    alone, together = [OnlineView(store, view) for view in views], OneEntityReader(store, views)
    ids = ["c000", "c001", "c002", "c003", "nobody"]
    assert [together.read(id_) for id_ in ids] == [[view.read([id_])[0] for view in alone] for id_ in ids]
    assert together.read("nobody") == [None] * len(views)
    assert all(row is not None for row in map(together.read, ids[:2]))
    profile = next(view for view in alone if view.view.name == "customer_profile")
    (before,) = profile.read(["c001"])
    assert before is not None
    profile.write([{**before, "event_timestamp": NOW}])
    position = [view.name for view in views].index("customer_profile")
    assert together.read("c001")[position] == {**before, "event_timestamp": NOW}
    profile.erase(["c001"])
    assert together.read("c001")[position] is None


@pytest.mark.parametrize(
    ("type_", "value", "expected"),
    [
        (ColumnType.FLOAT, Value(float_val=0.0), 0.0),
        (ColumnType.FLOAT, Value(float_val=-1.5), -1.5),
        (ColumnType.INT, Value(int64_val=-(2**62)), -(2**62)),
        (ColumnType.STRING, Value(string_val=""), ""),
        (ColumnType.STRING_LIST, Value(string_list_val=StringList(val=["a", ""])), ["a", ""]),
        (ColumnType.INT_LIST, Value(int64_list_val=Int64List(val=[2**50, -1])), [2**50, -1]),
        (ColumnType.VECTOR, Value(float_list_val=FloatList(val=[0.5] * 400)), [0.5] * 400),
        (ColumnType.VECTOR, Value(float_list_val=FloatList(val=[1.0, 2.0])), [1.0, 2.0]),
        (ColumnType.VECTOR, Value(float_list_val=FloatList()), []),
        (ColumnType.FLOAT, Value(), None),
        (ColumnType.FLOAT, Value(null_val=0), None),
    ],
)
def test_decoder_reads_what_the_message_holds(type_: ColumnType, value: Value, expected: object) -> None:
    assert decoder(type_)(value.SerializeToString()) == expected
