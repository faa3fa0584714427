"""Looks for a person in files: the id and its plain hashes, in raw bytes and in what formats hide from a byte search.

Parquet compresses, SQLite joins columns without a gap, archives deflate: their values are read and searched one by one.
An id counts where it stands alone (`c12` is not in `c123`), so that short ids find no strangers.
"""

import gzip
import hashlib
import mmap
import os
import re
import sqlite3
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

_ALPHANUMERIC: Final = rb"[0-9A-Za-z]"
_HASHES: Final[tuple[tuple[str, Callable[[bytes], bytes]], ...]] = (
    ("sha256", lambda data: hashlib.sha256(data).digest()),
    ("blake2b", lambda data: hashlib.blake2b(data).digest()),
    ("blake2b-256", lambda data: hashlib.blake2b(data, digest_size=32).digest()),
    ("blake2b-128", lambda data: hashlib.blake2b(data, digest_size=16).digest()),
    ("blake2s", lambda data: hashlib.blake2s(data).digest()),
    ("sha1", lambda data: hashlib.sha1(data, usedforsecurity=False).digest()),
    ("md5", lambda data: hashlib.md5(data, usedforsecurity=False).digest()),
)
HASH_NAMES: Final = tuple(name for name, _ in _HASHES)
"""The plain hashes that are looked for beside the id, in hex and as bytes."""
_SQLITE_MAGIC: Final = b"SQLite format 3\0"
_SQLITE_SIDE_FILES: Final = ("-wal", "-journal")
_GZIP_MAGIC: Final = b"\x1f\x8b"
_ZIP_MAGIC: Final = b"PK\x03\x04"
_PARQUET_MAGIC: Final = b"PAR1"


class Finding(NamedTuple):
    """A file that holds what was looked for."""

    file: Path
    where: str
    """The table and column, the member of an archive, `bytes` or `name`."""


@dataclass(frozen=True)
class Needle:
    """What is looked for: an id, in its own letters and as the plain hashes that code likes to make of ids."""

    text: str

    @property
    def raw(self) -> bytes:
        """The id in UTF-8."""
        return self.text.encode()

    @cached_property
    def hashes(self) -> tuple[bytes, ...]:
        """Each hash in hex (of small and of capital letters) and as bytes."""
        digests = [make(self.raw) for _, make in _HASHES]
        hexes = [digest.hex().encode() for digest in digests]
        return (*digests, *hexes, *(text.upper() for text in hexes))

    @property
    def printable(self) -> tuple[bytes, ...]:
        """The id and the hashes in hex, for databases that hold text."""
        return (self.raw, *(text for text in self.hashes if text.isalnum()))

    @cached_property
    def _alone(self) -> re.Pattern[bytes]:
        """The id where it stands alone, or behind its own length as Protocol Buffers write it."""
        length = re.escape(bytes([len(self.raw) % 256]))
        before = rb"(?:(?<!" + _ALPHANUMERIC + rb")|(?<=" + length + rb"))"
        return re.compile(before + re.escape(self.raw) + rb"(?!" + _ALPHANUMERIC + rb")", re.DOTALL)

    def is_in(self, value: "bytes | mmap.mmap", *, alone: bool = True) -> bool:
        """Whether a value holds the id or a hash of it.

        Args:
            value: is looked through once a needle, which is several times faster than one expression for all.
            alone: False: the id counts inside longer words too, for bytes that have no words.
        """
        place = value.find(self.raw)
        while place >= 0:
            if not alone or self._alone.search(value, max(place - 1, 0), place + len(self.raw) + 1):
                return True
            place = value.find(self.raw, place + 1)
        return any(value.find(text) >= 0 for text in self.hashes)


class SearchReport(NamedTuple):
    """What a search saw."""

    files: int
    bytes: int
    findings: list[Finding]


def search(root: Path, needle: Needle, skip: tuple[Path, ...] = ()) -> SearchReport:
    """Searches every file under a directory.

    Args:
        root: a directory, or a file.
        needle: what to look for.
        skip: directories not to enter, and files not to read.
    """
    findings: list[Finding] = []
    files = size = 0
    for file in walk(root, skip):
        files += 1
        size += file.stat().st_size
        if needle.is_in(str(file.relative_to(root)).encode("utf-8", "surrogateescape")):
            findings.append(Finding(file, "name"))
        findings += [Finding(file, where) for where in _search_file(file, needle)]
    return SearchReport(files, size, findings)


def walk(root: Path, skip: tuple[Path, ...] = ()) -> Iterator[Path]:
    """Every file under `root`, sorted, hidden ones too; links to directories are not followed."""
    if root.is_file():
        yield root
        return
    for path, names, files in os.walk(root):
        folder = Path(path)
        names[:] = sorted(name for name in names if folder / name not in skip)
        found = (folder / name for name in sorted(files) if folder / name not in skip)
        yield from (file for file in found if file.is_file())


def _search_file(file: Path, needle: Needle) -> Iterator[str]:
    """Where in a file it is."""
    with file.open("rb") as stream:
        head = stream.read(16)
    if head == _SQLITE_MAGIC:
        yield from _search_sqlite(file, needle)
        return
    if _holds(file, needle, alone=not file.name.endswith(_SQLITE_SIDE_FILES)):
        yield "bytes"
    if head.startswith(_PARQUET_MAGIC):
        yield from _search_parquet(file, needle)
    elif head.startswith(_GZIP_MAGIC):
        with gzip.open(file) as stream:
            if needle.is_in(stream.read()):
                yield "gzip"
    elif head.startswith(_ZIP_MAGIC) and zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            yield from (name for name in archive.namelist() if needle.is_in(archive.read(name)))


def _holds(file: Path, needle: Needle, *, alone: bool) -> bool:
    if file.stat().st_size == 0:
        return False
    with file.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return needle.is_in(content, alone=alone)


def _search_parquet(file: Path, needle: Needle) -> Iterator[str]:
    try:
        with pq.ParquetFile(file) as parquet:
            found: set[str] = set()
            texts = [field.name for field in parquet.schema_arrow if _holds_text(field.type)]
            for batch in parquet.iter_batches(columns=texts) if texts else ():
                for name, column in zip(batch.schema.names, batch.columns, strict=True):
                    if name not in found and any(_is_in_values(leaf, needle) for leaf in _leaves(column)):
                        found.add(name)
            yield from sorted(found)
    except pa.ArrowInvalid:
        return  # cut short by a kill: no reader can get more from it than its bytes


def _holds_text(type_: pa.DataType) -> bool:
    """Whether strings or bytes are somewhere inside; numbers need not be decoded."""
    if isinstance(type_, pa.DictionaryType):
        return _holds_text(type_.value_type)
    if type_.num_fields:
        return any(_holds_text(type_.field(place).type) for place in range(type_.num_fields))
    return not (pa.types.is_primitive(type_) or pa.types.is_null(type_))


def _leaves(column: pa.Array) -> Iterator[pa.Array]:
    """The string and binary arrays inside a column of any nesting."""
    if isinstance(column.type, pa.DictionaryType):
        yield from _leaves(column.dictionary)
    elif isinstance(column, pa.ListArray | pa.LargeListArray | pa.FixedSizeListArray):
        yield from _leaves(column.flatten())
    elif isinstance(column, pa.StructArray):
        for field in column.flatten():
            yield from _leaves(field)
    elif any(test(column.type) for test in (pa.types.is_string, pa.types.is_binary, pa.types.is_fixed_size_binary)):
        yield column.cast(pa.binary())
    elif pa.types.is_large_string(column.type) or pa.types.is_large_binary(column.type):
        yield column.cast(pa.large_binary())


def _is_in_values(values: pa.Array, needle: Needle) -> bool:
    """A quick look in Arrow, then the exact one at what it found."""
    for text in (needle.raw, *needle.hashes):
        near = values.filter(pc.match_substring(values, text))
        if any(needle.is_in(value) for value in near.to_pylist()):
            return True
    return False


def _search_sqlite(file: Path, needle: Needle) -> Iterator[str]:
    with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as connection:
        if connection.execute("PRAGMA freelist_count").fetchone()[0] and _holds(file, needle, alone=False):
            yield "bytes of free pages"
        connection.text_factory = bytes
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for table in (name.decode() for (name,) in tables):
            columns = [row[1].decode() for row in connection.execute(f"PRAGMA table_info({_quoted(table)})")]
            for column in columns:
                if _is_in_column(connection, table, column, needle):
                    yield f"{table}.{column}"


def _is_in_column(connection: sqlite3.Connection, table: str, column: str, needle: Needle) -> bool:
    blob = f"CAST({_quoted(column)} AS BLOB)"
    where = " OR ".join([f"instr({blob}, ?) > 0"] * (1 + len(needle.hashes)))
    query = f"SELECT {blob} FROM {_quoted(table)} WHERE {where}"  # noqa: S608 - quoted names of the database itself
    return any(needle.is_in(value) for (value,) in connection.execute(query, (needle.raw, *needle.hashes)))


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
