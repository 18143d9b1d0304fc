"""What a start makes of the files that it finds."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from incumbent.consensus.api import Entry
from incumbent.errors import StorageCorrupt
from incumbent.ids import Index
from incumbent.runtime.storage.records import SnapshotMeta, Stored
from incumbent.runtime.storage.segments import ADVICE, SUFFIX, Segment


@dataclass(slots=True)
class Effect:
    """What all records together leave behind, in the order of consensus.api.Record."""

    hard_state: bytes | None = None
    meta: SnapshotMeta | None = None
    oldest: int = 1
    entries: dict[Index, Entry] = field(default_factory=dict)

    def take(self, stored: Stored) -> None:
        if stored.hard_state is not None:
            self.hard_state = stored.hard_state
        if stored.oldest is not None:
            self.oldest = stored.oldest
        if stored.snapshot is not None and stored.snapshot != self.meta:
            self.meta = stored.snapshot
            self._drop([index for index in self.entries if index <= stored.snapshot.index])
        if stored.truncate_from is not None:
            self._drop([index for index in self.entries if index >= stored.truncate_from])
        for entry in stored.entries:
            self.entries[entry.index] = entry

    def _drop(self, indexes: list[Index]) -> None:
        for index in indexes:
            del self.entries[index]


def newest_run(directory: Path) -> tuple[list[Path], list[Path]]:
    """The segments that follow each other up to the newest, and those before a gap."""
    paths = sorted(directory.glob("*" + SUFFIX))
    first = len(paths) - 1
    while first > 0 and int(paths[first - 1].stem) == int(paths[first].stem) - 1:
        first -= 1
    first = max(first, 0)
    return paths[first:], paths[:first]


def check_chain(one: Segment, following: Segment) -> None:
    """Raises StorageCorrupt unless the second begins where the first ends."""
    end, start = one.at, following.start
    if (end.batch, end.chain) != (start.batch, start.chain):
        raise StorageCorrupt(
            f"{one.path}: the record at offset {end.offset} is bad, and {following.path.name} was written after it had "
            f"been acknowledged; {ADVICE}"
        )
