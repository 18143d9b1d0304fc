"""What the runtime must bring: a clock, a disk, a network. Signatures and promises; no code.

Each port is defined by its conformance suite; the real and the simulated ones run the same one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:  # whoever wants a clock alone pays for no protocol
    from incumbent.consensus.api import Blob, Envelope, Message, Record, Saved, Snapshot
    from incumbent.ids import Index, NodeId


class Clock(Protocol):
    """A clock that counts suspend, never steps, and is rate-bounded (PROTOCOLS 2.1, 2.2)."""

    def now_ns(self) -> int: ...


class Storage(Protocol):
    """The durable record stream of one voter."""

    def load(self) -> Saved:
        """The effect of all durable records. Cuts a torn tail.

        Raises StorageCorrupt when a bad record has good ones behind it.
        """
        ...

    def persist(self, records: Sequence[Record]) -> None:
        """Append all `records` and make them durable with one fsync. Blocking. When it returns, every one survives a
        power cut; after a crash in the middle a prefix of them survives, each whole.

        Raises StorageFailed on the first write or fsync error; the storage is unusable from then on.
        """
        ...

    @property
    def snapshot(self) -> Snapshot | None:
        """The newest durable one, with a state that can be read in parts."""
        ...

    def write_snapshot(self, index: Index, chunks: Iterable[bytes]) -> Blob:
        """A durable copy of `chunks`, the machine's state after `index`: what a later Record's snapshot names as its state.
        Blocking; unlike all else it may be called in a thread beside persist(). Raises StorageFailed."""
        ...

    def close(self) -> None: ...


class Transport(Protocol):
    """Best-effort datagrams between voters: may lose, delay, duplicate, reorder. Never blocks, never raises for a
    peer's fault. Queues are bounded; what does not fit is dropped and counted."""

    def start(
        self, on_message: Callable[[NodeId, Message], None], on_peer_lost: Callable[[NodeId], None]
    ) -> None: ...

    def send(self, envelopes: Sequence[Envelope]) -> None: ...
