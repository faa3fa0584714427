"""The search finds what was planted in every format; without that, finding nothing would prove nothing."""

import gzip
import hashlib
import json
import sqlite3
import zipfile
from contextlib import closing
from pathlib import Path

import polars as pl
import pytest

from recsys.privacy.scrub import scrub_files
from recsys.privacy.search import Needle, search

WHO = "c0000012"


def plant(folder: Path, text: str) -> None:
    """Writes a value in formats that compress, join, nest or hide it."""
    value = text.encode()
    (folder / "deep" / ".hidden").mkdir(parents=True)
    pl.DataFrame({"customer_id": [text] * 3, "n": [1, 2, 3]}).write_parquet(
        folder / "table.parquet", compression="zstd"
    )
    pl.DataFrame({"lists": [["a", text]]}).write_parquet(folder / "list.parquet")
    pl.DataFrame({"s": [{"id": text}]}).write_parquet(folder / "struct.parquet")
    pl.DataFrame({"b": [b"\x0a\x08" + value + b"\x12"]}).write_parquet(folder / "blob.parquet")
    pl.DataFrame({"c": [text]}, schema={"c": pl.Categorical}).write_parquet(folder / "category.parquet")
    with closing(sqlite3.connect(folder / "rows.db")) as connection, connection:
        connection.execute("CREATE TABLE facts (id TEXT, body TEXT)")
        connection.execute("INSERT INTO facts VALUES (?, 'p0001')", (text,))
        connection.execute("INSERT INTO facts VALUES ('x', ?)", (json.dumps({"customer": text}),))
    with zipfile.ZipFile(folder / "weights.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data", b"..." + value + b"...")
    (folder / "old.log.gz").write_bytes(gzip.compress(b"asked for " + value + b"\n"))
    (folder / "deep" / ".hidden" / "server.log").write_bytes(b"GET /customers/" + value + b"?x=1\n")
    (folder / "deep" / f"{text}.txt").write_text("a name of a file")


@pytest.mark.parametrize(
    "value",
    [
        WHO,
        hashlib.sha256(WHO.encode()).hexdigest(),
        hashlib.sha256(WHO.encode()).hexdigest().upper(),
        hashlib.blake2b(WHO.encode(), digest_size=16).hexdigest(),
        hashlib.md5(WHO.encode(), usedforsecurity=False).hexdigest(),
    ],
)
def test_search_finds_the_id_and_its_hashes_in_every_format(value: str, tmp_path: Path) -> None:
    plant(tmp_path, value)
    report = search(tmp_path, Needle(WHO))
    every = {path for path in tmp_path.rglob("*") if path.is_file()}
    assert {finding.file for finding in report.findings} == every
    assert report.files == len(every)
    assert report.bytes == sum(path.stat().st_size for path in every)


def test_search_finds_raw_digests(tmp_path: Path) -> None:
    digest = hashlib.blake2b(WHO.encode(), digest_size=16).digest()
    (tmp_path / "keys.bin").write_bytes(b"\x00" * 5 + digest)
    pl.DataFrame({"key": [digest]}).write_parquet(tmp_path / "keys.parquet")
    assert {f.file.name for f in search(tmp_path, Needle(WHO)).findings} == {"keys.bin", "keys.parquet"}


def test_search_finds_no_stranger_whose_id_holds_the_letters(tmp_path: Path) -> None:
    plant(tmp_path, "xc00000121")
    plant(tmp_path / "more", "c00000120")
    assert search(tmp_path, Needle(WHO)).findings == []
    assert search(tmp_path, Needle("c1")).findings == []


def test_search_finds_deleted_rows_in_free_pages_and_in_the_log_of_sqlite(tmp_path: Path) -> None:
    file = tmp_path / "rows.db"
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("PRAGMA secure_delete=OFF")  # which some builds of SQLite have on
        connection.execute("CREATE TABLE t (id TEXT)")
        connection.executemany("INSERT INTO t VALUES (?)", [(WHO + "p" * 900,)] * 50)
        connection.execute("DELETE FROM t")
    assert [finding.where for finding in search(tmp_path, Needle(WHO)).findings] == ["bytes of free pages"]
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("VACUUM")
        assert search(tmp_path, Needle(WHO)).findings == []
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("INSERT INTO t VALUES (?)", ("a" + WHO,))
        connection.commit()
        assert {finding.file.name for finding in search(tmp_path, Needle(WHO)).findings} == {"rows.db-wal"}


def test_search_of_a_length_prefixed_id_is_not_fooled_by_the_length(tmp_path: Path) -> None:
    """The length of an id of 48 letters is the byte "0" in Protocol Buffers."""
    long = "c" * 48
    (tmp_path / "value").write_bytes(b"\x0a0" + long.encode() + b"\x12")
    assert len(search(tmp_path, Needle(long)).findings) == 1


def test_scrub_removes_rows_and_lines_of_one_customer_only(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    rows = pl.DataFrame({"customer_id": ["c1", WHO, "c2", None], "v": [[1.0], [2.0], None, [4.0]]})
    rows.write_parquet(tmp_path / "table.parquet")
    pl.DataFrame({"product_id": ["p1"]}).write_parquet(tmp_path / "other.parquet")
    untouched = (tmp_path / "other.parquet").stat()
    (tmp_path / "logs" / "a.log").write_text(f"one c1\ntwo {WHO}\nthree {WHO}0\n")
    (tmp_path / "half.parquet").write_bytes(b"PAR1 cut short")
    assert scrub_files(tmp_path, WHO) == {"logs/a.log": 1, "table.parquet": 1}
    left = pl.read_parquet(tmp_path / "table.parquet")
    assert left.equals(rows.filter(pl.col("customer_id").ne_missing(WHO)))
    assert left.schema == rows.schema
    assert (tmp_path / "logs" / "a.log").read_text() == f"one c1\nthree {WHO}0\n"
    assert (tmp_path / "other.parquet").stat() == untouched
    assert scrub_files(tmp_path, WHO) == {}
    assert search(tmp_path, Needle(WHO)).findings == []
