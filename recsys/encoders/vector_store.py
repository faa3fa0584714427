"""Unit vectors by content key, in append-only parquet parts that several processes may write at once.

A part is written under a temporary name and renamed, so a reader sees whole parts only; names are unique, so writers do
not meet. Two processes that write the same key write the same vector: the first part read wins. A part that cannot be
read is as good as absent: its vectors are computed again.
"""

import math
import time
import uuid
import warnings
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recsys.encoders.runtime import unit_rows

KEY_BYTES = 16
_KEY = f"S{KEY_BYTES}"
_DISK_DTYPE = np.dtype("<f2")
"""Half precision moves a unit vector by a cosine of less than 1e-6, and halves the cache."""
_PART_ROWS = 8192
_PART_SECONDS = 30.0
"""A part is written after so many rows or seconds: what a kill can cost."""
_UNREADABLE = (OSError, pa.ArrowInvalid, pa.ArrowKeyError, KeyError, ValueError)


def stored_precision(vectors: np.ndarray) -> np.ndarray:
    """What [N, D] unit vectors become once stored and read back, so that fresh and cached ones are bit-equal."""
    return unit_rows(vectors.astype(_DISK_DTYPE))


class VectorStore:
    """The vectors of one encoder. Holds keys in memory (28 bytes each), vectors on disk.

    Args:
        folder: where the parts lie; made when the first part is written.
        dim: length of a vector.
    """

    def __init__(self, folder: Path, dim: int) -> None:
        self._folder = folder
        self._dim = dim
        self._seen: set[str] = set()
        self._parts: list[Path] = []
        self._keys = np.empty(0, dtype=_KEY)
        self._places = np.empty((0, 2), dtype=np.int32)

    def read(self, keys: np.ndarray, out: np.ndarray) -> np.ndarray:
        """Fills the rows of `out` whose key is stored.

        Args:
            keys: [N] content keys of KEY_BYTES bytes.
            out: [N, D] float32, written in place.

        Returns:
            [N] bool, whether the row was found.
        """
        self._refresh()
        found = np.zeros(len(keys), dtype=bool)
        if len(keys) == 0 or len(self._keys) == 0:
            return found
        positions = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        rows = np.flatnonzero(self._keys[positions] == keys)
        places = self._places[positions[rows]]
        for part in np.unique(places[:, 0]):
            of_part = places[:, 0] == part
            vectors = self._read_vectors(int(part))
            if vectors is not None:
                out[rows[of_part]] = unit_rows(vectors[places[of_part, 1]])
                found[rows[of_part]] = True
        return found

    def append(self, keys: np.ndarray, vectors: np.ndarray) -> None:
        """Writes one part of [N] keys and [N, D] vectors."""
        self._folder.mkdir(parents=True, exist_ok=True)
        payload = np.ascontiguousarray(vectors, dtype=_DISK_DTYPE).view(f"V{self._dim * _DISK_DTYPE.itemsize}")
        table = pa.table({"key": _binary(keys), "vector": _binary(payload.reshape(-1))})
        name = uuid.uuid4().hex
        temporary = self._folder / f".{name}.tmp"
        try:
            pq.write_table(table, temporary, compression="none", use_dictionary=False, write_page_checksum=True)
            temporary.rename(self._folder / f"{name}.parquet")
        finally:
            temporary.unlink(missing_ok=True)

    def _refresh(self) -> None:
        """Learns the keys of parts that have appeared since the last look."""
        if not self._folder.is_dir():
            return
        fresh = [path for path in sorted(self._folder.glob("*.parquet")) if path.name not in self._seen]
        keys, places = [self._keys], [self._places]
        for path in fresh:
            self._seen.add(path.name)
            part_keys = self._read_keys(path)
            if part_keys is not None:
                rows = np.arange(len(part_keys), dtype=np.int32)
                keys.append(part_keys)
                places.append(np.stack([np.full_like(rows, len(self._parts)), rows], axis=1))
                self._parts.append(path)
        if len(keys) > 1:
            self._keys, first = np.unique(np.concatenate(keys), return_index=True)
            self._places = np.concatenate(places)[first]

    def _read_keys(self, path: Path) -> np.ndarray | None:
        """The keys of one part, or None, with a warning, where it cannot be read or holds something else."""
        try:
            with pq.ParquetFile(path, page_checksum_verification=True) as file:
                width = file.schema_arrow.field("vector").type.byte_width
                if width != self._dim * _DISK_DTYPE.itemsize:
                    raise ValueError(f"vectors of {width} bytes, expected {self._dim * _DISK_DTYPE.itemsize}")
                return _from_binary(file.read(columns=["key"]).column("key"), np.dtype(_KEY))
        except _UNREADABLE as error:
            _warn(path, error)
            return None

    def _read_vectors(self, part: int) -> np.ndarray | None:
        """The [rows, D] half-precision vectors of one part, or None, with a warning."""
        path = self._parts[part]
        try:
            with pq.ParquetFile(path, page_checksum_verification=True) as file:
                column = file.read(columns=["vector"]).column("vector")
            return _from_binary(column, _DISK_DTYPE).reshape(-1, self._dim)
        except _UNREADABLE as error:
            _warn(path, error)
            keep = self._places[:, 0] != part
            self._keys, self._places = self._keys[keep], self._places[keep]
            return None


def forget_vectors(
    folder: Path, unwanted: Callable[[np.ndarray], np.ndarray], before: float = math.inf, *, dry_run: bool = False
) -> int:
    """Takes vectors out of the parts in a folder: each part is replaced by one without them, and no reader sees half.

    A process that has the old part open computes what it misses again.

    Args:
        folder: of one encoder.
        unwanted: [n] keys -> [n] bool, which of them go.
        before: only in parts written before this time, in seconds since 1970.
        dry_run: only counts.

    Returns:
        How many vectors went.
    """
    removed = 0
    for path in sorted(folder.glob("*.parquet")):
        if path.stat().st_mtime >= before:
            continue
        try:
            with pq.ParquetFile(path) as file:
                table = file.read()
            gone = unwanted(_from_binary(table.column("key"), np.dtype(_KEY)))
        except _UNREADABLE as error:
            _warn(path, error)
            continue
        removed += int(gone.sum())
        if dry_run or not gone.any():
            continue
        if not gone.all():
            temporary = folder / f".{uuid.uuid4().hex}.tmp"
            try:
                rest = table.filter(pa.array(~gone))
                pq.write_table(rest, temporary, compression="none", use_dictionary=False, write_page_checksum=True)
                temporary.rename(folder / f"{uuid.uuid4().hex}.parquet")
            finally:
                temporary.unlink(missing_ok=True)
        path.unlink()
    return removed


class PartWriter:
    """Gathers vectors and writes them as parts now and then, and what is left at the end, an interrupt included.

    >>> with PartWriter(store) as writer:  # doctest: +SKIP
    ...     writer.add(keys, vectors)
    """

    def __init__(self, store: VectorStore) -> None:
        self._store = store
        self._pending: list[tuple[np.ndarray, np.ndarray]] = []
        self._since = time.monotonic()

    def add(self, keys: np.ndarray, vectors: np.ndarray) -> None:
        """Takes [N] keys and [N, D] vectors."""
        self._pending.append((keys, vectors.astype(_DISK_DTYPE)))
        rows = sum(len(keys) for keys, _ in self._pending)
        if rows >= _PART_ROWS or time.monotonic() - self._since > _PART_SECONDS:
            self._flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._flush()

    def _flush(self) -> None:
        pending, self._pending, self._since = self._pending, [], time.monotonic()
        keys = [keys for keys, _ in pending if len(keys)]
        if keys:
            self._store.append(np.concatenate(keys), np.concatenate([rows for _, rows in pending if len(rows)]))


def _binary(values: np.ndarray) -> pa.Array:
    """[N] byte strings of one width -> a fixed-size binary column over the same memory."""
    values = np.ascontiguousarray(values)
    buffers = [None, pa.py_buffer(values.tobytes())]
    return pa.Array.from_buffers(pa.binary(values.dtype.itemsize), len(values), buffers)


def _from_binary(column: pa.ChunkedArray, dtype: np.dtype) -> np.ndarray:
    """A fixed-size binary column without nulls -> a flat array of `dtype` over its bytes."""
    chunks = []
    for chunk in column.chunks:
        width = chunk.type.byte_width
        data = chunk.buffers()[1].slice(chunk.offset * width, len(chunk) * width)
        chunks.append(np.frombuffer(data, dtype=dtype))
    return np.concatenate(chunks) if chunks else np.empty(0, dtype=dtype)


def _warn(path: Path, error: Exception) -> None:
    reason = str(error).partition("\n")[0]
    warnings.warn(
        f"{path} cannot be read ({reason}): its vectors are computed again; delete the file to silence this",
        RuntimeWarning,
        stacklevel=3,
    )
