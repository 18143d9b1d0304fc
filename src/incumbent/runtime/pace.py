"""Where a write is made: on a thread, or in the event loop where the disk has shown that this costs less.

Handing a write to a thread and hearing of its end costs about as much as a fast disk takes for it, and wakes two threads. So a
small write is made in the loop while the disk is known to be fast. The price is that one write which suddenly takes long stops
the loop for as long: no heartbeat leaves, and the others elect another leader, as they do when the process is stopped. It is
paid once, since trust has to be earned anew.
"""

from __future__ import annotations

from typing import Final

from incumbent.consensus.api import Record

FAST_NS_MAX: Final = 1_000_000
"""A write that took less was fast. A disk that had nothing to do for a while takes its time for the first one."""
FAST_WRITES_MIN: Final = 32
"""So many in a row, and the disk counts as fast."""
ENTRIES_MAX: Final = 4
"""With more of them in one record, others are asking too: the loop has better things to do than to wait for the disk."""
BYTES_MAX: Final = 64 * 1024


class Pace:
    """One disk's."""

    def __init__(self) -> None:
        self._fast = 0  # writes in a row

    def took(self, duration_ns: int) -> None:
        """A write did."""
        self._fast = self._fast + 1 if duration_ns < FAST_NS_MAX else 0

    def in_loop(self, record: Record) -> bool:
        """Whether to make this write there."""
        return (
            self._fast >= FAST_WRITES_MIN
            and len(record.entries) <= ENTRIES_MAX
            and record.snapshot is None
            and not record.pieces
            and sum(len(entry.data or entry.tag) for entry in record.entries) <= BYTES_MAX
        )
