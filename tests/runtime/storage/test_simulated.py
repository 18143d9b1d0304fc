"""The simulated disk does what the real one does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import pytest
from tests.runtime.storage.suite import CHECKS, Bench

from incumbent.consensus.api import Record, Saved, Snapshot
from incumbent.errors import StorageFailed
from incumbent.ids import Index
from incumbent.ports import Storage
from incumbent.sim.disk import SimDisk


class OnSimDisk:
    """ports.Storage as the laboratory uses its disk."""

    def __init__(self, disk: SimDisk) -> None:
        self._disk = disk
        self._open = False

    @property
    def snapshot(self) -> Snapshot | None:
        return self._disk.snapshot

    def load(self) -> Saved:
        self._open = True
        return self._disk.saved()

    def persist(self, records: Sequence[Record]) -> None:
        if not self._open:
            raise StorageFailed("not between load and close")
        for record in records:
            self._disk.apply(record)

    def write_snapshot(self, _: Index, chunks: Iterable[bytes]) -> bytes:
        return b"".join(chunks)

    def close(self) -> None:
        self._open = False


@dataclass
class Simulated:
    disk: SimDisk = field(default_factory=SimDisk)

    def open(self) -> Storage:
        return OnSimDisk(self.disk)

    def crash(self) -> None:
        """A simulated process leaves nothing behind but its disk."""


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_storage_suite(check: Callable[[Bench], None]) -> None:
    check(Simulated())
