"""The last champion that served, kept in the home: a service starts on it where the registry or its files are gone."""

import hashlib
import logging
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Final
from uuid import uuid4

import orjson

from recsys.bundle import SELECTION
from recsys.errors import ModelError
from serving.loading import Champion

LOGGER = logging.getLogger("recsys.serving")
FOLDER: Final = "champion"
_POINTER: Final = "current.json"
_BLOCK: Final = 1 << 20


class KeptChampion:
    """A copy of a bundle with the digest of its bytes.

    Args:
        home: the state directory.
    """

    def __init__(self, home: Path) -> None:
        self._folder = home / FOLDER

    def keep(self, champion: Champion) -> None:
        """Copies a bundle that was loaded and is good; where that fails, what was kept before stays.

        Several workers may do it at once: each makes its own copy, and the pointer names one of them.
        """
        try:
            if self._pointer().get("version") == champion.version:
                return
            copy = self._folder / f"{champion.version}-{uuid4().hex[:8]}"
            shutil.copytree(champion.folder, copy, ignore=shutil.ignore_patterns(SELECTION))
            pointer = {"version": champion.version, "folder": copy.name, "sha256": digest(copy)}
            temporary = copy.with_suffix(".partial")
            temporary.write_bytes(orjson.dumps(pointer))
            temporary.replace(self._folder / _POINTER)
            for old in self._folder.glob("*-*"):
                if old.name != copy.name:
                    shutil.rmtree(old, ignore_errors=True)
        except OSError as error:  # the service runs; only the next start has no copy to fall back on
            LOGGER.warning("champion %s could not be kept: %s", champion.version, error.strerror)

    def find(self) -> Champion:
        """The copy, verified.

        Raises:
            ModelError: there is none, or it is not as it was written.
        """
        pointer = self._pointer()
        folder = self._folder / str(pointer.get("folder", ""))
        if not pointer or not folder.is_dir():
            raise ModelError(f"{self._folder} keeps no champion")
        if digest(folder) != pointer.get("sha256"):
            raise ModelError(f"the champion that {self._folder} keeps is not as it was written")
        return Champion(str(pointer["version"]), folder)

    def _pointer(self) -> dict[str, str]:
        with suppress(OSError, orjson.JSONDecodeError):
            found = orjson.loads((self._folder / _POINTER).read_bytes())
            return found if isinstance(found, dict) else {}
        return {}


def digest(folder: Path) -> str:
    """sha256 over the names and bytes of all files of a folder."""
    found = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        found.update(f"{file.relative_to(folder)}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as stream:
            while block := stream.read(_BLOCK):
                found.update(block)
    return found.hexdigest()
