"""The decision log: hash-chained, append-only, erasable without a broken chain, and never a decision lost."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy import select, text, update

from recsys.errors import RecsysError
from serving.decision_log import DecisionLog, decode, drain, drain_left_over, encode
from serving.journal import Journal, read_segment, segments
from serving.metrics import Metrics
from serving.store.chain import GENESIS, canonical
from serving.store.database import Store, StoreError
from serving.store.decisions import DecisionEntry, DecisionStore
from serving.store.tables import decision_chain, decision_features, decisions
from serving.store.verification import Anchor, verify

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def entry(number: int, customer: str = "anna", features: bool = True, **record: Any) -> DecisionEntry:
    row = {"profile__segment": "young", "text__vector": [0.5, number / 3]} if features else None
    public = {"decision_id": f"d{number}", "mode": "popular", **record}
    payload = {"customer_id": customer, "salt": f"s{number}", "request": {"number": number}}
    return DecisionEntry.build(public, payload, row, NOW + number * DAY)


def filled(store: Store, count: int = 6) -> DecisionStore:
    log = DecisionStore(store)
    log.append([entry(number, "bert" if number % 3 == 2 else "anna") for number in range(count)])
    return log


def change(store: Store, statement: str) -> None:
    """What somebody with all rights on the database does: first away with the triggers."""
    with store.writing() as connection:
        for table, trigger in (
            ("decisions", "decisions_keep"),
            ("decisions", "decisions_stay"),
            ("decision_features", "decision_features_keep"),
        ):
            on = f" ON {table}" if connection.dialect.name == "postgresql" else ""
            connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS {trigger}{on}")
        for one in statement.split(";"):
            connection.exec_driver_sql(one)


def test_chain_is_sha256_of_number_hash_before_and_record(store: Store) -> None:
    before = GENESIS
    for number, row in enumerate(filled(store).walk(), start=1):
        assert row.sequence == number
        assert row.hash == sha256(f"{number}\n{before}\n{row.record}".encode()).hexdigest()
        record = orjson.loads(row.record)
        assert record["payload_sha256"] == sha256((row.payload or "").encode()).hexdigest()
        assert "anna" not in row.record
        before = row.hash
    assert DecisionStore(store).head() == (6, before)


def test_canonical_of_equal_values_is_equal() -> None:
    assert canonical({"b": 1, "a": {"d": None, "c": (1.5, "ü")}}) == '{"a":{"c":[1.5,"ü"],"d":null},"b":1}'
    with pytest.raises(TypeError):
        canonical({1, 2})


def test_append_again_adds_nothing(store: Store) -> None:
    log = filled(store)
    assert log.append([entry(number) for number in range(8)]) == 2
    assert log.append([entry(9), entry(9)]) == 1
    assert [row.sequence for row in log.walk()] == list(range(1, 10))
    assert verify(store).finding is None


def test_append_by_many_at_once_leaves_no_gap(store: Store) -> None:
    log = DecisionStore(store)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda part: log.append([entry(100 * part + number) for number in range(25)]), range(8)))
    assert [row.sequence for row in log.walk(chunk=7)] == list(range(1, 201))
    found = verify(store)
    assert (found.finding, found.rows) == (None, 200)


def test_append_same_features_are_kept_once(store: Store) -> None:
    log = DecisionStore(store)
    log.append(
        [
            DecisionEntry.build({"decision_id": f"d{n}"}, {"customer_id": "anna", "salt": str(n)}, {"a": 1.0}, NOW)
            for n in range(3)
        ]
    )
    with store.reading() as connection:
        assert len(connection.execute(select(decision_features)).all()) == 1
    digest = next(iter(log.walk())).features_digest
    assert log.read_features(digest or "") == {"a": 1.0}


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM decisions WHERE sequence = 3",
        "UPDATE decisions SET record = '{}' WHERE sequence = 3",
        "UPDATE decisions SET hash = 'x' WHERE sequence = 3",
        "UPDATE decisions SET customer_id = 'bert' WHERE sequence = 3",
        "UPDATE decisions SET customer_id = NULL WHERE sequence = 3",
        "UPDATE decisions SET customer_id = NULL, payload = NULL, features_digest = NULL, erased_at = created_at, "
        "sequence = 99",
        "UPDATE decisions SET customer_id = NULL, payload = NULL, features_digest = NULL, erased_at = created_at, "
        "record = ''",
        "UPDATE decision_features SET features = '{}'",
    ],
)
def test_log_change_of_a_row_is_refused_by_the_database(store: Store, statement: str) -> None:
    filled(store)
    with pytest.raises(StoreError, match="append-only"), store.writing() as connection:
        connection.exec_driver_sql(statement)
    assert verify(store).finding is None


def test_log_truncate_is_refused_by_postgresql(store: Store) -> None:
    if store.engine.dialect.name != "postgresql":
        pytest.skip("SQLite has no TRUNCATE")
    filled(store)
    with pytest.raises(StoreError, match="append-only"), store.writing() as connection:
        connection.exec_driver_sql("TRUNCATE decisions")


_SWAP = """UPDATE decisions SET sequence = -1 WHERE sequence = 3;
UPDATE decisions SET sequence = 3 WHERE sequence = 4;
UPDATE decisions SET sequence = 4 WHERE sequence = -1"""
_CLOSE_GAP = """DELETE FROM decisions WHERE sequence = 3;
UPDATE decisions SET sequence = sequence - 1 WHERE sequence = 4;
UPDATE decisions SET sequence = sequence - 1 WHERE sequence = 5;
UPDATE decisions SET sequence = sequence - 1 WHERE sequence = 6"""


@pytest.mark.parametrize(
    ("statement", "sequence", "problem"),
    [
        ("UPDATE decisions SET record = replace(record, 'popular', 'safe') WHERE sequence = 3", 3, "row was changed"),
        ("UPDATE decisions SET payload = replace(payload, 'number', 'nummer') WHERE sequence = 3", 3, "payload was"),
        ("UPDATE decisions SET customer_id = 'carl' WHERE sequence = 3", 3, "customer_id or features_digest"),
        ("UPDATE decisions SET customer_id = NULL, payload = NULL WHERE sequence = 3", 3, "without an erasure"),
        ("UPDATE decisions SET decision_id = 'other' WHERE sequence = 3", 3, "decision_id or created_at"),
        ("UPDATE decisions SET hash = replace(hash, substr(hash, 1, 1), 'g') WHERE sequence = 3", 3, "row was changed"),
        ("DELETE FROM decisions WHERE sequence = 3", 3, "row was removed"),
        ("DELETE FROM decisions WHERE sequence = 1", 1, "row was removed"),
        ("DELETE FROM decisions WHERE sequence > 4", 5, "removed from the end"),
        (_SWAP, 3, "another one was put in its place"),
        (_CLOSE_GAP, 3, "another one was put in its place"),
        ("UPDATE decision_features SET features = '{}'", 1, "feature row that it was made from was changed"),
        ("DELETE FROM decision_features", 1, "feature row that it was made from was removed"),
    ],
)
def test_verify_names_the_first_row_that_is_wrong(store: Store, statement: str, sequence: int, problem: str) -> None:
    filled(store)
    change(store, statement)
    finding = verify(store).finding
    assert finding is not None
    assert finding.sequence == sequence
    assert problem in finding.problem


def test_verify_chain_made_anew_is_found_by_an_anchor(store: Store, tmp_path: Path) -> None:
    filled(store)
    head = verify(store).head
    anchor = Anchor.parse(f"{head.sequence}:{head.hash}")
    DecisionStore(store).append([entry(50)])
    assert verify(store, anchor).finding is None
    rows = [entry(number, mode="safe") for number in range(7)]
    change(store, "DELETE FROM decisions; DELETE FROM decision_features")
    with store.writing() as connection:
        connection.execute(update(decision_chain).values(sequence=0, hash=GENESIS))
    DecisionStore(store).append(rows)
    assert verify(store).finding is None
    finding = verify(store, anchor).finding
    assert finding is not None
    assert (finding.sequence, "made anew" in finding.problem) == (6, True)
    finding = verify(store, Anchor(8, "0" * 64)).finding
    assert finding is not None
    assert "removed from the end" in finding.problem


@pytest.mark.parametrize("text_", ["", "1", "x:" + "0" * 64, "3:abc"])
def test_anchor_that_cannot_be_read_is_refused(text_: str) -> None:
    with pytest.raises(RecsysError, match="no anchor"):
        Anchor.parse(text_)


def test_erasure_takes_out_what_is_personal_and_the_chain_still_verifies(store: Store) -> None:
    log = filled(store)
    before = [(row.sequence, row.record, row.hash) for row in log.walk()]
    assert log.erase_customer("anna", NOW + 30 * DAY) == 4
    assert log.erase_customer("anna", NOW + 31 * DAY) == 0
    rows = list(log.walk())
    assert [(row.sequence, row.record, row.hash) for row in rows] == before
    erased = [row for row in rows if row.erased_at is not None]
    assert len(erased) == 4
    assert all((row.customer_id, row.payload, row.features_digest) == (None, None, None) for row in erased)
    with store.reading() as connection:
        owners = set(connection.scalars(select(decision_features.c.customer_id)))
        dump = str(connection.execute(select(decisions)).all())
    assert owners == {"bert"}
    assert "anna" not in dump
    found = verify(store)
    assert (found.finding, found.rows, found.erased) == (None, 6, 4)
    log.append([entry(60)])
    assert verify(store).finding is None


def test_anonymise_before_takes_out_what_is_old(store: Store) -> None:
    log = filled(store)
    assert log.anonymise_before(NOW + 3 * DAY, NOW + 30 * DAY) == 3
    assert [row.erased_at is None for row in log.walk()] == [False] * 3 + [True] * 3
    with store.reading() as connection:
        assert len(connection.execute(select(decision_features)).all()) == 3
    assert verify(store).finding is None


@pytest.fixture
def log(store: Store, tmp_path: Path) -> Iterator[DecisionLog]:
    made = DecisionLog(tmp_path / "journal", store, Metrics())
    yield made
    made.close()


def append(log: DecisionLog, *entries: DecisionEntry) -> None:
    async def all_of_them() -> None:
        await asyncio.gather(*(log.append(one) for one in entries))

    asyncio.run(all_of_them())


def test_encode_decode_gives_the_entry_back() -> None:
    assert decode(encode(entry(1))) == entry(1)
    assert decode(encode(entry(1, features=False))) == entry(1, features=False)


def test_log_reaches_the_store_by_itself(log: DecisionLog, store: Store) -> None:
    append(log, *(entry(number) for number in range(300)))
    deadline = datetime.now(UTC) + timedelta(seconds=20)
    while len(list(DecisionStore(store).walk())) < 300:
        assert datetime.now(UTC) < deadline
    assert verify(store).finding is None


def test_log_closed_leaves_no_journal_behind(store: Store, tmp_path: Path) -> None:
    log = DecisionLog(tmp_path / "journal", store, Metrics())
    append(log, entry(1))
    log.close()
    assert len(list(DecisionStore(store).walk())) == 1
    assert not list((tmp_path / "journal").iterdir())


def test_log_store_down_keeps_decisions_for_the_next_start(store: Store, tmp_path: Path) -> None:
    log = DecisionLog(tmp_path / "journal", store, Metrics())
    with store.writing() as connection:
        connection.execute(text("ALTER TABLE decisions RENAME TO gone"))
    append(log, *(entry(number) for number in range(250)))
    with pytest.raises(StoreError):
        log.flush()
    log.close()
    with store.writing() as connection:
        connection.execute(text("ALTER TABLE gone RENAME TO decisions"))
    assert drain_left_over(tmp_path / "journal", store) == 250
    assert drain_left_over(tmp_path / "journal", store) == 0
    assert not list((tmp_path / "journal").iterdir())
    assert verify(store).finding is None


def test_drain_interrupted_after_the_commit_adds_nothing_the_second_time(store: Store, tmp_path: Path) -> None:
    segment = write_segment(tmp_path, *(entry(number) for number in range(150)))
    copy = tmp_path / "copy"
    copy.write_bytes(segment.read_bytes())
    log = DecisionStore(store)
    assert drain(segment, log) == 150
    assert not segment.exists()
    assert drain(copy, log) == 0


def write_segment(folder: Path, *entries: DecisionEntry) -> Path:
    """The segment of a journal whose process is gone."""
    journal = Journal(folder / "journals")

    async def all_of_them() -> None:
        for one in entries:
            await journal.append(encode(one))

    asyncio.run(all_of_them())
    journal.close()
    (segment,) = segments(journal.folder)
    return segment


def test_segment_last_line_cut_short_is_passed_over(tmp_path: Path) -> None:
    segment = write_segment(tmp_path, *(entry(number) for number in range(3)))
    whole = segment.read_bytes()
    last = whole.rstrip(b"\n").rfind(b"\n") + 1
    for cut in {last + 1, last + 9, last + 100, len(whole) - 1}:
        segment.write_bytes(whole[:cut])
        assert len(list(read_segment(segment))) == 2
        assert not segment.with_suffix(".damaged").exists()


def test_segment_damaged_line_is_kept_for_the_operator_and_the_others_are_read(
    tmp_path: Path, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    segment = write_segment(tmp_path, *(entry(number) for number in range(3)))
    content = bytearray(segment.read_bytes())
    content[content.index(b"\n") + 20] ^= 1
    segment.write_bytes(content)
    assert drain(segment, DecisionStore(store)) == 2
    assert not segment.exists()
    assert segment.with_suffix(".damaged").read_bytes() == content
    assert "1 line(s)" in caplog.text


def test_left_over_journal_of_a_living_process_is_left_alone(store: Store, tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journals")
    asyncio.run(journal.append(encode(entry(1))))
    assert drain_left_over(tmp_path / "journals", store) == 0
    assert len(segments(journal.folder)) == 1
    journal.close()
    (folder,) = (tmp_path / "journals").iterdir()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert segments(folder)[0].stat().st_mode & 0o777 == 0o600
