"""A disk that keeps what was synced, and nothing else."""

from __future__ import annotations

from incumbent.consensus.api import Entry, Record, Saved, Snapshot
from incumbent.ids import Index, Term


class SimDisk:
    """The effect of every durable record. A record in flight at a crash is applied whole or not at all; who crashes it
    decides (a torn record is an absent one)."""

    def __init__(self) -> None:
        self.hard_state: bytes | None = None
        self.entries: dict[Index, Entry] = {}
        self.snapshot: Snapshot | None = None

    def apply(self, record: Record) -> None:
        if record.hard_state is not None:
            self.hard_state = record.hard_state
        if record.snapshot is not None:
            self.snapshot = record.snapshot
            self.entries = {index: e for index, e in self.entries.items() if index > record.snapshot.index}
        if record.truncate_from is not None:
            for index in [index for index in self.entries if index >= record.truncate_from]:
                del self.entries[index]
        for entry in record.entries:
            self.entries[entry.index] = entry

    def saved(self) -> Saved:
        return Saved(self.hard_state, dict(self.entries), self.snapshot)

    def term_at(self, index: int) -> Term | None:
        """The term of the entry at `index`; 0 for index 0; None where nothing is stored."""
        if index == 0:
            return Term(0)
        entry = self.entries.get(Index(index))
        return None if entry is None else entry.term

    @property
    def last_index(self) -> Index:
        return max(self.entries, default=Index(0))
