"""A new dataset directory appears whole or not at all."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from recsys.errors import RecsysError

READABLE = 0o755


@contextmanager
def new_directory(out: Path) -> Iterator[Path]:
    """Yields a temporary directory beside `out` that takes its place when the block ends well, and is removed if not.

    Raises:
        RecsysError: `out` is a file, a directory with something in it, or cannot be written.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RecsysError(f"{out}: already exists and is not empty: choose another --out, or remove it first")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}."))
    except OSError as error:
        raise RecsysError(f"{out}: cannot be written: {error}") from error
    try:
        yield temporary
        temporary.chmod(READABLE)  # mkdtemp's directories are for their owner only
        temporary.replace(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
