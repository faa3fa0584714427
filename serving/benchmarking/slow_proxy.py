"""A TCP proxy that can be slow or gone: what a dependency looks like behind a bad network."""

import socket
import threading
import time
from contextlib import suppress
from typing import Self

_CHUNK = 65_536


class SlowProxy:
    """Passes bytes on to a port of this machine; `delay` seconds late, and not at all while it is `cut`.

    Args:
        target: the port.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self.delay = 0.0
        self._cut = False
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Ends all connections; new ones are ended at once."""
        self._cut = True
        for one in self._open:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self._open.clear()

    def mend(self) -> None:
        """As it was."""
        self._cut, self.delay = False, 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:  # the listener was closed: the proxy's end
                return
            if self._cut:
                near.close()
                continue
            far = socket.create_connection(("127.0.0.1", self._target))
            self._open += [near, far]
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._pass, args=(source, sink, source is near), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket, late: bool) -> None:
        with suppress(OSError):
            while content := source.recv(_CHUNK):
                if late:
                    time.sleep(self.delay)
                sink.sendall(content)
        for one in (source, sink):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
