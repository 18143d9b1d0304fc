"""The children of the demo's children: each worker's guardian, which outlives its worker on purpose."""

from __future__ import annotations

import os
import signal
from collections.abc import Collection
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

STAT_PARENT = 1
"""The position of ppid after the command's closing bracket; see proc(5), field 4."""


class Kin:
    """Holds on to the children that these processes have now, so that they can be killed after their parents. By pidfd:
    a pid might be somebody else's by then."""

    def __init__(self, parents: Collection[int]) -> None:
        self._stack = ExitStack()
        self._pidfds: list[int] = []
        for pid in _children_of(parents) if hasattr(os, "pidfd_open") else []:
            try:
                pidfd = os.pidfd_open(pid)
            except OSError:
                continue  # it is dead
            self._stack.callback(os.close, pidfd)
            self._pidfds.append(pidfd)

    def __enter__(self) -> Kin:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    def kill(self) -> None:
        for pidfd in self._pidfds:
            try:
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            except ProcessLookupError:
                continue  # it is dead


def _children_of(parents: Collection[int]) -> list[int]:
    """From /proc; nothing where there is none."""
    found: list[int] = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it is dead
        if int(fields[STAT_PARENT]) in parents:
            found.append(int(stat.parent.name))
    return found
