"""Within which times can be compared: one boot, and one time namespace in it, since BOOTTIME has an offset in each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from incumbent.runtime.clock import boot_id

TIME_NAMESPACE: Final = Path("/proc/self/ns/time")


@dataclass(frozen=True, slots=True)
class Boot:
    id: str
    time_namespace: str


def this_boot() -> Boot:
    """Raises Unsupported where the boot cannot be told: times of another boot would pass for times of this one."""
    try:
        namespace = str(TIME_NAMESPACE.readlink())
    except OSError:
        namespace = ""  # a kernel without time namespaces
    return Boot(boot_id(), namespace)
