"""The side of the process that may be killed: starts the watchdog, tells it every deadline beforehand, replaces it when it dies.

A watchdog that cannot be told of a moved deadline would kill a healthy process. So one whose pipe is full or gone is killed
itself, at once, and another one is started and told everything anew.
"""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import threading
from contextlib import suppress
from typing import Final

from incumbent.errors import Unsupported
from incumbent.guardian.helper import START_TIMEOUT_S, spawn_module
from incumbent.guardian.watchdog import ORDER, READY, RELEASED
from incumbent.runtime.fork import tell_child
from incumbent.runtime.process import process_start_ticks

logger = logging.getLogger(__name__)

RESTARTS_MAX: Final = 5
RESTART_PAUSE_S: Final = 0.5
QUIT_TIMEOUT_S: Final = 2.0
QUIT_LOOKS: Final = 100


class Leash:
    """Of this process, not of its forked children. Bound to the loop that started it; deadlines are set from any thread."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._lock = threading.RLock()
        self._deadlines: dict[int, int] = {}  # by key: what a watchdog is to know
        self._process: subprocess.Popen[bytes] | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._gone = asyncio.Event()
        self._forked = False
        self._closed = False
        tell_child(self)

    @classmethod
    async def start(cls) -> Leash:
        """Start the watchdog; when this returns, it holds a pidfd on this process. You owe a `close`.

        Raises Unsupported where there is none to be had: no pidfd (Linux 5.3 has it), no Python to run it with.
        """
        leash = cls()
        await leash._start()
        leash._keeper = asyncio.create_task(leash._keep(), name="incumbent keeps its watchdog")
        return leash

    def on_forked(self) -> None:
        """The child is nobody's leader, and the watchdog watches its parent."""
        self._forked = True

    @property
    def watchdog_pid(self) -> int | None:
        """None while there is none."""
        process = self._process
        return None if process is None else process.pid

    def hold(self, key: int, deadline_ns: int) -> None:
        """Unless this is moved or released before, this process is killed at `deadline_ns` of CLOCK_BOOTTIME."""
        if self._forked:
            return
        with self._lock:
            self._deadlines[key] = deadline_ns
            self._say(key, deadline_ns)

    def release(self, key: int) -> None:
        if self._forked:
            return
        with self._lock:
            if self._deadlines.pop(key, None) is None:
                return
            self._say(key, RELEASED)
            if self._closed and not self._deadlines and self._process is not None:
                self._let_go()

    async def close(self) -> None:
        """The watchdog goes, without killing anybody. Where a deadline is still held, it stays until that is released or over."""
        if self._forked or self._closed:
            return
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait({self._keeper})
        with self._lock:
            self._closed = True
            process = self._process
            if process is None:
                return
            self._loop.remove_reader(_fd(process.stdout))
            if self._deadlines:
                logger.error("a body still runs: watchdog process %d stays until it has ended", process.pid)
                process.returncode = 0  # never waited for: it may outlive this process
                return
            self._let_go()
        for _ in range(QUIT_LOOKS):
            if process.poll() is not None:
                return
            await asyncio.sleep(QUIT_TIMEOUT_S / QUIT_LOOKS)
        process.kill()
        process.wait()

    def _let_go(self) -> None:
        """Under the lock. Without a deadline, the end of its orders is the watchdog's."""
        assert self._process is not None
        _close_pipes(self._process)
        self._process = None

    # --- the watchdog's life --------------------------------------------------------------------------------------

    async def _start(self) -> None:
        ticks = process_start_ticks(os.getpid())
        if not hasattr(os, "pidfd_open") or ticks is None:
            raise Unsupported("on_stuck='kill' needs pidfd, which this platform has not; there is 'exit'")
        try:
            process = spawn_module("incumbent.guardian.watchdog", str(os.getpid()), str(ticks))
        except OSError as error:
            raise Unsupported(f"on_stuck='kill': no watchdog process could be started: {error}") from error
        readable = asyncio.Event()
        self._loop.add_reader(_fd(process.stdout), readable.set)
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                await readable.wait()
            if os.read(_fd(process.stdout), len(READY)) != READY:
                raise Unsupported("on_stuck='kill': the watchdog process died at once")
        except TimeoutError as error:
            self._drop(process)
            raise Unsupported("on_stuck='kill': the watchdog process said nothing") from error
        except BaseException:
            self._drop(process)
            raise
        self._loop.add_reader(_fd(process.stdout), self._gone.set)  # it says nothing more, so this is its end
        os.set_blocking(_fd(process.stdin), False)
        with self._lock:
            self._process = process
            for key, deadline_ns in self._deadlines.items():
                self._say(key, deadline_ns)

    async def _keep(self) -> None:
        while True:
            await self._gone.wait()
            self._gone.clear()
            with self._lock:
                process, self._process = self._process, None
            if process is not None:
                self._drop(process)
            logger.error("the watchdog process is gone; starting another")
            for _ in range(RESTARTS_MAX):
                try:
                    await self._start()
                    break
                except Unsupported as error:
                    logger.error("the watchdog was not replaced: %s", error)
                    await asyncio.sleep(RESTART_PAUSE_S)
            else:
                logger.critical("there is no watchdog any more; 'kill' works only while Python code runs")
                return

    def _say(self, key: int, deadline_ns: int) -> None:
        """Under the lock."""
        process = self._process
        if process is None:
            return  # the next one is told
        try:
            os.write(_fd(process.stdin), ORDER.pack(key, deadline_ns))
        except OSError as error:
            logger.error("watchdog process %d hears nothing (%s): killed", process.pid, error)
            process.kill()  # before it acts on what it knows
            self._process = None
            with suppress(RuntimeError):  # the loop is closed, and there will be no other
                self._loop.call_soon_threadsafe(self._drop, process)
                self._loop.call_soon_threadsafe(self._gone.set)

    def _drop(self, process: subprocess.Popen[bytes]) -> None:
        self._loop.remove_reader(_fd(process.stdout))
        process.kill()
        process.wait()
        _close_pipes(process)


def _fd(pipe: object) -> int:
    assert hasattr(pipe, "fileno")
    number: int = pipe.fileno()
    return number


def _close_pipes(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        assert pipe is not None
        pipe.close()
