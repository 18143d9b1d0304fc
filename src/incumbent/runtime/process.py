"""Processes, named so that they cannot be mistaken for another: by pid and start time."""

from __future__ import annotations

import os
from pathlib import Path

from incumbent.errors import Unsupported

STAT_START_TIME = 19
"""The position of starttime after the command's closing bracket; see proc(5), field 22."""


def process_start_ticks(pid: int) -> int | None:
    """When a process began, in clock ticks since boot: with the pid it names the process once per boot.

    None when there is no such process, or no /proc to ask.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()  # a command's name may be any bytes
    except OSError:
        return None
    # The command may hold blanks and brackets, so count from the last closing bracket.
    return int(stat.rpartition(b")")[2].split()[STAT_START_TIME])


def open_pidfd(pid: int, start_ticks: int) -> int | None:
    """A descriptor that becomes readable when that very process is dead; the caller closes it.

    None when the process is gone already, its pid perhaps somebody else's by now. Raises Unsupported where the kernel has no
    pidfd: the TTL alone protects there.
    """
    if not hasattr(os, "pidfd_open"):
        raise Unsupported(
            "this platform has no pidfd, so a process's death cannot be proven; the TTL alone protects"
        )
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    except OSError as error:
        raise Unsupported(f"pidfd_open failed, so a process's death cannot be proven: {error}") from error
    # Read after opening: from here on the number cannot be given to another process unnoticed.
    now = process_start_ticks(pid)
    # None: /proc hides other users' processes, which proves nothing. Should the number be somebody else's by now, then this
    # descriptor tells of the death too late, never too early: the TTL is faster.
    if now is not None and now != start_ticks:
        os.close(pidfd)
        return None
    return pidfd
