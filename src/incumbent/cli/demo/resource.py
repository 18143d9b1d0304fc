"""The demo's resource: a process that takes writes on a port of the loopback and refuses stale tokens.

A request is one JSON line {"token": …, "note": …}; the answer is one JSON line {"accepted": …, "highest": …}. The check and
the write are one transaction (incumbent.fencing.sqlite). On standard output it says when a token was accepted for the first
time: that is when a failover is over, as seen from the outside.
"""

from __future__ import annotations

import json
import os
import socketserver
import sqlite3
import sys
import threading
from pathlib import Path
from typing import Final

from incumbent.cli.demo.child import die_with
from incumbent.cli.demo.recorder import CLOCK, Recorder
from incumbent.errors import StaleToken
from incumbent.fencing.sqlite import Fence

ELECTION: Final = "scheduler"
REQUEST_BYTES_MAX: Final = 4096


class Resource:
    """One table, one fence. Writes are taken one at a time, so the history has the order of the transactions."""

    def __init__(self, database: Path, recorder: Recorder) -> None:
        self._connection = sqlite3.connect(database, isolation_level=None, check_same_thread=False)
        self._connection.execute("create table if not exists runs (token integer, note text)")
        self._fence = Fence(self._connection, ELECTION)
        self._recorder = recorder
        self._lock = threading.Lock()

    def write(self, token: int, note: str) -> dict[str, object]:
        """Do one write, or refuse it."""
        with self._lock:
            first = token > self._fence.highest()
            try:
                with self._fence.write(token) as cursor:
                    cursor.execute("insert into runs values (?, ?)", (token, note))
            except StaleToken as stale:
                self._recorder.record("refused", election=ELECTION, token=token, highest=stale.highest)
                return {"accepted": False, "highest": stale.highest}
            now_ns = CLOCK.now_ns()
            self._recorder.record("accepted", time_ns=now_ns, election=ELECTION, token=token)
            if first:
                _say({"first_accepted": token, "time_ns": now_ns})
            return {"accepted": True, "highest": token}


def _say(line: dict[str, object]) -> None:
    os.write(sys.stdout.fileno(), json.dumps(line).encode() + b"\n")


def main(demo_pid: str, database: str, history: str) -> None:
    """Serve until killed."""
    die_with(int(demo_pid))
    resource = Resource(Path(database), Recorder(Path(history)))

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            try:
                while line := self.rfile.readline(REQUEST_BYTES_MAX):
                    request = json.loads(line)
                    answer = resource.write(int(request["token"]), str(request["note"]))
                    self.wfile.write(json.dumps(answer).encode() + b"\n")
            except ConnectionError:
                return  # the writer was killed: what it had sent is done or refused, as the history says

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as server:
        _say({"listening": server.server_address[1]})
        server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
