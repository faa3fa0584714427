"""What the app reported comes back into the dataset: once, whole, and with what the decision log knows of it."""

from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest
import yaml
from PIL import Image

from recsys.cli.app import main
from recsys.data.contract import Dataset
from recsys.data.validation import validate
from recsys.errors import DatasetError
from recsys.home import Home
from recsys.privacy.suppression import SuppressionList
from recsys.schema import Kind, Table
from recsys.testing.tiny_scorer import NOW, tiny_contents, tiny_products
from serving.export import Exporter, ExportReport
from serving.export_catalogue import export_catalogue
from serving.store.catalogue import CatalogueStore, Change
from serving.testing import Service, add_customer, event, token_of

START = NOW - timedelta(days=30)
END = NOW - timedelta(days=1)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """The tiny catalogue as a dataset, with one event of anna's; p11 came into the catalogue later."""
    path = tmp_path / "bank"
    path.mkdir()
    since = pl.lit(START).dt.cast_time_unit("us").dt.replace_time_zone("UTC")
    products = tiny_products().filter(pl.col("product_id") != "p11").with_columns(event_timestamp=since)
    products.write_parquet(path / "products.parquet")
    contents = tiny_contents().filter(pl.col("product_id") != "p11").with_columns(event_timestamp=since)
    contents.write_parquet(path / "contents.parquet")
    people = pl.DataFrame({"customer_id": ["anna", "bert"]}).with_columns(event_timestamp=since)
    people.write_parquet(path / "customers.parquet")
    first = {"event_id": "old", "customer_id": "anna", "event_type": "view", "product_id": "p01", "colour": "red"}
    pl.DataFrame([first]).with_columns(event_timestamp=since).write_parquet(path / "events.parquet")
    lines = [f"# the tiny bank\nend: {END.isoformat()}  # of the extract", yaml.safe_dump({"name": "tiny"})]
    (path / "dataset.yaml").write_text("\n".join(lines))
    assert validate(path).ok
    return Dataset.open(path)


def export(service: Service, dataset: Dataset, since: datetime = START) -> ExportReport:
    service.app.state.services.log.flush()
    erased = SuppressionList(Home(dataset.path.parent)).__contains__
    return Exporter(service.store, Dataset.open(dataset.path), erased).run(since)


def events_of(dataset: Dataset) -> dict[str, dict[str, Any]]:
    rows = Dataset.open(dataset.path).scan(Table.EVENTS).collect().to_dicts()
    return {row["event_id"]: row for row in rows}


def test_export_joins_each_event_with_the_place_where_it_was_shown(service: Service, dataset: Dataset) -> None:
    answer = service.ask("anna", token_of("anna"), channel="web").json()
    second = answer["placements"][0]["items"][1]
    shown = {"product_id": None, "tracking_token": second["tracking_token"]}
    service.send(token_of("anna"), event("e1", **shown), event("e2", "view", "p03"))
    report = export(service, dataset)
    assert (report.read, report.added, report.with_propensity, report.skipped) == (2, 2, 1, {})
    row = events_of(dataset)["e1"]
    logged = orjson.loads(service.logged()[0].record)["placements"][0]["items"][1]
    assert (row["product_id"], row["position"]) == (second["product_id"], 2)
    assert row["propensity"] == logged["propensity"]
    assert (row["request_id"], row["placement"], row["channel"]) == (answer["decision_id"], "home", "web")
    assert events_of(dataset)["e2"]["propensity"] is None
    assert validate(dataset.path).findings == []


def test_export_twice_adds_nothing_and_keeps_what_was_there(service: Service, dataset: Dataset) -> None:
    service.send(token_of("anna"), event("e1"), event("e2"))
    assert export(service, dataset).added == 2
    before = (dataset.path / "events.parquet").read_bytes()
    again = export(service, dataset)
    assert (again.read, again.added, again.already_there) == (2, 0, 2)
    assert (dataset.path / "events.parquet").read_bytes() == before
    raw = pl.read_parquet(dataset.path / "events.parquet")
    assert raw.filter(pl.col("event_id") == "old")["colour"].to_list() == ["red"]
    assert sorted(raw["event_id"]) == ["e1", "e2", "old"]


def test_export_since_takes_what_was_received_from_then_on(service: Service, dataset: Dataset) -> None:
    service.send(token_of("anna"), event("e1"))
    service.clock.now += timedelta(hours=2)
    late = (NOW - timedelta(hours=5)).isoformat()
    service.send(token_of("anna"), event("e2", event_timestamp=late))
    assert export(service, dataset, NOW + timedelta(hours=1)).read == 1
    assert set(events_of(dataset)) == {"old", "e2"}


def test_export_moves_the_end_of_the_dataset_and_keeps_its_comments(service: Service, dataset: Dataset) -> None:
    service.send(token_of("anna"), event("e1"))
    export(service, dataset)
    assert Dataset.open(dataset.path).config.end == NOW
    assert "# the tiny bank" in (dataset.path / "dataset.yaml").read_text()


def test_export_leaves_out_what_the_contract_refuses_and_says_why(service: Service, dataset: Dataset) -> None:
    add_customer(service.store, "bert")
    add_customer(service.store, "carl")
    service.send(token_of("anna"), event("new", "view", "p11"), event("opt", "opt_out", None))
    service.send(token_of("bert"), event("bert", customer_id="bert"))
    service.send(token_of("carl"), event("carl", customer_id="carl"))
    SuppressionList(Home(dataset.path.parent)).add("bert")
    report = export(service, dataset)
    assert (report.read, report.added) == (4, 0)
    assert report.skipped == {
        "about no product and no content": 1,
        "of an erased customer": 1,
        "of a customer that the dataset does not have": 1,
        "of a product that the dataset does not have": 1,
    }
    assert Dataset.open(dataset.path).config.end == END


def test_export_into_a_folder_of_parts_adds_one_part(service: Service, dataset: Dataset) -> None:
    folder = dataset.path / "events"
    folder.mkdir()
    (dataset.path / "events.parquet").rename(folder / "0.parquet")
    service.send(token_of("anna"), event("e1"))
    assert export(service, dataset).added == 1
    assert export(service, dataset).added == 0
    assert len(list(folder.iterdir())) == 2
    assert set(events_of(dataset)) == {"old", "e1"}


def test_export_that_cannot_write_leaves_the_events_as_they_were(service: Service, dataset: Dataset) -> None:
    kinds = pl.read_parquet(dataset.path / "events.parquet").with_columns(
        pl.col("event_type").cast(pl.Enum(["view"]))  # the new event's type does not fit this column
    )
    kinds.write_parquet(dataset.path / "events.parquet")
    before = (dataset.path / "events.parquet").read_bytes()
    service.send(token_of("anna"), event("e1"))
    with pytest.raises(DatasetError, match="rows cannot be added"):
        export(service, dataset)
    assert (dataset.path / "events.parquet").read_bytes() == before
    assert not list(dataset.path.glob(".*"))


def put(service: Service, kind: Kind, item_id: str, picture: bytes | None = None, **columns: Any) -> None:
    row = {"name": "Travel card", "category": "card", "status": "live", **columns}
    change = Change(str(kind), item_id, service.clock.now, "staff", row, picture, {}, "0" * 16)
    CatalogueStore(service.store).put(change)


def test_export_catalogue_brings_new_and_changed_items_once(service: Service, dataset: Dataset) -> None:
    file = BytesIO()
    Image.new("RGB", (9, 9), "teal").save(file, "PNG")
    products = dataset.path / "products.parquet"
    pl.read_parquet(products).with_columns(image_path=pl.lit(None, pl.String)).write_parquet(products)
    put(service, Kind.PRODUCTS, "p-new", file.getvalue(), fee=3.0)
    put(service, Kind.PRODUCTS, "p01", name="Renamed", status="paused")
    put(service, Kind.CONTENTS, "k-new", product_id="p-new", status="approved", headline="Fly")
    put(service, Kind.CONTENTS, "k-lost", product_id="nobody", status="approved")
    assert export_catalogue(service.store, Dataset.open(dataset.path)) == 3
    assert export_catalogue(service.store, Dataset.open(dataset.path)) == 0
    assert validate(dataset.path).findings == []
    after = Dataset.open(dataset.path)
    latest = after.scan(Table.PRODUCTS).sort("event_timestamp").unique("product_id", keep="last").collect()
    rows = {row["product_id"]: row for row in latest.to_dicts()}
    assert (rows["p01"]["name"], rows["p01"]["status"]) == ("Renamed", "paused")
    assert "fee" not in rows["p-new"]  # nobody keeps fees here
    picture = after.image_file(rows["p-new"]["image_path"])
    assert picture is not None
    assert picture.read_bytes() == file.getvalue()
    contents = after.scan(Table.CONTENTS).filter(pl.col("content_id") == "k-new").collect().to_dicts()
    assert [(row["product_id"], row["headline"]) for row in contents] == [("p-new", "Fly")]


def test_export_command_prints_what_it_did(
    service: Service, dataset: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    service.send(token_of("anna"), event("e1"))
    arguments = ["--home", str(dataset.path.parent), "export-events", "--out", str(dataset.path), "--json"]
    with pytest.raises(SystemExit) as done:
        main([*arguments, "--since", START.astimezone(UTC).isoformat()])
    assert (done.value.code or 0) == 0
    assert orjson.loads(capsys.readouterr().out)["added"] == 1
    with pytest.raises(SystemExit) as refused:
        main([*arguments, "--since", "2026-06-01"])
    assert refused.value.code == 2
