"""What this process saw of the others' Leases, and when, on its own clock (P15, P17).

A Lease is silent from the moment at which this process first saw its present record. What that moment is worth is decided by
whoever acts on it: by an update that compares the version, so that a renewal which nobody here saw yet wins.
"""

from __future__ import annotations

from typing import Final

from incumbent.engines.kubernetes.leases import Lease, duration_ns, is_ending, name_of, uid_of
from incumbent.ports import Clock

OBSERVED_MAX: Final = 100_000
"""Leases remembered. Beyond it the one seen longest ago is forgotten, and would be waited for anew."""

_Record = tuple[object, ...]


class Observed:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seen: dict[str, tuple[_Record, int]] = {}

    def saw(self, lease: Lease) -> None:
        """Call it with everything that comes, as it comes."""
        name, record = name_of(lease), _record(lease)
        known = self._seen.get(name)
        if known is not None and known[0] == record:
            return
        self._seen.pop(name, None)  # so that the order is that of the last change
        self._seen[name] = (record, self._clock.now_ns())
        if len(self._seen) > OBSERVED_MAX:
            del self._seen[next(iter(self._seen))]

    def forget(self, name: str) -> None:
        self._seen.pop(name, None)

    def left_ns(self, lease: Lease) -> int:
        """How much of its holder's duration is left; 0 or less: silent for all of it."""
        self.saw(lease)
        _, seen_ns = self._seen[name_of(lease)]
        return seen_ns + duration_ns(lease) - self._clock.now_ns()

    def is_over(self, session: Lease) -> bool:
        return is_ending(session) or self.left_ns(session) <= 0


def _record(lease: Lease) -> _Record:
    spec = lease.get("spec") or {}
    fields = ("holderIdentity", "leaseDurationSeconds", "acquireTime", "renewTime", "leaseTransitions")
    return (uid_of(lease), *(spec.get(field) for field in fields))
