"""The state directory: where features, models and decisions of one dataset live. Deleting it is a clean start."""

import os
import secrets
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import yaml

from recsys.config import BaseConfig
from recsys.errors import HomeError

_FILE = "home.yaml"
_KEY_FILE = "secret"
_SALT_FILE = "campaign_salt"


class HomeRecord(BaseConfig):
    """Which dataset a home belongs to."""

    dataset: str
    """Name, as in dataset.yaml."""
    path: str
    """Directory of the dataset."""
    created_at: datetime
    features_of: str = ""
    """Fingerprint of the dataset when its features were built; empty before that."""


class Home:
    """A state directory."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()

    @property
    def features(self) -> Path:
        """Feature tables and their manifest."""
        return self.path / "features"

    @property
    def encodings(self) -> Path:
        """The cache of text and image embeddings."""
        return self.path / "encodings"

    @property
    def store(self) -> Path:
        """The SQL database of decisions, events and facts."""
        return self.path / "store.db"

    @property
    def privacy(self) -> Path:
        """Who was erased (as keyed hashes), and the certificates."""
        return self.path / "privacy"

    def record(self) -> HomeRecord | None:
        """The dataset that this home belongs to, or None for a new home."""
        file = self.path / _FILE
        return HomeRecord.from_yaml(file) if file.exists() else None

    def claim(self, name: str, dataset: Path) -> None:
        """Makes the home the given dataset's.

        Raises:
            HomeError: it belongs to another dataset, or cannot be written.
        """
        self.require_owner(name)
        record = self.record()
        if record is not None and record.path == str(dataset.resolve()):
            return
        self._make()
        created, built = (record.created_at, record.features_of) if record is not None else (datetime.now(UTC), "")
        fresh = HomeRecord(dataset=name, path=str(dataset.resolve()), created_at=created, features_of=built)
        self._write(fresh)

    def require_owner(self, name: str) -> None:
        """Refuses a dataset that the home does not belong to; a new home may become anybody's.

        Raises:
            HomeError: it belongs to another dataset.
        """
        record = self.record()
        if record is not None and record.dataset != name:
            raise HomeError(
                f"the home {self.path} belongs to dataset {record.dataset} ({record.path}), not to {name}: "
                f"name another one, `recsys --home DIR ...`, or delete {self.path}"
            )

    def remember_features(self, fingerprint: str) -> None:
        """Notes which state of the dataset the feature tables hold."""
        record = self.record()
        if record is not None and record.features_of != fingerprint:
            self._write(record.model_copy(update={"features_of": fingerprint}))

    def require_current_features(self, fingerprint: str) -> None:
        """Refuses to mix a dataset with features of another state of it.

        Raises:
            HomeError: the dataset changed since its features were built.
        """
        record = self.record()
        if record is not None and record.features_of != fingerprint:
            raise HomeError(
                f"{record.path} changed since its features were built in {self.path}: "
                "run `recsys features DATASET` or `recsys train DATASET` first"
            )

    def _make(self) -> None:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise HomeError(
                f"the home {self.path} cannot be made ({error.strerror}): name another one, `recsys --home DIR ...`"
            ) from error

    def _write(self, record: HomeRecord) -> None:
        temporary = self.path / f"{_FILE}.partial"
        temporary.write_text(yaml.safe_dump(record.model_dump(mode="json")))
        temporary.replace(self.path / _FILE)

    def dataset_path(self) -> Path:
        """The directory of the home's dataset.

        Raises:
            HomeError: the home is new.
        """
        record = self.record()
        if record is None:
            raise HomeError(f"the home {self.path} is empty: run `recsys train DATASET` first, or name another home")
        return Path(record.path)

    def secret(self) -> str:
        """The signing key of the local server, made at first use, readable by its owner only."""
        return self._kept_secret(_KEY_FILE)

    def campaign_salt(self) -> str:
        """Decides who the holdouts of the studio's campaigns are: made once, the same in all of them, kept secret."""
        return self._kept_secret(_SALT_FILE)

    def _kept_secret(self, name: str) -> str:
        file = self.path / name
        if not file.exists():
            self._make()
            with suppress(FileExistsError):  # another process was first
                descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                with os.fdopen(descriptor, "w") as handle:
                    handle.write(secrets.token_urlsafe(48))
        return file.read_text()


def read_ids(path: Path) -> list[str]:
    """Ids of a text file, one a line, or of a parquet file's only column of ids; one that comes twice counts once.

    Raises:
        HomeError: the file cannot be read or names nobody.
    """
    if path.suffix == ".parquet":
        return _parquet_ids(path)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise HomeError(f"{path}: cannot be read as a text file of ids, one a line: {error}") from error
    ids = list(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if not ids:
        raise HomeError(f"{path}: holds no id; write one id a line")
    return ids


def _parquet_ids(path: Path) -> list[str]:
    from polars import String, read_parquet
    from polars.exceptions import PolarsError

    try:
        frame = read_parquet(path)
    except (OSError, PolarsError) as error:
        raise HomeError(f"{path}: cannot be read as a parquet file of ids: {error}") from error
    names = [name for name in frame.columns if name.endswith("_id")]
    if len(names) != 1:
        raise HomeError(f"{path}: needs one column of ids, such as product_id; it has {', '.join(names) or 'none'}")
    ids = frame[names[0]].drop_nulls().cast(String).unique(maintain_order=True).to_list()
    if not ids:
        raise HomeError(f"{path}: holds no id")
    return ids
