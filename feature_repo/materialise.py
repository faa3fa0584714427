"""The latest row of every entity into the online store: only what changed, and gone what is gone.

Beside the store lies what was written to it, a digest a row (`<home>/feast/materialised/`): by it a new build writes
the rows that differ and erases entities that have no row any more (a customer who withdrew his consent, for example).
Feast's own `materialize` writes everything every time and erases nothing.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import polars as pl
from feast import FeatureStore
from rich.progress import Progress, TaskID

from feature_repo.online import OnlineView
from feature_repo.settings import StoreSettings
from recsys.features.spec import AS_OF, FeatureManifest, FeatureView
from recsys.features.tables import table_path
from recsys.schema import CREATED_TIMESTAMP

CHUNK_ENTITIES: Final = 2_000
_STATE_FILE: Final = "materialised.json"
_DIGESTS: Final = "materialised"
_DIGEST: Final = "digest"


@dataclass
class MaterialiseReport:
    """What was written online."""

    changed: bool
    """False: this build was in the store already, nothing was done."""
    written: dict[str, int] = field(default_factory=dict)
    """View name to rows written."""
    unchanged: dict[str, int] = field(default_factory=dict)
    """View name to rows left alone: the same were there already, or newer ones."""
    erased: dict[str, int] = field(default_factory=dict)
    """View name to entities that have no row any more."""


@dataclass(frozen=True)
class Materialiser:
    """Brings one online store up to date with the tables of one home."""

    tables: Path
    """The feature tables."""
    folder: Path
    """Where Feast's files, and what was written, are kept."""
    manifest: FeatureManifest
    store: FeatureStore
    settings: StoreSettings

    def unchanged(self) -> MaterialiseReport | None:
        """A report that says so where this build is in the store already, else None."""
        if self._read_state() != self._state():
            return None
        unchanged = {}
        for view in self.manifest.views:
            digests = self._digests(view)
            if _was_emptied(OnlineView(self.store, view), digests):
                return None
            unchanged[view.name] = digests.height
        return MaterialiseReport(changed=False, unchanged=unchanged)

    def run(self, progress: Progress | None = None) -> MaterialiseReport:
        """Writes the latest row of every entity that is not in the store yet, and erases who has none any more.

        A row that the store has newer, because an event arrived since the build, stays, unless the view's columns or
        encoders have changed: then such a row is of no use. Killed half-way, it can simply be run again.
        """
        before = self._read_state()
        if before.get("store") != self.settings.identity:
            before = {}
            shutil.rmtree(self.folder / _DIGESTS, ignore_errors=True)
        schemas = before.get("schemas", {})
        self._write_state({"store": self.settings.identity, "schemas": schemas})
        report = MaterialiseReport(changed=True)
        task = progress.add_task("writing online features", total=None) if progress else None
        for view in self.manifest.views:
            overwrite = schemas.get(view.name, "") not in ("", self._schema(view))
            self._run_view(view, report, overwrite=overwrite, bar=_Bar(progress, task, view.name))
        self._forget_other_views()
        self._write_state(self._state())
        return report

    def _run_view(self, view: FeatureView, report: MaterialiseReport, *, overwrite: bool, bar: "_Bar") -> None:
        online, key = OnlineView(self.store, view), view.entity.value
        known = self._digests(view)
        if _was_emptied(online, known):
            known = known.clear()
        latest = _latest_times(self._scan(view), key)
        bar.start(latest.height)
        digests, written = [known.clear()], 0
        for rows in self._chunks(view, latest):
            digest = rows.select(key, rows.hash_rows(seed=self._seed(view)).alias(_DIGEST))
            new = rows.join(digest.join(known, on=[key, _DIGEST], how="anti"), on=key, how="semi")
            written += online.write(new.drop(AS_OF).to_dicts(), overwrite=overwrite)
            digests.append(digest)
            bar.advance(rows.height)
        gone = known.join(latest, on=key, how="anti")[key].to_list()
        online.erase(gone)
        self._write_digests(view, pl.concat(digests))
        report.written[view.name], report.erased[view.name] = written, len(gone)
        report.unchanged[view.name] = latest.height - written

    def _chunks(self, view: FeatureView, latest: pl.DataFrame) -> Iterator[pl.DataFrame]:
        """The latest rows of a bounded number of entities at a time; tables are sorted by entity, so reads are too."""
        key = view.entity.value
        for part in latest.iter_slices(CHUNK_ENTITIES):
            near = self._scan(view).filter(pl.col(key).is_between(pl.lit(part[key][0]), pl.lit(part[key][-1])))
            yield near.join(part.lazy(), on=[key, AS_OF], how="semi").drop(CREATED_TIMESTAMP).collect()

    def _scan(self, view: FeatureView) -> pl.LazyFrame:
        return pl.scan_parquet(table_path(self.tables, view.name))

    def _schema(self, view: FeatureView) -> str:
        """What a view's rows mean; rows of another meaning are of no use."""
        encoders = f"{self.manifest.text_encoder}|{self.manifest.image_encoder}|{self.manifest.history_length}"
        return hashlib.sha256(f"{encoders}|{view.model_dump_json()}".encode()).hexdigest()[:16]

    def _seed(self, view: FeatureView) -> int:
        return int(self._schema(view)[:8], 16)

    def _state(self) -> dict[str, Any]:
        """What is true when all is written. Feast's sources are absolute paths: a home that moved is another."""
        schemas = {view.name: self._schema(view) for view in self.manifest.views}
        where = {"store": self.settings.identity, "tables": str(self.tables.resolve())}
        return {**where, "fingerprint": self.manifest.fingerprint, "schemas": schemas}

    def _read_state(self) -> dict[str, Any]:
        path = self.folder / _STATE_FILE
        return dict(json.loads(path.read_text())) if path.exists() else {}

    def _write_state(self, state: dict[str, Any]) -> None:
        unfinished = self.folder / f".{_STATE_FILE}"
        unfinished.write_text(json.dumps(state, indent=2))
        unfinished.replace(self.folder / _STATE_FILE)

    def _digests(self, view: FeatureView) -> pl.DataFrame:
        """Entity key and digest of every row that was written of a view."""
        path = table_path(self.folder / _DIGESTS, view.name)
        if path.exists():
            return pl.read_parquet(path)
        return pl.DataFrame(schema={view.entity.value: pl.String, _DIGEST: pl.UInt64})

    def _write_digests(self, view: FeatureView, digests: pl.DataFrame) -> None:
        path = table_path(self.folder / _DIGESTS, view.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".unfinished")
        digests.write_parquet(unfinished)
        unfinished.replace(path)

    def _forget_other_views(self) -> None:
        names = {view.name for view in self.manifest.views}
        for path in (self.folder / _DIGESTS).glob("*.parquet"):
            if path.stem not in names:
                path.unlink()


@dataclass
class _Bar:
    """A progress bar that may be absent."""

    progress: Progress | None
    task: TaskID | None
    name: str

    def start(self, total: int) -> None:
        if self.progress and self.task is not None:
            self.progress.reset(self.task, total=total, description=f"writing {self.name} online")

    def advance(self, rows: int) -> None:
        if self.progress and self.task is not None:
            self.progress.advance(self.task, rows)


def _latest_times(table: pl.LazyFrame, key: str) -> pl.DataFrame:
    """Entity key and `as_of` of the newest row of every entity, sorted by key."""
    return table.group_by(key).agg(pl.col(AS_OF).max()).sort(key).collect(engine="streaming")


def _was_emptied(online: OnlineView, digests: pl.DataFrame) -> bool:
    """Whether rows that were written are not there any more: somebody deleted the database or flushed Redis."""
    return digests.height > 0 and online.read(digests.to_series(0).head(1).to_list()) == [None]
