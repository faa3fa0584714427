"""MovieLens-100K as GroupLens distributes it, with posters and plot texts where they lie beside it, into the contract.

Source: https://grouplens.org/datasets/movielens/100k/ (Harper and Konstan 2015, doi 10.1145/2827872); the formats are
those of its README. Conventions:

- `u<user id>`, `m<movie id>`; every rating is one `view` event whose `value` is the rating.
- Events are numbered `e0000000`... by time, and ratings of one second by their line in u.data. That file is in random
  order, so tied ratings stand in a random but fixed order; an order by movie id would favour old and popular films.
- Nothing says when customers and films came into being: their rows become true one second before the first rating.
- `release_year` is the year in the title, `Toy Story (1995)`; the release date, often that of a later American
  release, stands in where the title has none. The genre `unknown` is no genre.
- The split is leave_last_out: each customer's last rating is for test, the one before for validation. Most people rate
  their films in one sitting, so that a split in time would leave few customers with a past.
"""

import csv
import logging
import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import polars as pl
import yaml
from rich.progress import Progress

from recsys.data.columns import TIME_DTYPE
from recsys.data.contract import CONFIG_FILE, Dataset
from recsys.data.output import new_directory
from recsys.data.pictures import picture_problem
from recsys.errors import RecsysError
from recsys.schema import EventType, FeatureKind, PolicyName, Table

LATIN: Final = "latin-1"
ITEM_FACTS: Final = 5
"""Fields of u.item before the genre flags: id, title, release date, video release date, address."""
RATINGS: Final = range(1, 6)
TIMES: Final = range(2**32)
TITLE_YEAR: Final = re.compile(r"\((\d{4})\)\s*$")
RELEASE_DATE: Final = re.compile(r"\d{1,2}-[A-Z][a-z]{2}-(\d{4})")
NO_GENRE: Final = "unknown"
FEATURES: Final = {
    Table.CUSTOMERS: {
        "age": FeatureKind.NUMERIC,
        "gender": FeatureKind.CATEGORICAL,
        "occupation": FeatureKind.CATEGORICAL,
        "zip_code": FeatureKind.CATEGORICAL,
    },
    Table.PRODUCTS: {
        "genres": FeatureKind.CATEGORICAL_LIST,
        "release_year": FeatureKind.NUMERIC,
        "name": FeatureKind.TEXT,
        "description": FeatureKind.TEXT,
        "image_path": FeatureKind.IMAGE,
    },
}

logger = logging.getLogger(__name__)


class _Line(NamedTuple):
    """One line of a source file, split into fields."""

    file: Path
    number: int
    fields: list[str]

    def error(self, rule: str) -> RecsysError:
        return RecsysError(f"{self.file}, line {self.number}: {rule} (is {'|'.join(self.fields)[:80]!r})")

    def integer(self, position: int, name: str) -> int:
        """The whole number in a field, refused where it is none."""
        text = self.fields[position]
        if not (text.isascii() and text.isdigit()):
            raise self.error(f"{name} must be a whole number, is {text!r}")
        return int(text)


def import_movielens(source: Path, out: Path, progress: Progress | None = None) -> Dataset:
    """Writes the dataset directory `out` from the directory `source`.

    Args:
        source: holds u.data, u.item, u.user, u.genre; `posters/<movie id>.jpg` and `overviews.csv` are optional.
        out: must not exist, or be empty; it appears complete or not at all.
        progress: shows how far it is.

    Raises:
        RecsysError: a file is missing, a line is malformed (file, line, rule), or `out` is taken.
    """
    customers = _read_customers(source)
    genres = _read_genres(source)
    products = _read_products(source, genres)
    events = _read_events(source, set(customers["customer_id"]), set(products["product_id"]))
    first, end = (events["event_timestamp"].to_numpy()[[0, -1]]).tolist()
    with new_directory(out) as folder:
        posters = _copy_posters(source, folder, products["product_id"].to_list(), progress)
        images = pl.Series("image_path", posters, dtype=pl.String)
        began = pl.lit(first - 1).alias("event_timestamp")
        _write(customers.select("customer_id", began, pl.exclude("customer_id")), Table.CUSTOMERS, folder)
        _write(products.select("product_id", began, pl.exclude("product_id"), images), Table.PRODUCTS, folder)
        _write(events, Table.EVENTS, folder)
        (folder / CONFIG_FILE).write_text(_config(datetime.fromtimestamp(end, UTC)), encoding="utf-8")
    return Dataset.open(out)


def _read_customers(source: Path) -> pl.DataFrame:
    rows: dict[str, dict[str, Any]] = {}
    for line in _lines(source / "u.user", "|", 5):
        key = f"u{line.integer(0, 'user id')}"
        if key in rows:
            raise line.error("the user id is repeated")
        _, _, gender, occupation, zip_code = line.fields
        age = float(line.integer(1, "age"))
        rows[key] = {"customer_id": key, "age": age, "gender": gender, "occupation": occupation, "zip_code": zip_code}
    return pl.DataFrame(list(rows.values()))


def _read_genres(source: Path) -> list[str]:
    lines = sorted(_lines(source / "u.genre", "|", 2), key=lambda line: line.integer(1, "genre number"))
    for place, line in enumerate(lines):
        if line.integer(1, "genre number") != place:
            raise line.error(f"genre numbers must run from 0 without a gap; {place} is missing or repeated")
    return [line.fields[0] for line in lines]


def _read_products(source: Path, genres: list[str]) -> pl.DataFrame:
    overviews = _read_overviews(source)
    rows: dict[str, dict[str, Any]] = {}
    for line in _lines(source / "u.item", "|", ITEM_FACTS + len(genres)):
        movie = line.integer(0, "movie id")
        if f"m{movie}" in rows:
            raise line.error("the movie id is repeated")
        flags = line.fields[ITEM_FACTS:]
        if set(flags) - {"0", "1"}:
            raise line.error("genre flags must be 0 or 1")
        if not line.fields[1].strip():
            raise line.error("the title is empty")
        rows[f"m{movie}"] = {
            "product_id": f"m{movie}",
            "name": line.fields[1],
            "description": overviews.get(movie),
            "genres": [genre for genre, flag in zip(genres, flags, strict=True) if flag == "1" and genre != NO_GENRE],
            "release_year": _release_year(line),
        }
    schema = {"product_id": pl.String, "name": pl.String, "description": pl.String}
    return pl.DataFrame(list(rows.values()), {**schema, "genres": pl.List(pl.String), "release_year": pl.Float64})


def _release_year(line: _Line) -> float | None:
    text = line.fields[2].strip()
    released = RELEASE_DATE.fullmatch(text)
    if text and not released:
        raise line.error(f"the release date must look like 01-Jan-1995, is {text!r}")
    found = TITLE_YEAR.search(line.fields[1]) or released
    return float(found[1]) if found else None


def _read_events(source: Path, customers: set[str], products: set[str]) -> pl.DataFrame:
    rows = []
    for line in _lines(source / "u.data", "\t", 4):
        customer, product = f"u{line.integer(0, 'user id')}", f"m{line.integer(1, 'movie id')}"
        rating, time = line.integer(2, "rating"), line.integer(3, "time")
        if customer not in customers or product not in products:
            unknown = "the user is not in u.user" if customer not in customers else "the movie is not in u.item"
            raise line.error(unknown)
        if rating not in RATINGS:
            raise line.error(f"the rating must lie from 1 to 5, is {rating}")
        if time not in TIMES:
            raise line.error("the time must be seconds since 1970")
        rows.append((customer, time, product, float(rating)))
    columns = {"customer_id": pl.String, "event_timestamp": pl.Int64, "product_id": pl.String, "value": pl.Float64}
    ordered = pl.DataFrame(rows, columns, orient="row").sort("event_timestamp", maintain_order=True)
    number = pl.int_range(pl.len()).cast(pl.String).str.zfill(7)
    event_type = pl.lit(EventType.VIEW.value).alias("event_type")
    names = ("customer_id", "event_timestamp", event_type, "product_id", "value")
    return ordered.select(("e" + number).alias("event_id"), *names)


def _read_overviews(source: Path) -> dict[int, str]:
    """Plot text by movie id; empty where there is no overviews.csv."""
    file = source / "overviews.csv"
    if not file.exists():
        return {}
    overviews = {}
    try:
        with file.open(encoding="utf-8", newline="") as stream:
            reader = csv.DictReader(stream, strict=True)
            if missing := {"movie_id", "overview"} - set(reader.fieldnames or ()):
                raise RecsysError(f"{file}, line 1: column {', '.join(sorted(missing))} is missing")
            for row in reader:
                line = _Line(file, reader.line_num, [row["movie_id"] or "", row["overview"] or ""])
                if line.fields[1].strip():
                    overviews[line.integer(0, "movie_id")] = line.fields[1]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise RecsysError(f"{file}: cannot be read as a UTF-8 CSV file: {error}") from error
    return overviews


def _copy_posters(source: Path, folder: Path, products: list[str], progress: Progress | None) -> list[str | None]:
    """Copies `posters/<movie id>.jpg` to `images/m<movie id>.jpg`; returns each product's image path."""
    posters, paths = (source / "posters").resolve(), []
    (folder / "images").mkdir()
    task = progress.add_task("copying posters", total=len(products)) if progress else None
    for product in products:
        name = f"{product[1:]}.jpg"
        there = (posters / name).is_file()
        problem = picture_problem(posters, name) if there else None
        if problem:
            logger.warning("%s %s: left out, the film has no picture", posters / name, problem)
        if there and not problem:
            shutil.copyfile(posters / name, folder / "images" / f"{product}.jpg")
        paths.append(f"images/{product}.jpg" if there and not problem else None)
        if progress and task is not None:
            progress.advance(task)
    return paths


def _write(frame: pl.DataFrame, table: Table, folder: Path) -> None:
    time = (pl.col("event_timestamp").cast(pl.Int64) * 1_000_000).cast(TIME_DTYPE)
    frame.with_columns(time).write_parquet(folder / f"{table}.parquet")


def _config(end: datetime) -> str:
    values = {
        "name": "ml-100k",
        "description": "MovieLens-100K (GroupLens), every rating a positive",
        "policy": PolicyName.NONE.value,
        "repeatable": False,
        "end": end.isoformat(),
        "event_weights": {EventType.VIEW.value: 1.0},
        "features": {
            str(table): {name: str(kind) for name, kind in kinds.items()} for table, kinds in FEATURES.items()
        },
        "split": {"kind": "leave_last_out"},
    }
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def _lines(file: Path, separator: str, fields: int) -> Iterator[_Line]:
    """The lines of a file, split; empty ones are passed over."""
    try:
        lines = file.read_text(encoding=LATIN).split("\n")
    except OSError as error:
        raise RecsysError(f"{file}: cannot be read ({error.strerror}); MovieLens-100K has it") from error
    if not any(line.strip() for line in lines):
        raise RecsysError(f"{file}: has no line")
    for number, text in enumerate(lines, start=1):
        line = _Line(file, number, text.rstrip("\r").split(separator))
        if not text.strip():
            continue
        if len(line.fields) != fields:
            raise line.error(f"must have {fields} fields, has {len(line.fields)}")
        yield line
