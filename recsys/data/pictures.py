"""Whether the pictures that a dataset names are there, inside it, and pictures."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Final

import polars as pl
from PIL import Image, UnidentifiedImageError
from rich.progress import Progress

from recsys.data.contract import DatasetConfig
from recsys.data.table_view import TableView, first_rows
from recsys.schema import FeatureKind, Table

CHUNK: Final = 1024
OUTSIDE: Final = "names a picture outside the dataset directory"
MISSING: Final = "names a picture that is missing"
NO_IMAGE: Final = "names a file that is not an image"


def check_pictures(
    path: Path, views: dict[Table, TableView], config: DatasetConfig, progress: Progress | None = None
) -> list[str]:
    """Findings for every image column: paths outside `path`, missing files, files that Pillow cannot identify."""
    columns = [(view, name) for view in views.values() for name in image_columns(view, config)]
    named = [(view, name, _distinct(view, name)) for view, name in columns]
    problems = _find_problems(path, sorted({value for _, _, paths in named for value in paths}), progress)
    findings = []
    for view, name, paths in named:
        for rule in (OUTSIDE, MISSING, NO_IMAGE):
            if bad := [value for value in paths if problems.get(value) == rule]:
                broken = view.frame.filter(pl.col(name).is_in(bad))
                count = broken.select(pl.len()).collect(engine="streaming").item()
                findings.append(view.describe(rule, name, count, first_rows(broken, view.evidence([name]))))
    return findings


def image_columns(view: TableView, config: DatasetConfig) -> Iterator[str]:
    """The columns of `view` that name pictures."""
    declared = config.features.get(view.table, {})
    yield from (name for name in view.columns if name == "image_path" or declared.get(name) is FeatureKind.IMAGE)


def picture_problem(root: Path, name: str) -> str | None:
    """The rule that the picture `name` breaks; `root` is the resolved dataset directory.

    The header is checked (Pillow `verify`), not every pixel: a picture that breaks off later counts as missing where
    it is encoded.
    """
    pure = PurePosixPath(name)
    if pure.is_absolute() or ".." in pure.parts or "\\" in name:
        return OUTSIDE
    try:
        file = (root / name).resolve()
        if not file.is_relative_to(root):
            return OUTSIDE
        if not file.is_file():
            return NO_IMAGE if file.exists() else MISSING
        with Image.open(file) as image:
            image.verify()
    except UnidentifiedImageError:
        return NO_IMAGE
    except (OSError, ValueError, RuntimeError, SyntaxError, Image.DecompressionBombError):
        # Pillow's decoders raise all of these on damaged headers; resolve() on loops, NULs and names too long
        return NO_IMAGE
    return None


def _find_problems(path: Path, names: list[str], progress: Progress | None) -> dict[str, str]:
    """Path to broken rule. Reading headers waits for the disk, so that threads help."""
    root, problems = path.resolve(), {}
    task = progress.add_task("checking pictures", total=len(names)) if progress else None
    with ThreadPoolExecutor(max_workers=min(16, 4 * (os.cpu_count() or 1))) as pool:
        for start in range(0, len(names), CHUNK):
            chunk = names[start : start + CHUNK]
            found = pool.map(lambda name: picture_problem(root, name), chunk)
            problems.update({name: problem for name, problem in zip(chunk, found, strict=True) if problem})
            if progress and task is not None:
                progress.advance(task, len(chunk))
    return problems


def _distinct(view: TableView, name: str) -> list[str]:
    """The distinct paths of a column, empty text among them (a null is a missing modality, an empty path is not)."""
    values = view.frame.select(pl.col(name).drop_nulls().unique()).collect(engine="streaming")
    return list(values.to_series())
