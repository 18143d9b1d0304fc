"""A disk that keeps what was synced, and nothing else."""

from __future__ import annotations

from dataclasses import replace

from incumbent.consensus.api import Entry, Pieced, Record, Saved, Snapshot
from incumbent.consensus.blob import Piece, crc_of
from incumbent.errors import invariant
from incumbent.ids import Index, Term


class SimDisk:
    """The effect of every durable record. A record in flight at a crash is applied whole or not at all; who crashes it
    decides (a torn record is an absent one)."""

    def __init__(self) -> None:
        self.hard_state: bytes | None = None
        self.entries: dict[Index, Entry] = {}
        self.snapshot: Snapshot | None = None
        self.last_index = Index(0)
        self.syncs = 0
        self.cut: list[Entry] = []  # by the last truncation
        self._incoming = bytearray()  # the pieces of a snapshot; a new life has no use for them

    def apply(self, record: Record) -> None:
        self.syncs += 1
        if record.hard_state is not None:
            self.hard_state = record.hard_state
        for piece in record.pieces:
            self._receive(piece)
        if record.snapshot is not None:
            self._take(record.snapshot)
        if record.truncate_from is not None:
            first = max(record.truncate_from, self.first_index)
            past = [Index(index) for index in range(first, self.last_index + 1)]
            self.cut = [self.entries.pop(index) for index in past if index in self.entries]
            self.last_index = min(self.last_index, Index(record.truncate_from - 1))
        if record.entries:
            for entry in record.entries:
                self.entries[entry.index] = entry
            self.last_index = max(self.last_index, record.entries[-1].index)

    def _receive(self, piece: Piece) -> None:
        if piece.offset == 0:
            self._incoming.clear()
        invariant(piece.offset == len(self._incoming), "pieces come in order", at=piece[:3])
        self._incoming += piece.data

    def _take(self, snapshot: Snapshot) -> None:
        if isinstance(snapshot.state, Pieced):
            stored = replace(snapshot, state=bytes(self._incoming))
            invariant(crc_of(stored.state) == snapshot.state.crc, "what was stored is what came")
            snapshot = stored
        first = 1 if self.snapshot is None else self.snapshot.index + 1
        self.snapshot = snapshot
        for index in range(first, snapshot.index + 1):
            self.entries.pop(Index(index), None)
        self.last_index = max(self.last_index, snapshot.index)

    def saved(self) -> Saved:
        return Saved(self.hard_state, dict(self.entries), self.snapshot)

    @property
    def first_index(self) -> int:
        """Of the entries; what comes before is in the snapshot."""
        return 1 if self.snapshot is None else self.snapshot.index + 1

    def term_at(self, index: int) -> Term | None:
        """The term of the entry at `index`; 0 for index 0; None where nothing is stored, and inside a snapshot."""
        entry = self.entries.get(Index(index))
        if entry is not None:
            return entry.term
        if self.snapshot is not None and index == self.snapshot.index:
            return self.snapshot.term
        return Term(0) if index == 0 else None

    def holds(self, index: int, term: int) -> bool:
        """Whether the entry (index, term) is here, or a snapshot that stands for it."""
        if self.snapshot is not None and index < self.snapshot.index:
            return True
        return self.term_at(index) == term

    @property
    def last_term(self) -> Term:
        term = self.term_at(self.last_index)
        return Term(0) if term is None else term
