"""Which machine this is, over its reboots."""

from __future__ import annotations

from pathlib import Path
from typing import Final

MACHINE_ID: Final = Path("/etc/machine-id")
PID_NAMESPACE: Final = Path("/proc/self/ns/pid")
FIRST_PID_NAMESPACE: Final = "pid:[4026531836]"
"""The one that the kernel begins with; its number is a constant (PROC_PID_INIT_INO, linux/proc_ns.h)."""


def machine_id(path: Path = MACHINE_ID, namespace: Path = PID_NAMESPACE) -> str:
    """What machine-id(5) says; "" where it cannot be told.

    It cannot in a container: the file is its image's there, and the same on all hosts that run the image.
    """
    try:
        if str(namespace.readlink()) != FIRST_PID_NAMESPACE:
            return ""
        text = path.read_text().strip()
    except (OSError, ValueError):
        return ""
    return text if len(text) == 32 and text.isalnum() else ""
