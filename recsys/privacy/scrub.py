"""Takes a customer out of files: rows out of tables, lines out of logs; each file is replaced whole or not at all.

A file that does not hold him is not touched. Killed at any moment, it can be run again.
"""

import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from recsys.privacy.search import Needle, walk
from recsys.schema import CUSTOMER_ID

LINE_FILES: Final = (".csv", ".damaged", ".jsonl", ".log", ".ndjson", ".tsv", ".txt")
"""Files of one record a line; `.damaged` is what the decision log could not read of a journal."""
_UNFINISHED: Final = ".erasing"


def scrub_files(root: Path, customer_id: str, skip: tuple[Path, ...] = ()) -> dict[str, int]:
    """Takes a customer out of every parquet table with a customer_id and every file of lines under `root`.

    Args:
        root: a directory, or one file.
        customer_id: who.
        skip: directories not to enter, and files to leave alone.

    Returns:
        File (relative to `root`) to rows or lines removed, for those that held him.
    """
    needle = Needle(customer_id)
    removed: dict[str, int] = {}
    for file in list(walk(root, skip)):
        if file.suffix == _UNFINISHED:
            file.unlink()
            continue
        count = 0
        if file.suffix == ".parquet":
            count = drop_rows(file, lambda batch: pc.equal(batch[CUSTOMER_ID].cast(pa.string()), customer_id))
        elif file.suffix in LINE_FILES:
            count = drop_lines(file, needle.is_in)
        if count:
            removed[str(file.relative_to(root))] = count
    return removed


def drop_rows(file: Path, unwanted: Callable[[pa.RecordBatch], pa.Array]) -> int:
    """Rewrites a parquet table without some rows.

    Args:
        file: a table; one without a customer_id, and one that no reader understands, is left alone.
        unwanted: says which rows of a batch go; null means that the row stays.

    Returns:
        How many went.
    """
    try:
        schema = pq.read_schema(file)
    except (pa.ArrowInvalid, OSError):
        return 0
    if CUSTOMER_ID not in schema.names or not _count(file, unwanted):
        return 0
    unfinished = _beside(file)
    removed = 0
    try:
        with pq.ParquetFile(file) as source, pq.ParquetWriter(unfinished, schema, compression="zstd") as writer:
            for batch in source.iter_batches():
                gone = pc.fill_null(unwanted(batch), False)
                kept = batch.filter(pc.invert(gone))
                removed += batch.num_rows - kept.num_rows
                writer.write_batch(kept)
        _replace(unfinished, file)
    finally:
        unfinished.unlink(missing_ok=True)
    return removed


def drop_lines(file: Path, unwanted: Callable[[bytes], bool]) -> int:
    """Rewrites a file of lines without some of them; returns how many went."""
    with file.open("rb") as stream:
        removed = sum(1 for line in stream if unwanted(line))
    if not removed:
        return 0
    unfinished = _beside(file)
    try:
        with file.open("rb") as stream, unfinished.open("wb") as target:
            target.writelines(line for line in stream if not unwanted(line))
        _replace(unfinished, file)
    finally:
        unfinished.unlink(missing_ok=True)
    return removed


def _count(file: Path, unwanted: Callable[[pa.RecordBatch], pa.Array]) -> int:
    """How many rows would go, from the customer_id column alone."""
    with pq.ParquetFile(file) as source:
        batches = source.iter_batches(columns=[CUSTOMER_ID])
        return sum(pc.sum(pc.fill_null(unwanted(batch), False)).as_py() or 0 for batch in batches)


def _beside(file: Path) -> Path:
    return file.with_name(f".{file.name}.{uuid.uuid4().hex[:8]}{_UNFINISHED}")


def _replace(unfinished: Path, file: Path) -> None:
    """Durably: what was erased does not come back with a power cut."""
    with unfinished.open("rb") as handle:
        os.fsync(handle.fileno())
    unfinished.chmod(file.stat().st_mode & 0o777)
    unfinished.replace(file)
