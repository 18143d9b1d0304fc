"""The resource that the candidates of a failure run write to: it refuses a token lower than one it has seen.

On a Unix socket, which also those reach whose host is cut off from every other: what a leader sent is never lost on the way, so
nothing but the fence protects.
"""

from __future__ import annotations

import socketserver
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from incumbent.cli.demo.recorder import CLOCK, Recorder
from incumbent.errors import StaleToken
from incumbent.fencing.sqlite import Fence

ELECTION: Final = "e"
REQUEST_BYTES_MAX: Final = 64
WAITING_MAX: Final = 128
"""More than all candidates can have under way: where this queue is full, asyncio takes a socket that never connected for connected."""


class Sink:
    """Writes are taken one at a time, so the history has the order of the transactions."""

    def __init__(self, database: Path, recorder: Recorder) -> None:
        self._connection = sqlite3.connect(database, isolation_level=None, check_same_thread=False)
        self._connection.execute("create table if not exists writes (token integer)")
        self._fence = Fence(self._connection, ELECTION)
        self._recorder = recorder
        self._lock = threading.Lock()

    def write(self, token: int) -> bool:
        with self._lock:
            try:
                with self._fence.write(token) as cursor:
                    cursor.execute("insert into writes values (?)", (token,))
            except StaleToken as stale:
                self._recorder.record("refused", election=ELECTION, token=token, highest=stale.highest)
                return False
            self._recorder.record("accepted", time_ns=CLOCK.now_ns(), election=ELECTION, token=token)
            return True

    def close(self) -> None:
        with self._lock:
            self._connection.close()
            self._recorder.close()


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    request_queue_size = WAITING_MAX


@contextmanager
def sink(directory: Path, history: Path) -> Iterator[Path]:
    """The socket, while it serves. A request is a line with a token; the answer is ``yes`` or ``no``."""
    resource = Sink(directory / "sink.db", Recorder(history))

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            try:
                while line := self.rfile.readline(REQUEST_BYTES_MAX):
                    self.wfile.write(b"yes\n" if resource.write(int(line)) else b"no\n")
            except ConnectionError:
                return  # the writer was killed; what it had sent is done or refused

    path = directory / "sink.socket"
    with _Server(str(path), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield path
        finally:
            server.shutdown()
            thread.join()
            resource.close()
