"""The benchmark's own parts: a bank of the size that was asked for, and a driver that measures what it should."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import polars as pl
import pytest

from recsys.cli.benchmark_serving import describe
from recsys.data.validation import validate
from serving.benchmarking.bank import BankSize, write_bank
from serving.benchmarking.driver import Driver, Timing
from serving.benchmarking.measure import Measured, StoreReport, compare

SIZE = BankSize(customers=2300, products=100, contents=230, days=28)
REQUEST = b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}"


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("benchmark") / "bank"
    write_bank(path, SIZE)
    return path


def test_bank_has_the_size_and_keeps_the_contract(bank: Path) -> None:
    assert validate(bank).findings == []
    for table, key, count in (
        ("customers", "customer_id", 2300),
        ("products", "product_id", 100),
        ("contents", "content_id", 230),
    ):
        assert pl.read_parquet(bank / f"{table}.parquet")[key].n_unique() == count
    assert not bank.with_name("bank.simulated").exists()


def test_bank_copies_of_customers_differ_in_what_they_had_and_not_in_how_much(bank: Path) -> None:
    events = pl.read_parquet(bank / "events.parquet")
    first = events.group_by("customer_id").agg(pl.len(), pl.col("product_id").unique().sort()).sort("customer_id")
    by_id = {row["customer_id"]: row for row in first.to_dicts()}
    copied = [(row, by_id[f"{name}-1"]) for name, row in by_id.items() if "-" not in name and f"{name}-1" in by_id]
    assert len(copied) > 500
    assert all(one["len"] == other["len"] for one, other in copied)
    assert sum(one["product_id"] != other["product_id"] for one, other in copied) > len(copied) / 2
    contents = pl.read_parquet(bank / "contents.parquet").unique("content_id")
    creatives = contents.group_by("product_id").len()
    assert set(creatives["len"]) <= {2, 3}
    assert len(creatives) == 100
    named = events.drop_nulls("content_id").join(contents, on="content_id")
    assert (named["product_id"] == named["product_id_right"]).all()


def test_bank_repeats_creatives_where_more_are_wanted_than_were_simulated(tmp_path: Path) -> None:
    write_bank(tmp_path / "bank", BankSize(customers=100, products=10, contents=500, days=28))
    contents = pl.read_parquet(tmp_path / "bank" / "contents.parquet")
    assert contents["content_id"].n_unique() == 500
    assert set(contents.unique("content_id").group_by("product_id").len()["len"]) <= set(range(30, 71))
    assert validate(tmp_path / "bank").findings == []


@contextmanager
def answering(seconds: float, shed_above: int) -> Iterator[int]:
    """A server that takes so long for each answer, and says 429 to what is more than it takes at once."""
    ready, stop, address = Event(), Event(), [0]
    busy = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal busy
        while not reader.at_eof():
            try:
                await reader.readuntil(b"\r\n\r\n{}")
            except asyncio.IncompleteReadError:
                break
            status = b"429 Too Many Requests" if busy >= shed_above else b"200 OK"
            if status[:3] == b"200":
                busy += 1
                await asyncio.sleep(seconds)
                busy -= 1
            writer.write(b"HTTP/1.1 %s\r\nContent-Length: 2\r\n\r\nok" % status)
        writer.close()

    async def run() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        address[0] = server.sockets[0].getsockname()[1]
        ready.set()
        while not stop.is_set():
            await asyncio.sleep(0.01)
        server.close()

    thread = Thread(target=asyncio.run, args=(run(),))
    thread.start()
    ready.wait()
    try:
        yield address[0]
    finally:
        stop.set()
        thread.join()


def test_driver_clients_wait_for_each_answer() -> None:
    with answering(0.02, 100) as port:
        found = Driver(port, [REQUEST]).clients(4, 40)
    assert found.statuses == {200: 40}
    assert found.p50 >= 20
    assert found.per_second <= 4 / 0.02
    assert found.rejected_p99 is None


def test_driver_rate_does_not_wait_and_counts_what_was_shed() -> None:
    started = time.perf_counter()
    with answering(0.05, 2) as port:
        found = Driver(port, [REQUEST]).rate(200, 0.5, 64)
    assert time.perf_counter() - started < 10
    assert sum(found.statuses.values()) == 100
    assert found.statuses[429] > 0
    assert found.statuses[200] <= 2 * (10 + 0.5 / 0.05 * 20)
    assert found.p50 >= 50


def measured(resident: float, *rounds: Timing) -> Measured:
    return Measured(3.0, resident, {1: rounds[0]}, {1: list(rounds)}, {1: resident / 100})


def test_report_compares_with_the_bare_app_round_by_round() -> None:
    quiet, busy = Timing({200: 10}, 100.0, 6.0, 12.0, None), Timing({200: 10}, 50.0, 12.0, 90.0, None)
    service = measured(600.0, quiet, busy, busy)
    bare = measured(
        400.0,
        Timing({200: 10}, 400.0, 2.0, 6.0, None),
        Timing({200: 10}, 200.0, 4.0, 45.0, None),
        Timing({200: 10}, 100.0, 3.0, 30.0, None),
    )
    assert compare(service, bare) == {"1": {"p50_times": 3.0, "p99_times": 2.0, "rate_share": 0.25, "cpu_times": 1.5}}
    beyond = Timing({200: 50, 429: 150}, 90.0, 7.0, 30.0, 1.0)
    stages = {"facts": 1.0, "log": 2.0, "total": 6.0, "rest": 3.0}
    one = StoreReport("sqlite", service, bare, service, stages, beyond, 12.0, {"personalised": 10.0})
    report = {"machine": {"cores": 2, "load_average": 1.0}, "stores": [one.to_json()]}
    text = "\n".join(describe(report))
    assert "service against bare: p50 3.0x, p99 2.0x, 25 % of its requests/s, 1.5x its processor time" in text
    assert "service against direct: p50 1.0x" in text
    assert "2.5x of one client's" in text
    assert "rest            3.00    50 %" in text
