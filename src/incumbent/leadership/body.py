"""The leader's work as those see it who may have to end it: where it runs, whether it runs, and how force is used on it."""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import signal
import threading
from contextlib import suppress
from typing import Final

from incumbent.errors import LeadershipLost
from incumbent.leadership.oversight import OnStuck
from incumbent.leadership.tenure import Reason
from incumbent.leadership.world import log_aside

EXIT_CODE: Final = 75
"""EX_TEMPFAIL: whoever supervises this process may start it again."""


class BodyDied(Exception):
    """The thread of the body is gone, and never left its block."""


class Body:
    """Runs in a task of the loop, and perhaps in a thread that said so. Asked and ended from the alarm's thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, task: asyncio.Task[object]) -> None:
        self.task = task
        self._loop = loop
        self._loop_thread = threading.get_ident()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._ended = False

    @property
    def running(self) -> bool:
        return not self._ended

    def __enter__(self) -> None:
        """The work runs in this thread from here on."""
        with self._lock:
            self._thread = threading.current_thread()

    def __exit__(self, *_: object) -> None:
        """It does not any more: nothing is raised here from now on. What is being raised right now is dropped; the end of
        the term, which it was about, is told by the campaign's own end."""
        while self._thread is not None:
            with suppress(LeadershipLost), self._lock:
                self._thread = None
                _raise_in(threading.get_ident(), None)

    def in_this_thread(self) -> bool:
        return self._thread is threading.current_thread()

    def end(self) -> None:
        """It has ended: no force is used any more."""
        with self._lock:
            self._ended = True

    def force(self, how: OnStuck, election: str, reason: Reason) -> None:
        """Its grace is over. On the alarm's thread."""
        with self._lock:
            if self._ended:
                return
            log_aside(
                logging.CRITICAL, "%s: the body runs on after its grace (%s): %s", election, reason, how
            )
            match how:
                case OnStuck.EXIT:
                    os._exit(EXIT_CODE)
                case OnStuck.KILL:  # the other process does, unless it is gone itself
                    os.kill(os.getpid(), signal.SIGKILL)
                case OnStuck.RAISE:
                    self._raise(reason)

    def _raise(self, reason: Reason) -> None:
        class Forced(LeadershipLost):
            """The interpreter makes it, without arguments."""

            def __init__(self) -> None:
                super().__init__(reason, "raised in a body that did not end")

        if self._thread is not None:
            assert self._thread.ident is not None
            _raise_in(self._thread.ident, Forced)
        # In the loop's thread only while the body itself runs there: elsewhere it would end the loop. From the look to the
        # act this thread keeps the interpreter's lock, and the exception is raised where the other one goes on.
        elif asyncio.current_task(self._loop) is self.task:
            _raise_in(self._loop_thread, Forced)
        else:
            self._loop.call_soon_threadsafe(self.task.cancel)


def _raise_in(thread_id: int, error: type[BaseException] | None) -> None:
    """Raise it in that thread as soon as it runs Python code; None takes back what was not raised yet."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread_id), None if error is None else ctypes.py_object(error)
    )
