"""The replicated log of one voter: a contiguous run of entries, its newest part perhaps not yet durable. PURE.

    index:    1   2   3   4   5   6   7
    term:     1   1   2   2   2   3   3
              applied=2   commit=4
                              stable=5 (durable here)      last=7

`take_unstable` hands out what must be made durable next; `stable_to` takes note of it. An index that was handed out and
then truncated and rewritten before the write was acknowledged must not count as durable: hence the (index, term) check.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from incumbent.consensus.api import Entry
from incumbent.errors import invariant
from incumbent.ids import Index, Term


class Log:
    """Entries 1..last without gaps."""

    def __init__(self, saved: Mapping[Index, Entry]) -> None:
        self._entries: list[Entry] = [saved[index] for index in sorted(saved)]
        for position, entry in enumerate(self._entries, start=1):
            invariant(
                entry.index == position, "a saved log has no gaps", expected=position, found=entry.index
            )
        self.stable = self.last_index  # everything up to here is durable
        self._handed_out = self.last_index  # everything up to here is durable or on its way
        self._truncate_from: Index | None = (
            None  # the lowest durable index that was cut since the last record
        )

    @property
    def last_index(self) -> Index:
        return Index(len(self._entries))

    @property
    def last_term(self) -> Term:
        return self._entries[-1].term if self._entries else Term(0)

    def term_at(self, index: Index) -> Term | None:
        """The term of the entry at `index`; 0 for index 0; None past the end."""
        if index == 0:
            return Term(0)
        return self._entries[index - 1].term if index <= len(self._entries) else None

    def between(self, first: int, last: int) -> Sequence[Entry]:
        """Entries first..last, both included."""
        return self._entries[first - 1 : last]

    def first_index_of(self, term: Term, at: Index) -> Index:
        """The first index of the run of `term` that reaches `at` (the conflict hint of the paper's section 5.3)."""
        index: int = at
        while index > 1 and self._entries[index - 2].term == term:
            index -= 1
        return Index(index)

    def last_index_of_term_at_most(self, term: Term, at: Index) -> Index:
        """The last index <= `at` whose term is at most `term`; 0 when there is none."""
        index: int = min(at, self.last_index)
        while index > 0 and self._entries[index - 1].term > term:
            index -= 1
        return Index(index)

    def append(self, entries: Sequence[Entry]) -> None:
        """Put new entries at the end."""
        for entry in entries:
            invariant(
                entry.index == self.last_index + 1,
                "appends leave no gap",
                last=self.last_index,
                entry=entry.index,
            )
            self._entries.append(entry)

    def truncate(self, first: Index) -> None:
        """Delete every entry from `first` on."""
        del self._entries[first - 1 :]
        if first <= self._handed_out:
            self._truncate_from = min(first, self._truncate_from or first)
            self._handed_out = Index(first - 1)
        self.stable = Index(min(self.stable, first - 1))

    def take_unstable(self) -> tuple[Index | None, Sequence[Entry]]:
        """What the next record must hold: where to truncate first, then the entries to put."""
        truncate_from, self._truncate_from = self._truncate_from, None
        entries = self._entries[self._handed_out :]
        self._handed_out = self.last_index
        return truncate_from, entries

    def stable_to(self, index: Index, term: Term) -> bool:
        """Entries up to `index` are durable, if the log still holds (index, term) there. Tells whether it does."""
        if self.term_at(index) != term:
            return False
        self.stable = max(self.stable, index)
        return True
