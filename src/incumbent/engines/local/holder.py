"""A process named so that it cannot be mistaken: by pid, start time and pid namespace. And the proof of its death.

A pid alone is reused; with its start time it is unique within one boot. In another pid namespace the number means
another process, so there nothing is proven and the TTL alone protects. A forked child has a pid of its own and is not
the holder; a process that calls exec keeps pid and start time and still is.

Here a stranger's word decides who leads, so only the kernel's "no such process" or another start time counts: a start
time that cannot be read, as with a /proc mounted with hidepid, proves nothing.
"""

from __future__ import annotations

import errno
import os
import select
from dataclasses import dataclass
from pathlib import Path

from incumbent.runtime.process import process_start_ticks

NAMESPACE = Path("/proc/self/ns/pid")


@dataclass(frozen=True, slots=True)
class Holder:
    pid: int
    start_ticks: int
    namespace: str  # "" = cannot be told: nothing will ever be proven about this process

    @classmethod
    def this_process(cls) -> Holder:
        try:
            namespace = str(NAMESPACE.readlink())
        except OSError:
            namespace = ""
        ticks = process_start_ticks(os.getpid())
        return cls(os.getpid(), ticks or 0, namespace if ticks else "")

    def open_pidfd(self, here: str) -> int | None:
        """A file descriptor that becomes readable when this process is dead. The caller closes it.

        `here` is the caller's own pid namespace. None = it cannot be watched from here.
        Raises ProcessLookupError when it is dead already.
        """
        if not self.namespace or self.namespace != here or not hasattr(os, "pidfd_open"):
            return None
        try:
            pidfd = os.pidfd_open(self.pid)
        except ProcessLookupError:
            raise
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.ENOENT):
                # The number now names a thread of somebody else's, so the process that had it is gone.
                raise ProcessLookupError(errno.ESRCH, "the pid was reused") from error
            return None  # no descriptor to spare, or a kernel without pidfd
        ticks = process_start_ticks(self.pid)  # read after opening: the pidfd pins what the number means
        if ticks is not None and ticks != self.start_ticks:
            os.close(pidfd)
            raise ProcessLookupError(errno.ESRCH, "the pid was reused")
        return pidfd

    def is_dead(self, here: str) -> bool:
        """True only when the kernel says so."""
        try:
            pidfd = self.open_pidfd(here)
        except ProcessLookupError:
            return True
        if pidfd is None:
            return False
        try:
            poller = select.poll()
            poller.register(pidfd, select.POLLIN)
            return bool(poller.poll(0))
        finally:
            os.close(pidfd)
