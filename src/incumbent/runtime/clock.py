"""The clock of this host, and a thread that acts on it.

CLOCK_BOOTTIME counts suspend and is never stepped; CLOCK_MONOTONIC stands still while a laptop or a virtual machine is
suspended, so a lease measured by it would be valid for an hour too long. asyncio's loop.time() is the latter.
"""

from __future__ import annotations

import ctypes
import errno
import logging
import os
import select
import struct
import threading
import time
from collections.abc import Callable, Hashable
from functools import partial
from heapq import heappop, heappush
from itertools import count
from pathlib import Path
from typing import Final

from incumbent.errors import Unsupported
from incumbent.ports import Clock

logger = logging.getLogger(__name__)

_CLOCK_ID: Final[int] = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
_CLOCK_BOOTTIME: Final = 7  # linux/time.h
_TFD_TIMER_ABSTIME: Final = 1
_TFD_CLOEXEC: Final = os.O_CLOEXEC
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
COARSE_SLEEP_S: Final = 0.01
"""How late a deadline may be noticed once the descriptors are gone."""


class BoottimeClock:
    """Nanoseconds since boot, suspend included where the platform can count it."""

    counts_suspend: Final[bool] = hasattr(time, "CLOCK_BOOTTIME")

    def __init__(self) -> None:
        # Bound here: one call, and no Python code in between. Whoever leads asks it before every act.
        self.now_ns: Final = partial(time.clock_gettime_ns, _CLOCK_ID)

    def describe(self) -> str:
        """One sentence for an operator."""
        if self.counts_suspend:
            return "clock: CLOCK_BOOTTIME, counts suspend"
        return "clock: CLOCK_MONOTONIC; it may stand still in suspend, so after one only the fencing token protects"


def wall_ms() -> int:
    """Milliseconds since 1970 by the clock on the wall, which may be wrong and may be set: for people, and for no decision."""
    return time.time_ns() // 1_000_000


def boot_id() -> str:
    """Which boot of this host this is; times of the clock compare only within one.

    Raises Unsupported where the platform does not tell.
    """
    try:
        return BOOT_ID.read_text().strip()
    except OSError as error:
        raise Unsupported(
            "this platform does not tell one boot from another (no boot_id in /proc)"
        ) from error


class TimerFd:
    """A kernel timer on CLOCK_BOOTTIME as a file descriptor: timerfd_create(2). Python has it from 3.13 on."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self.fd: int = self._libc.timerfd_create(_CLOCK_BOOTTIME, _TFD_CLOEXEC)
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")

    def arm(self, wait_ns: int | None) -> None:
        """Become readable after that time, suspend included; None = never."""
        at_ns = 0 if wait_ns is None else time.clock_gettime_ns(_CLOCK_BOOTTIME) + wait_ns
        seconds, nanoseconds = divmod(at_ns, 1_000_000_000)
        spec = struct.pack("@llll", 0, 0, seconds, nanoseconds)
        if self._libc.timerfd_settime(self.fd, _TFD_TIMER_ABSTIME, spec, None) < 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime")

    def close(self) -> None:
        os.close(self.fd)


class Deadlines:
    """Calls callbacks at their deadlines, from a daemon thread of its own, earliest first.

    It does not depend on the event loop: a body that blocks the loop cannot keep its own deadline from being noticed. In a
    forked child it is inert: nothing is set, called or touched there. A callback must be short; one that raises is logged
    and does not stop the others.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or BoottimeClock()
        self._lock = threading.Lock()
        self._set: dict[
            Hashable, tuple[int, int, Callable[[], None]]
        ] = {}  # the deadline that counts for each key
        self._heap: list[tuple[int, int, Hashable]] = []  # outdated entries are skipped when they come up
        self._order = count()
        self._closed = False
        self._pid = os.getpid()
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_write, False)
        os.set_blocking(self._wake_read, False)
        self._timer = _timer_or_none()
        self._without_descriptors = False
        self._thread = threading.Thread(target=self._run, name="incumbent-deadlines", daemon=True)
        self._thread.start()

    def set(self, key: Hashable, deadline_ns: int, callback: Callable[[], None]) -> None:
        """Call `callback` at or right after `deadline_ns`; replaces what was set for `key`. From any thread.

        Nothing is set any more once this is closed.
        """
        if self._forked():
            return
        with self._lock:
            if self._closed:
                return
            number = next(self._order)
            earliest = self._heap[0][0] if self._heap else None
            self._set[key] = (deadline_ns, number, callback)
            heappush(self._heap, (deadline_ns, number, key))
            self._drop_outdated()
            if earliest is None or deadline_ns < earliest:
                self._wake()

    def clear(self, key: Hashable) -> None:
        """Forget `key`. A callback that runs at this moment runs to its end."""
        if self._forked():
            return
        with self._lock:
            self._set.pop(key, None)

    def close(self) -> None:
        """Forget everything and end the thread."""
        if self._forked():
            return
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._set.clear()
            self._wake()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _forked(self) -> bool:
        """Whether this is a child of the process that made it. There the thread is missing, and the lock, which it may have
        held at the fork, is never released."""
        return os.getpid() != self._pid

    def _wake(self) -> None:
        """NB only under the lock: the thread closes the descriptor under it, and its number may then be somebody else's."""
        try:
            os.write(self._wake_write, b"\0")
        except OSError:
            return  # full: it wakes anyway. Gone: it has noticed, see _sleep

    def _drop_outdated(self) -> None:
        """Keep the heap within twice what is set; `set` moves deadlines far more often than they come up."""
        if len(self._heap) > 2 * len(self._set) + 16:
            self._heap = [(at, number, key) for key, (at, number, _) in self._set.items()]
            self._heap.sort()

    def _due(self) -> tuple[list[tuple[Hashable, Callable[[], None]]], int | None]:
        """What is to be called now, and when to look again."""
        due: list[tuple[Hashable, Callable[[], None]]] = []
        with self._lock:
            now_ns = self._clock.now_ns()
            while self._heap:
                at_ns, number, key = self._heap[0]
                current = self._set.get(key)
                if current is None or current[1] != number:
                    heappop(self._heap)
                elif at_ns <= now_ns:
                    heappop(self._heap)
                    del self._set[key]
                    due.append((key, current[2]))
                else:
                    return due, at_ns
        return due, None

    def _run(self) -> None:
        while not self._closed:
            due, next_ns = self._due()
            for key, callback in due:
                try:
                    callback()
                except BaseException:  # SystemExit too: everybody's deadlines depend on this thread
                    logger.exception("the deadline callback of %r failed", key)
            if not due and not self._closed:
                self._sleep(next_ns)
        with self._lock:
            if not self._without_descriptors:
                os.close(self._wake_read)
                os.close(self._wake_write)
                if self._timer is not None:
                    self._timer.close()

    def _sleep(self, until_ns: int | None) -> None:
        """Until the deadline, or until something changes. Earlier does no harm."""
        if self._without_descriptors:
            time.sleep(COARSE_SLEEP_S)
            return
        try:
            self._poll(until_ns)
        except OSError as error:
            # Somebody closed all descriptors of this process, as daemons do. Terms must end in time all the same.
            self._without_descriptors = True
            logger.error("deadlines are noticed up to %s s late from now on: %s", COARSE_SLEEP_S, error)

    def _poll(self, until_ns: int | None) -> None:
        poller = select.poll()  # unlike select() it takes any descriptor number
        poller.register(self._wake_read, select.POLLIN)
        timeout_ms: float | None = None
        # By the given clock's distance, so that it may differ from the kernel's.
        wait_ns = None if until_ns is None else max(1, until_ns - self._clock.now_ns())
        if self._timer is not None:
            self._timer.arm(wait_ns)
            poller.register(self._timer.fd, select.POLLIN)
        elif wait_ns is not None:
            timeout_ms = wait_ns / 1e6
        for fd, events in poller.poll(timeout_ms):
            if events & (select.POLLNVAL | select.POLLHUP | select.POLLERR):
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
            if fd == self._wake_read:
                os.read(self._wake_read, 4096)


def _timer_or_none() -> TimerFd | None:
    try:
        return TimerFd()
    except (OSError, AttributeError) as error:
        # Without a timer on BOOTTIME the thread may oversleep a suspend; the first check after it is right all the same.
        logger.warning("no timer on CLOCK_BOOTTIME (%s): after a suspend deadlines are noticed late", error)
        return None
