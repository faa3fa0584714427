"""A worker's journal: what was appended is on the disk before anybody is told so.

One thread writes: all that waits goes down in one write and one fsync (group commit). The journal is a folder of
segments; `rotate` ends the current one, so that what reads a finished segment never meets a half-written one. Each
line carries its checksum: a line that a crash cut short was never acknowledged, and is passed over.
"""

import contextlib
import fcntl
import logging
import os
from asyncio import AbstractEventLoop, Future, get_running_loop
from collections.abc import Iterator, Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Final, NamedTuple
from uuid import uuid4
from zlib import crc32

LOGGER = logging.getLogger("recsys.serving")
LOCK_FILE: Final = "lock"
SUFFIX: Final = ".journal"
DAMAGED: Final = ".damaged"
_HIDDEN: Final = "."
_GROUP: Final = 256
"""Lines written at once."""


class JournalError(Exception):
    """A line could not be written; nothing of it will be read."""


class _Waiting(NamedTuple):
    line: bytes
    loop: AbstractEventLoop
    done: "Future[None]"


class Journal:
    """Appends lines durably, for one process.

    Args:
        folder: of all workers' journals; this one gets its own folder in it, which it holds the lock of while it lives.
        fsync: whether a line outlives a power cut; without, it outlives a killed process.
    """

    def __init__(self, folder: Path, fsync: bool = True) -> None:
        self._fsync = fsync
        name = f"{os.getpid()}-{uuid4().hex[:8]}"
        hidden = folder / f"{_HIDDEN}{name}"  # until it is locked: nobody may take it for one whose process is gone
        hidden.mkdir(parents=True, mode=0o700)
        self._lock_file = _hold(hidden)
        self.folder = hidden.rename(folder / name)
        self._queue: SimpleQueue[_Waiting | None] = SimpleQueue()
        self._lock = Lock()
        self._segment = 0
        self._size = 0
        self._descriptor = self._open()
        self._thread = Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    async def append(self, content: bytes) -> None:
        """Returns once the content is on the disk.

        Args:
            content: without a line break.

        Raises:
            JournalError: it is not.
        """
        loop = get_running_loop()
        done: Future[None] = loop.create_future()
        self._queue.put(_Waiting(b"%08x %s\n" % (crc32(content), content), loop, done))
        await done

    def rotate(self) -> list[Path]:
        """Ends the current segment if there is anything in it; returns the finished ones, oldest first."""
        with self._lock:
            if self._size:
                finished, self._descriptor = self._descriptor, self._open()  # where that fails, the old one goes on
                os.close(finished)
            current = self._path(self._segment)
        return [path for path in segments(self.folder) if path != current]

    def close(self) -> None:
        """Writes what waits, and stops; the segments stay."""
        self._queue.put(None)
        self._thread.join()
        os.close(self._descriptor)

    def remove(self) -> None:
        """Removes the folder of a closed journal, if nothing is left in it, and lets go of its lock."""
        clear(self.folder)
        os.close(self._lock_file)

    def _open(self) -> int:
        """Starts the next segment; its name must outlive a power cut too."""
        path = self._path(self._segment + 1)
        path.unlink(missing_ok=True)  # of an attempt that a full disk ended; nothing was written to it
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        try:
            folder = os.open(self.folder, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError:
            os.close(descriptor)
            raise
        self._segment, self._size = self._segment + 1, 0
        return descriptor

    def _path(self, segment: int) -> Path:
        return self.folder / f"{segment:08}{SUFFIX}"

    def _run(self) -> None:
        while (first := self._queue.get()) is not None:
            group, last = [first], False
            while len(group) < _GROUP:
                try:
                    waiting = self._queue.get_nowait()
                except Empty:
                    break
                if waiting is None:
                    last = True
                    break
                group.append(waiting)
            self._write(group)
            if last:
                return

    def _write(self, group: Sequence[_Waiting]) -> None:
        """Writes a group and tells those who wait for it."""
        error: JournalError | None = None
        try:
            with self._lock:
                self._put(b"".join(waiting.line for waiting in group))
        except OSError as failure:
            error = JournalError(failure.strerror or type(failure).__name__)
        loops = {id(waiting.loop): waiting.loop for waiting in group}
        for key, loop in loops.items():
            futures = [waiting.done for waiting in group if id(waiting.loop) == key]
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(_tell, futures, error)

    def _put(self, content: bytes) -> None:
        """Writes all of it, or leaves the segment as it was."""
        view = memoryview(content)
        try:
            while view:
                view = view[os.write(self._descriptor, view) :]
            if self._fsync:
                os.fdatasync(self._descriptor)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, self._size)
            raise
        self._size += len(content)


def _tell(futures: "Sequence[Future[None]]", error: JournalError | None) -> None:
    for future in futures:
        if future.done():  # the client has gone
            continue
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)


def segments(folder: Path) -> list[Path]:
    """The segments of one journal, oldest first."""
    return sorted(folder.glob(f"*{SUFFIX}"))


def read_segment(path: Path) -> Iterator[bytes]:
    """The lines of a segment that are whole.

    A last line that is cut short was never acknowledged. Any other damage is the disk's: it is logged, and the file is
    kept beside the others under another name, for the operator.
    """
    damaged = 0
    with path.open("rb") as file:
        for line in file:
            checksum, _, content = line.rstrip(b"\n").partition(b" ")
            if line.endswith(b"\n") and checksum == b"%08x" % crc32(content):
                yield content
            elif line.endswith(b"\n"):
                damaged += 1
    if damaged:
        LOGGER.error("%d line(s) of the journal %s are damaged: kept as %s", damaged, path, path.stem + DAMAGED)
        copy = path.with_suffix(DAMAGED)
        if not copy.exists():
            os.link(path, copy)


def left_over(folder: Path) -> Iterator[Path]:
    """The journals whose process is gone, each locked while it is looked at, and removed afterwards if empty."""
    for journal in sorted(folder.glob(f"[!{_HIDDEN}]*")):
        try:
            held = _hold(journal)
        except OSError:  # its process lives, or another one is at it
            continue
        try:
            yield journal
            clear(journal)
        finally:
            os.close(held)


def clear(journal: Path) -> None:
    """Removes a journal's folder if no segment is left in it."""
    if segments(journal) or any(journal.glob(f"*{DAMAGED}")):
        return
    (journal / LOCK_FILE).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        journal.rmdir()


def _hold(journal: Path) -> int:
    """Takes the journal's lock, which ends with the process. Raises OSError where another one has it."""
    descriptor = os.open(journal / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
