"""The process that kills another one when a deadline passes that was not moved: ``python -m incumbent.guardian.watchdog``.

It alone can act while C code holds the other one's interpreter lock, or while that one is stopped. Deadlines are times of
CLOCK_BOOTTIME, which both read, so nothing depends on when a message arrives; what arrived is read before anything is done.
Started by `leash.Leash`; nobody else has a use for it. One thread, no asyncio: there is little that could go wrong.
"""

from __future__ import annotations

import os
import select
import signal
import struct
import sys
import time
from typing import Final

from incumbent.runtime.clock import TimerFd
from incumbent.runtime.process import open_pidfd

ORDER: Final = struct.Struct("<QQ")
"""A key, and its deadline in nanoseconds: RELEASED takes the key back. Below PIPE_BUF, so an order is written whole."""
RELEASED: Final = 0
READY: Final = b"+"
READ_BYTES: Final = ORDER.size * 256


class Watchdog:
    """Watches over the process behind `pidfd`, by orders from `orders_fd`."""

    def __init__(self, pidfd: int, orders_fd: int) -> None:
        self._pidfd = pidfd
        self._orders_fd = orders_fd
        self._deadlines: dict[int, int] = {}
        self._rest = b""
        self._orders_ended = False
        os.set_blocking(orders_fd, False)

    def run(self) -> None:
        """Until the other process is dead, or has no more orders to give and none is left."""
        timer = TimerFd()
        poller = select.poll()
        for fd in (self._pidfd, self._orders_fd, timer.fd):
            poller.register(fd, select.POLLIN)
        while True:
            self._obey()
            if self._orders_ended:
                if not self._deadlines:
                    return
                poller.register(self._orders_fd, 0)  # at its end it is readable for ever
            earliest_ns = min(self._deadlines.values(), default=None)
            if earliest_ns is not None and self._past(earliest_ns):
                self._kill()
                return
            wait_ns = None if earliest_ns is None else max(1, earliest_ns - _now_ns())
            timer.arm(wait_ns)
            ready = dict(poller.poll())
            if self._pidfd in ready:
                return

    def _past(self, deadline_ns: int) -> bool:
        """NB the orders were read before the clock: one that was given in time is never overlooked."""
        return _now_ns() >= deadline_ns

    def _obey(self) -> None:
        while not self._orders_ended:
            try:
                data = os.read(self._orders_fd, READ_BYTES)
            except BlockingIOError:
                return
            self._orders_ended = not data
            self._rest += data
            whole = len(self._rest) // ORDER.size * ORDER.size
            for key, deadline_ns in ORDER.iter_unpack(self._rest[:whole]):
                if deadline_ns == RELEASED:
                    self._deadlines.pop(key, None)
                else:
                    self._deadlines[key] = deadline_ns
            self._rest = self._rest[whole:]

    def _kill(self) -> None:
        try:
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        except ProcessLookupError:
            return  # it was faster


def _now_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def main(arguments: list[str]) -> int:
    # What tells a whole group or terminal to end is not for it: its life ends with the other process's.
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGTSTP):
        signal.signal(ignored, signal.SIG_IGN)
    pid, start_ticks = map(int, arguments)
    pidfd = open_pidfd(pid, start_ticks)
    if pidfd is None:
        return 1
    watchdog = Watchdog(pidfd, sys.stdin.fileno())
    os.write(sys.stdout.fileno(), READY)
    watchdog.run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
