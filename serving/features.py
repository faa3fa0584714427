"""The only online read of a customer: all of his feature views at once, from Feast's online store."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from feature_repo.operations import feast_folder, features_folder, open_store
from feature_repo.settings import StoreSettings
from recsys.errors import FeatureError
from recsys.features.spec import AS_OF, Entity, FeatureManifest, FeatureView, feature_name
from recsys.schema import EVENT_TIMESTAMP

if TYPE_CHECKING:
    from feast import FeatureStore

    from feature_repo.one_entity import OneEntityReader
    from feature_repo.online import OnlineView

_ONLINE_FILE: Final = "online.db"
CustomerRow = dict[str, Any]
"""`<view>__<column>` to a Python value or None, and `<view>__event_timestamp` to an aware datetime or None."""
ViewRow = dict[str, Any]
"""One row of one view: customer_id, event_timestamp (an aware datetime) and the view's columns."""


class _Opened(NamedTuple):
    """The views, and the file that they read (SQLite only)."""

    file: tuple[int, int] | None
    views: dict[str, "OnlineView"]
    together: "OneEntityReader"
    """All of them at once, of one customer."""


class OnlineFeatures:
    """Reads customers' features, and writes those that change between two builds.

    A row that is older than its view's `max_age_days` reads as missing: Feast does not look at the age itself.

    Args:
        home: the state directory.
        settings: which online store; by default what the environment says.

    Raises:
        HomeError: the home has no feature store.
        FeatureError: it has no features, or the online store's file is gone.
    """

    def __init__(self, home: Path, settings: StoreSettings | None = None) -> None:
        self._home = home
        self._settings = (settings or StoreSettings()).impatient()
        self._file = feast_folder(home) / _ONLINE_FILE if self._settings.online_store == "sqlite" else None
        store = open_store(home, self._settings, online_only=True)
        self.manifest = FeatureManifest.read(features_folder(home))
        self._names = {view.name: _names(view) for view in self.manifest.views_of(Entity.CUSTOMER)}
        self._opened = self._open(self._present(), store)
        self._lock = Lock()
        self._lock_file = feast_folder(home) / "online.lock"

    @property
    def schema_hash(self) -> str:
        """What a bundle must have been trained on."""
        return self.manifest.schema_hash

    def warm(self) -> None:
        """Reads a customer who does not exist: the first read of a process opens connections and costs 100 ms."""
        self.read_customer("")

    def read_customer(self, customer_id: str, now: datetime | None = None) -> CustomerRow | None:
        """The features of a customer; None where no view has him.

        Args:
            customer_id: who.
            now: the time that ages are measured from; by default the present.
        """
        now = now or datetime.now(UTC)
        opened = self._current()
        try:
            rows = opened.together.read(customer_id)
        except Exception:
            self._forget()
            raise
        found: CustomerRow = {}
        known = False
        for view, row in zip(opened.views.values(), rows, strict=True):
            names = self._names[view.view.name]
            if row is None or _is_stale(row, view.view, now):
                found.update((full, None) for _, full in names)
            else:
                known = True
                found.update((full, row[column]) for column, full in names)
        return found if known else None

    def read_customers(self, ids: Sequence[str], now: datetime | None = None) -> list[CustomerRow | None]:
        """The features of N customers, one read a view."""
        now = now or datetime.now(UTC)
        rows: list[CustomerRow] = [{} for _ in ids]
        known = [False] * len(ids)
        for name, online in self._current().views.items():
            for place, found in enumerate(self._read(online, ids)):
                row = None if found is None or _is_stale(found, online.view, now) else found
                known[place] |= row is not None
                rows[place].update({full: row[column] if row else None for column, full in self._names[name]})
        return [row if there else None for row, there in zip(rows, known, strict=True)]

    def read_view(self, view: str, customer_id: str) -> ViewRow | None:
        """One view of a customer, whatever its age; None where it does not have him."""
        return self._online(view).read([customer_id])[0]

    def write_customer_view(self, view: str, rows: Sequence[ViewRow]) -> None:
        """Writes rows of a view; a row that is older than the stored one is left out.

        Raises:
            FeatureError: there is no such view, or a row does not fit it.
        """
        from feature_repo.online import locked

        with locked(self._lock_file, self._lock):
            self._online(view).write(rows)

    def update_customer_view(
        self, view: str, customer_id: str, change: Callable[[ViewRow | None], ViewRow | None]
    ) -> ViewRow | None:
        """Reads a row, changes it and writes it back, while no other worker of this machine does.

        Args:
            view: a customer view.
            customer_id: whose row.
            change: gets the stored row or None and returns the new one, or None to leave it as it is; see
                `recsys.features.updates`.

        Returns:
            What is stored now.

        Raises:
            FeatureError: there is no such view, or the new row does not fit it.
        """
        from feature_repo.online import locked

        online = self._online(view)
        with locked(self._lock_file, self._lock):
            old = online.read([customer_id])[0]
            new = change(old)
            if new is None or new == old:
                return old
            online.write([new])
            return new

    def _online(self, view: str) -> "OnlineView":
        views = self._current().views
        if view not in views:
            raise FeatureError(f"there is no customer view {view}; there are {', '.join(views)}")
        return views[view]

    def _read(self, online: "OnlineView", ids: Sequence[str]) -> list[ViewRow | None]:
        try:
            return online.read(ids)
        except Exception:
            self._forget()
            raise

    def _forget(self) -> None:
        """A connection may keep what was damaged and is healed: the next read opens the file anew."""
        self._opened = self._opened._replace(file=None)

    def _current(self) -> _Opened:
        """The views; those of SQLite opened anew where the file at its path is another than before.

        A connection would read the old one for ever, and would make an empty one where there is none.

        Raises:
            FeatureError: the file is gone.
        """
        file = self._present()
        if file != self._opened.file:
            self._opened = self._open(file, open_store(self._home, self._settings, online_only=True))
        return self._opened

    def _present(self) -> tuple[int, int] | None:
        """Which file SQLite's store is; None: another store."""
        found = _identity(self._file)
        if self._file is not None and found is None:
            raise FeatureError(f"{self._file} is gone: run `recsys features DATASET`, or restore it")
        return found

    def _open(self, file: tuple[int, int] | None, store: "FeatureStore") -> _Opened:
        from feature_repo.one_entity import OneEntityReader
        from feature_repo.online import OnlineView

        views = self.manifest.views_of(Entity.CUSTOMER)
        return _Opened(file, {view.name: OnlineView(store, view) for view in views}, OneEntityReader(store, views))


def _identity(path: Path | None) -> tuple[int, int] | None:
    """Which file is at a path; None: none is."""
    try:
        found = path.stat() if path is not None else None
    except FileNotFoundError:
        return None
    return None if found is None else (found.st_dev, found.st_ino)


def _names(view: FeatureView) -> list[tuple[str, str]]:
    """Column and `<view>__<column>` of all that a row of a view holds."""
    columns = [EVENT_TIMESTAMP, *(column.name for column in view.columns)]
    return [(name, feature_name(view.name, name)) for name in columns if name != AS_OF]


def _is_stale(row: ViewRow, view: FeatureView, now: datetime) -> bool:
    return view.max_age_days > 0 and now - row[EVENT_TIMESTAMP] > timedelta(days=view.max_age_days)
