"""The replicated log of one voter: a contiguous run of entries, its newest part perhaps not yet durable. PURE.

    index:    1   2   3 | 4   5   6   7   8
    term:     1   1   2 | 2   2   2   3   3
                  forgotten=3   commit=5
                  snapshot=4        stable=6 (durable here)   last=8

What a snapshot stands for is forgotten but for a tail, so that a follower that is a little late need not be sent the
snapshot. `take_unstable` hands out what must be made durable next; `stable_to` takes note of it. An index that was handed
out and then truncated and rewritten before the write was acknowledged must not count as durable: hence the (index, term)
check.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from incumbent.consensus.api import Entry
from incumbent.errors import invariant
from incumbent.ids import Index, Term


class Log:
    """Entries forgotten + 1 .. last without gaps."""

    def __init__(
        self, saved: Mapping[Index, Entry], snapshot: Index = Index(0), snapshot_term: Term = Term(0)
    ) -> None:
        self.forgotten = snapshot  # the highest index that is not here
        self._forgotten_term = snapshot_term
        self.snapshot = snapshot  # what the newest snapshot stands for; >= forgotten
        self._entries: list[Entry] = [saved[index] for index in sorted(saved)]
        for expected, entry in enumerate(self._entries, start=snapshot + 1):
            invariant(
                entry.index == expected, "a saved log has no gaps", expected=expected, found=entry.index
            )
        self.last_index = Index(snapshot + len(self._entries))
        self.stable = self.last_index  # everything up to here is durable
        self._handed_out = self.last_index  # everything up to here is durable or on its way
        self._truncate_from: Index | None = None  # the lowest durable index cut since the last record

    @property
    def first_index(self) -> Index:
        return Index(self.forgotten + 1)

    @property
    def last_term(self) -> Term:
        return self._entries[-1].term if self._entries else self._forgotten_term

    def term_at(self, index: int) -> Term | None:
        """The term of the entry at `index`; None where nothing is known: past the end, and before what is forgotten."""
        position = index - self.forgotten - 1
        if position >= 0:
            return self._entries[position].term if index <= self.last_index else None
        return self._forgotten_term if position == -1 else None

    def between(self, first: int, last: int) -> Sequence[Entry]:
        """Entries first..last, both included, as far as they are here."""
        skip = self.forgotten + 1
        return self._entries[max(first - skip, 0) : max(last - skip + 1, 0)]

    def first_index_of(self, term: Term, at: Index) -> Index:
        """The first index of the run of `term` that reaches `at` (the conflict hint of the paper's section 5.3)."""
        index: int = at
        while index > self.first_index and self._entries[index - self.forgotten - 2].term == term:
            index -= 1
        return Index(index)

    def last_index_of_term_at_most(self, term: Term, at: Index) -> Index:
        """The last index <= `at` whose term is at most `term`; what is forgotten when there is none here."""
        index: int = min(at, self.last_index)
        while index > self.forgotten and self._entries[index - self.forgotten - 1].term > term:
            index -= 1
        return Index(index)

    def append(self, entries: Sequence[Entry]) -> None:
        """Put new entries at the end."""
        for entry in entries:
            if entry.index != self.last_index + 1:
                invariant(False, "appends leave no gap", last=self.last_index)
            self._entries.append(entry)
            self.last_index = entry.index

    def truncate(self, first: Index) -> None:
        """Delete every entry from `first` on."""
        invariant(first > self.snapshot, "a snapshot's entries stand", first=first, snapshot=self.snapshot)
        del self._entries[first - self.forgotten - 1 :]
        self.last_index = Index(first - 1)
        self._cut_disk(first)

    def _cut_disk(self, first: Index) -> None:
        if first <= self._handed_out:
            self._truncate_from = min(first, self._truncate_from or first)
            self._handed_out = Index(first - 1)
        self.stable = Index(min(self.stable, first - 1))

    def compact(self, index: Index, tail: int) -> None:
        """A snapshot stands for everything up to `index`: forget it, but for the last `tail` entries."""
        invariant(
            self.snapshot < index <= self.last_index, "a snapshot moves forward", at=index, was=self.snapshot
        )
        self.snapshot = index
        forgotten = Index(max(self.forgotten, index - tail))
        term = self.term_at(forgotten)
        assert term is not None
        del self._entries[: forgotten - self.forgotten]
        self.forgotten, self._forgotten_term = forgotten, term

    def restart(self, index: Index, term: Term) -> None:
        """A snapshot from elsewhere takes the place of everything: whatever is here contradicts it or ends before it."""
        self._cut_disk(Index(index + 1))
        self._entries.clear()
        self.forgotten, self._forgotten_term, self.snapshot = index, term, index
        self.last_index = self.stable = self._handed_out = index

    @property
    def unstable(self) -> bool:
        """Whether `take_unstable` has something to give."""
        return self._handed_out < self.last_index or self._truncate_from is not None

    def take_unstable(self) -> tuple[Index | None, Sequence[Entry]]:
        """What the next record must hold: where to truncate first, then the entries to put."""
        truncate_from, self._truncate_from = self._truncate_from, None
        entries = (
            self._entries[self._handed_out - self.forgotten :] if self._handed_out < self.last_index else ()
        )
        self._handed_out = self.last_index
        return truncate_from, entries

    def stable_to(self, index: Index, term: Term) -> bool:
        """Entries up to `index` are durable, if the log still holds (index, term) there. Tells whether it does."""
        if index > self.snapshot and self.term_at(index) != term:
            return False
        self.stable = max(self.stable, index)
        return True
