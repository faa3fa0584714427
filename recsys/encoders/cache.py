"""The embedding cache: a text or picture is encoded once ever per encoder, and found by the hash of its content.

Letters in shapes: N inputs, U distinct inputs that are not missing, D dimensions. Texts and pictures are never stored,
only their hashes and vectors.
"""

import hashlib
import math
import os
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
from rich.console import Console
from rich.progress import Progress

from recsys.encoders.image import ImageEncoder
from recsys.encoders.pictures import decode_picture, read_picture_file
from recsys.encoders.text import TextEncoder
from recsys.encoders.vector_store import KEY_BYTES, PartWriter, VectorStore, forget_vectors, stored_precision
from recsys.errors import ModelError

if TYPE_CHECKING:
    from PIL.Image import Image

_TEXTS_A_STEP = 512
_PICTURES_A_STEP = 64
_MAX_THREADS = 4


class Encoded(NamedTuple):
    """Vectors of the distinct inputs, and which of them each input has."""

    vectors: np.ndarray
    """[U, D] float32, each row of length 1."""
    index: np.ndarray  # type: ignore[assignment]  # shadows tuple.index, which nobody asks of this
    """[N] int64: the row of each input in `vectors`, -1 where it is missing."""
    missing: int
    """How many inputs are missing: None, an empty text, an unreadable picture."""


class _Encoder(Protocol):
    """What text and image encoders share."""

    identity: str
    dim: int


class _Run(NamedTuple):
    """How distinct inputs that are not cached become vectors."""

    encoder: _Encoder
    encode: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
    """[n] rows of the distinct inputs -> the rows that could be encoded, and their vectors."""
    step: int
    """Inputs per call of `encode`."""
    title: str


class EncodingCache:
    """Encodes what it has not met before, and remembers it under `folder/<identity of the encoder>/`.

    Several processes may share a folder; one object is for one thread. Memory beyond the answer and the hashes is
    bounded (a part of the cache and a step of encoding); a caller whose answer would not fit calls it slice by slice.

    Args:
        folder: made when there is something to store.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stores: dict[str, VectorStore] = {}
        self._used: list[np.ndarray] = []

    def used_keys(self) -> np.ndarray:
        """The distinct keys that were asked for so far, sorted: what of the cache is still of use."""
        return np.unique(np.concatenate([np.empty(0, dtype=f"S{KEY_BYTES}"), *self._used]))

    def texts(self, texts: Sequence[str | None], encoder: TextEncoder, progress: Progress | None = None) -> Encoded:
        """Vectors of texts, compared after Unicode normalisation (NFC) and trimming.

        Args:
            texts: [N]; None and blank texts are missing.
            encoder: what encodes those that are new.
            progress: shows how far it is; by default a bar of its own on stderr.

        Raises:
            ModelError: the encoder gave a vector that is not finite.
        """
        normalised = [_normalised(text) for text in texts]
        keys = [text_key(text) for text in normalised]
        index, first = _distinct(keys)
        distinct = [normalised[row] for row in first]

        def encode(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            return rows, encoder.encode([distinct[row] for row in rows])

        with _bars(progress) as bars:
            run = _Run(encoder, encode, _TEXTS_A_STEP, "Encoding texts")
            return self._resolve([keys[row] for row in first], index, run, bars)

    def images(self, paths: Sequence[Path | None], encoder: ImageEncoder, progress: Progress | None = None) -> Encoded:
        """Vectors of picture files, compared by their bytes.

        Args:
            paths: [N]; None, and files that are missing, corrupt, too large or no pictures, are missing.
            encoder: what encodes those that are new.
            progress: shows how far it is; by default a bar of its own on stderr.

        Raises:
            ModelError: the encoder gave a vector that is not finite.
        """
        with _bars(progress) as bars, ThreadPoolExecutor(min(os.cpu_count() or 1, _MAX_THREADS)) as pool:
            keys = _file_keys(paths, pool, bars)
            index, first = _distinct(keys)
            sources = [(paths[row], keys[row]) for row in first]

            def encode(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
                pictures = list(pool.map(_load_picture, [sources[row] for row in rows]))
                readable = [place for place, picture in enumerate(pictures) if picture is not None]
                return rows[readable], encoder.encode([picture for picture in pictures if picture is not None])

            run = _Run(encoder, encode, _PICTURES_A_STEP, "Encoding pictures")
            return self._resolve([key for _, key in sources], index, run, bars)

    def _resolve(self, keys: Sequence[bytes | None], index: np.ndarray, run: _Run, bars: Progress) -> Encoded:
        """Reads what is cached, encodes and stores the rest. `keys`: [U]; `index`: [N] rows of `keys`, -1 missing."""
        store = self._stores.setdefault(run.encoder.identity, self._store(run.encoder))
        content_keys = np.array(keys, dtype=f"S{KEY_BYTES}")
        self._used.append(content_keys)
        vectors = np.zeros((len(keys), run.encoder.dim), dtype=np.float32)
        found = store.read(content_keys, vectors)
        todo = np.flatnonzero(~found)
        task = bars.add_task(run.title, total=len(todo), visible=len(todo) > 0)
        with PartWriter(store) as writer:
            for start in range(0, len(todo), run.step):
                rows, fresh = run.encode(todo[start : start + run.step])
                if not np.isfinite(fresh).all():
                    raise ModelError(f"{run.encoder.identity} gave vectors that are not finite: try precision float32")
                writer.add(content_keys[rows], fresh)
                vectors[rows] = stored_precision(fresh)
                found[rows] = True
                bars.update(task, completed=min(start + run.step, len(todo)))
        return _without_missing(vectors, found, index)

    def _store(self, encoder: _Encoder) -> VectorStore:
        return VectorStore(self._folder / encoder.identity, encoder.dim)


def content_key(content: bytes) -> bytes:
    """The key of a content: 16 bytes of BLAKE2b, so that a billion contents do not meet by chance."""
    return hashlib.blake2b(content, digest_size=KEY_BYTES).digest()


def text_key(text: str | None) -> bytes | None:
    """The key of a text; None where it is missing or blank."""
    normalised = _normalised(text)
    return content_key(normalised.encode("utf-8", "surrogatepass")) if normalised else None


def picture_key(path: Path) -> bytes | None:
    """The key of a picture file; None where it cannot be read."""
    return _file_key(path)


def forget_encodings(
    folder: Path, unwanted: Callable[[np.ndarray], np.ndarray], before: float = math.inf, *, dry_run: bool = False
) -> int:
    """Takes vectors out of the caches of all encoders under `folder`; whoever needs one again computes it again.

    Args:
        folder: of the cache.
        unwanted: [n] keys -> [n] bool, which of them go.
        before: only what was written before this time, in seconds since 1970.
        dry_run: only counts.

    Returns:
        How many vectors went.
    """
    encoders = [path for path in folder.glob("*") if path.is_dir()]
    return sum(forget_vectors(path, unwanted, before, dry_run=dry_run) for path in encoders)


def _normalised(text: str | None) -> str:
    return unicodedata.normalize("NFC", text).strip() if text else ""


def _distinct(keys: Sequence[bytes | None]) -> tuple[np.ndarray, list[int]]:
    """Numbers the distinct keys in order of appearance.

    Returns:
        [N] int64 number of each key (-1 for None), and [U] where each distinct key stands first.
    """
    index = np.full(len(keys), -1, dtype=np.int64)
    numbers: dict[bytes, int] = {}
    first: list[int] = []
    for row, key in enumerate(keys):
        if key is None:
            continue
        index[row] = numbers.setdefault(key, len(first))
        if index[row] == len(first):
            first.append(row)
    return index, first


def _without_missing(vectors: np.ndarray, found: np.ndarray, index: np.ndarray) -> Encoded:
    """Drops the rows that could not be encoded: [U, D], [U] bool, [N] -> the answer."""
    if not found.all():
        # The appended -1 is where an index of -1 lands.
        renumbered = np.append(np.where(found, np.cumsum(found) - 1, -1), -1)
        vectors, index = vectors[found], renumbered[index]
    return Encoded(vectors, index, int((index < 0).sum()))


def _file_keys(paths: Sequence[Path | None], pool: ThreadPoolExecutor, bars: Progress) -> list[bytes | None]:
    """[N] content keys of files, None where there is nothing to read; a path that stands twice is read once."""
    distinct = sorted({path for path in paths if path is not None})
    task = bars.add_task("Reading pictures", total=len(distinct), visible=len(distinct) > 0)
    keys: dict[Path | None, bytes | None] = {None: None}
    for path, key in zip(distinct, pool.map(_file_key, distinct), strict=True):
        keys[path] = key
        bars.advance(task)
    return [keys[path] for path in paths]


def _file_key(path: Path) -> bytes | None:
    content = read_picture_file(path)
    return None if content is None else content_key(content)


def _load_picture(source: tuple[Path | None, bytes | None]) -> "Image | None":
    """The picture of a file, unless the file has changed since its key was taken: no vector goes under a wrong key."""
    path, key = source
    content = read_picture_file(path) if path is not None else None
    if content is None or content_key(content) != key:
        return None
    return decode_picture(content)


@contextmanager
def _bars(progress: Progress | None) -> Iterator[Progress]:
    """The caller's progress display, or one of our own on stderr that goes away when it is done."""
    if progress is not None:
        yield progress
    else:
        console = Console(stderr=True)
        with Progress(console=console, transient=True, disable=not console.is_terminal) as own:
            yield own
