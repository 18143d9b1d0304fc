"""One node of a story: a replica, its disk, and the driver's duties done in the open."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final, NamedTuple

from incumbent.consensus.api import (
    Committed,
    Envelope,
    Event,
    Membership,
    Ready,
    Record,
    ReplicaLimits,
    Timing,
)
from incumbent.consensus.raft.replica import Raft
from incumbent.errors import invariant
from incumbent.ids import NodeId
from incumbent.sim.disk import SimDisk
from incumbent.sim.stories import words

READIES_MAX: Final = 100
"""After one event; a replica that still has something to do never comes to rest."""

Send = Callable[[NodeId, Sequence[Envelope]], list["Part"]]


class Part(NamedTuple):
    """A piece of what a step did. `routine` is what a healthy cluster does all the time: a heartbeat, its answer."""

    text: str
    routine: bool = False


class Fixed(Random):
    """Always the same draw, so that people can reckon with a node's election timeout."""

    def __init__(self, draw: float) -> None:
        super().__init__(0)
        self._draw = draw

    def random(self) -> float:
        return self._draw


@dataclass(frozen=True, slots=True)
class Terms:
    """What all nodes of a story have in common."""

    membership: Membership
    timing: Timing
    limits: ReplicaLimits


class Actor:
    def __init__(self, me: NodeId, terms: Terms, *, draw: float, priority: int) -> None:
        self.me = me
        self.terms = terms
        self.disk = SimDisk()
        self.stalled = False  # nothing that is being written becomes durable
        self.raft: Raft | None = None  # None: not running
        self.outstanding: Ready | None = None
        self.applied: list[Committed] = []  # by the last step
        self._draw = draw
        self._priority = priority

    def start(self, now_ns: int) -> None:
        """Begin a life with what the disk holds."""
        self.outstanding = None
        terms = self.terms
        self.raft = Raft(
            self.me, terms.membership, self.disk.saved(), random=Fixed(self._draw), now_ns=now_ns, timing=terms.timing,
            limits=terms.limits, priority=self._priority,
        )  # fmt: skip

    def stop(self) -> None:
        """Everything that is not durable is gone."""
        self.raft, self.outstanding = None, None

    def step(self, event: Event, now_ns: int, send: Send) -> list[Part]:
        """Take an event and do what comes of it, as far as the disk allows."""
        assert self.raft is not None
        self.raft.step(event, now_ns)
        if self.outstanding is not None:
            return [Part("waits for the disk", routine=True)]
        return self.duties(send)

    def duties(self, send: Send) -> list[Part]:
        """The driver's duties in their order, until nothing is left to do or the disk stalls."""
        assert self.raft is not None
        parts: list[Part] = []
        for _ in range(READIES_MAX):
            ready = self.outstanding = self.raft.ready()
            if ready is None:
                return parts
            parts += [Part(words.of_note(note)) for note in ready.notes]
            parts += send(self.me, ready.now)
            if self.stalled and ready.record is not None:
                return [*parts, Part(f"writing {words.of_record(ready.record)}")]
            parts += self.finish(send)
        invariant(False, "a replica comes to rest", node=self.me)
        return parts

    def finish(self, send: Send) -> list[Part]:
        """The record is durable: send what rests on it, apply, and tell the replica."""
        parts = self.write() + self.send_rest(send)
        assert self.raft is not None
        assert self.outstanding is not None
        ready, self.outstanding = self.outstanding, None
        parts += [Part(text) for text in self._outputs(ready)]
        self.applied += ready.committed
        self.raft.advance(self.disk.snapshot if ready.record and ready.record.snapshot else None)
        return parts

    def write(self) -> list[Part]:
        """What is being written becomes durable."""
        assert self.outstanding is not None
        record = self.outstanding.record
        if record is None:
            return []
        nothing_new = record == Record(hard_state=self.disk.hard_state)  # an idle leader tries its disk
        self.disk.apply(record)
        return [Part(f"durable {words.of_record(record)}", nothing_new)]

    def send_rest(self, send: Send) -> list[Part]:
        """What had to wait for the write leaves."""
        assert self.outstanding is not None
        return send(self.me, self.outstanding.messages)

    def _outputs(self, ready: Ready) -> list[str]:
        parts: list[str] = []
        if ready.install is not None and self.disk.snapshot is not None:
            parts.append(
                f"machine reset to {ready.install.index} {words.of_data(self.disk.snapshot.state[:])}"
            )
        if ready.committed:
            parts.append(f"applies {words.of_committed(ready.committed)}")
        parts += [f"#{request} placed at {index}/{term}" for request, index, term in ready.placed]
        parts += [f"#{request} refused: {why.value}" for request, why in ready.refused]
        parts += [f"#{request} may read at {index}" for request, index in ready.reads]
        parts += [f"#{request} transferred" for request in ready.transferred]
        if ready.leadership is not None:
            parts.append(f"now {words.of_leadership(ready.leadership)}")
        return parts
