"""A server that is many processes, stopped and killed as one, as a machine would be."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path


def family(pid: int) -> list[int]:
    """`pid` and all that descend from it. PostgreSQL's children each have a session of their own, so a group will not do."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it ended meanwhile
            parent = int(path.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(path.parent.name))
    found, unseen = list[int](), [pid]
    while unseen:
        found.append(unseen.pop())
        unseen += children.get(found[-1], ())
    return found


def stop(pid: int) -> None:
    """Parents first, and again until nobody is new, so that none is born meanwhile."""
    stopped = set[int]()
    while new := [one for one in family(pid) if one not in stopped]:
        _send(new, signal.SIGSTOP)
        stopped.update(new)


def go_on(pid: int) -> None:
    _send(family(pid), signal.SIGCONT)


def kill(pid: int) -> None:
    """All at one moment: nobody lives to notice that its parent died, and to tidy up."""
    stop(pid)
    _send(family(pid), signal.SIGKILL)


def _send(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
