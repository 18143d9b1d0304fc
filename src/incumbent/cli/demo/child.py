"""What the demo's child processes have in common: they never outlive the demo."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import Final

_PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h


def die_with(demo_pid: int) -> None:
    """Have the kernel kill this process when the demo dies, whatever it died of. Only Linux can."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != demo_pid:  # it died before that
        os._exit(1)
