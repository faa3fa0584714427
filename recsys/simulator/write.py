"""Writes the tables of a dataset directory: one file a table or one part a block."""

from pathlib import Path

import polars as pl

_ROWS_A_GROUP = 262_144


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
