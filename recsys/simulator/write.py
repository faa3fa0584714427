"""Writes a dataset directory: to a temporary sibling first, one file a table or one part a block."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from recsys.errors import DatasetError

_ROWS_A_GROUP = 262_144


@contextmanager
def new_directory(out: Path) -> Iterator[Path]:
    """Gives an empty folder beside `out` that becomes `out` when all went well and vanishes when not.

    Raises:
        DatasetError: `out` is a file, or a folder with something in it.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        remedy = "it is there already and is not an empty folder: delete it or name another --out"
        raise DatasetError(str(out), [remedy])
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        yield folder
        folder.chmod(0o755)
        folder.replace(out)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


class TableWriter:
    """Writes the tables of a bank block by block, so that no table is ever whole in memory."""

    def __init__(self, folder: Path, blocks: int) -> None:
        self._folder = folder
        self._blocks = blocks
        self.rows: dict[str, int] = {}
        """Rows written so far, by table."""

    def write(self, table: str, frame: pl.DataFrame, block: int | None = None) -> None:
        """Writes a whole table, or where there are several blocks the part of one; `table` may name a subfolder."""
        path = self._folder / f"{table}.parquet"
        if block is not None and self._blocks > 1:
            path = self._folder / table / f"part-{block:05d}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        frame.write_parquet(path, compression="zstd", compression_level=3, row_group_size=_ROWS_A_GROUP)
        self.rows[table] = self.rows.get(table, 0) + frame.height
