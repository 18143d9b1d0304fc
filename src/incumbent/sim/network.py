"""What becomes of a message on its way: delay, loss, duplication, reordering, cut links. It decides; the world delivers."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Final

from incumbent.ids import NodeId

STALE_DELAY_MAX_NS: Final = 3_000_000_000
"""How late a message may be that was held up somewhere: several elections."""


@dataclass(slots=True)
class Network:
    random: Random
    delay_min_ns: int = 100_000
    delay_max_ns: int = 1_000_000  # delays differ, so messages overtake each other
    loss: float = 0.0
    duplication: float = 0.0
    staleness: float = 0.0  # the share of messages that come very late
    cut: set[tuple[NodeId, NodeId]] = field(default_factory=set)  # one way: from, to

    def delays_ns(self, sender: NodeId, to: NodeId) -> list[int]:
        """One delay for each copy that will arrive; none when the message is lost."""
        if (sender, to) in self.cut or self.random.random() < self.loss:
            return []
        copies = 2 if self.random.random() < self.duplication else 1
        return [self._delay_ns() for _ in range(copies)]

    def _delay_ns(self) -> int:
        longest = STALE_DELAY_MAX_NS if self.random.random() < self.staleness else self.delay_max_ns
        return self.random.randrange(self.delay_min_ns, longest + 1)

    def heal(self) -> None:
        """Every link carries again, fast and without loss. What is on its way still comes."""
        self.cut.clear()
        self.loss = self.duplication = self.staleness = 0.0
        self.delay_max_ns = 2 * self.delay_min_ns
