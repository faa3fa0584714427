"""Erases a customer from a dataset directory: the one place where raw rows are removed, and only when told to."""

import polars as pl

from recsys.data.contract import Dataset, table_files
from recsys.privacy.scrub import scrub_files
from recsys.schema import CUSTOMER_ID, Table


def erase_from_dataset(dataset: Dataset, customer_id: str) -> dict[str, int]:
    """Removes his rows from every table, what lies beside them included, and the pictures that only he sent.

    The customers table comes last: while another one still names him, it can be seen that this is unfinished.

    Returns:
        File (relative to the directory) to rows removed; a picture counts 1.
    """
    removed = dict.fromkeys(_delete_pictures(dataset, customer_id), 1)
    last = tuple(table_files(dataset.path, Table.CUSTOMERS))
    removed |= scrub_files(dataset.path, customer_id, skip=last)
    for file in last:
        removed |= {str(file.relative_to(dataset.path)): n for n in scrub_files(file, customer_id).values()}
    return removed


def _delete_pictures(dataset: Dataset, customer_id: str) -> list[str]:
    """Pictures before rows: the rows are what says which pictures are his."""
    if not dataset.has(Table.MESSAGES) or "image_path" not in dataset.columns(Table.MESSAGES):
        return []
    sent = dataset.scan(Table.MESSAGES).filter(pl.col("image_path").is_not_null())
    own = sent.filter(pl.col(CUSTOMER_ID) == customer_id).select("image_path").unique().collect()["image_path"]
    others = sent.filter(pl.col(CUSTOMER_ID) != customer_id).select(pl.col("image_path").unique()).collect()
    needed = {dataset.image_file(path) for path in others["image_path"].to_list()}
    needed |= {dataset.image_file(path) for path in _catalogue_pictures(dataset)}
    deleted = []
    for path in own.sort().to_list():
        file = dataset.image_file(path)
        if file is not None and file not in needed:
            file.unlink()
            deleted.append(path)
    return deleted


def _catalogue_pictures(dataset: Dataset) -> set[str]:
    paths: set[str] = set()
    for table in (Table.PRODUCTS, Table.CONTENTS):
        for column in dataset.image_columns(table) if dataset.has(table) else []:
            values = dataset.scan(table).select(pl.col(column).drop_nulls().unique()).collect()
            paths.update(values[column].to_list())
    return paths
