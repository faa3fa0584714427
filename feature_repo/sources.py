"""Feast's data sources: one parquet file a view."""

from pathlib import Path

from feast import FileSource
from feast.data_format import ParquetFormat

from recsys.features.spec import FeatureView
from recsys.features.tables import table_path
from recsys.schema import CREATED_TIMESTAMP, EVENT_TIMESTAMP


def make_source(view: FeatureView, folder: Path) -> FileSource:
    """The source of a view whose table lies in `folder`."""
    return FileSource(
        name=f"{view.name}_source",
        path=str(table_path(folder, view.name).resolve()),
        file_format=ParquetFormat(),
        timestamp_field=EVENT_TIMESTAMP,
        created_timestamp_column=CREATED_TIMESTAMP,
    )
