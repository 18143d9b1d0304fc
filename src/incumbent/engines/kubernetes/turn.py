"""What a Waiting's cursor is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Turn:
    """Watching from here wakes for these Leases: the one waited for, and the own one."""

    revision: int
    keys: tuple[str, ...]
