"""What becomes of a message on its way: delay, loss, duplication, reordering, cut links. It decides; the world delivers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from random import Random
from typing import Final

from incumbent.ids import NodeId

MS: Final = 1_000_000
STALE_DELAY_MAX_NS: Final = 3_000 * MS
"""How late a message may be that was held up somewhere: several elections."""
REGION_DELAYS_NS: Final = ((0, 30 * MS, 50 * MS), (30 * MS, 0, 40 * MS), (50 * MS, 40 * MS, 0))
"""One way, between three regions."""


class Topology(StrEnum):
    LAN = "lan"
    THREE_REGIONS = "three-regions"


class Network:
    def __init__(self, random: Random, names: Sequence[NodeId], topology: Topology) -> None:
        self.delay_min_ns = 100_000
        self.delay_span_ns = 900_000  # delays differ, so messages overtake each other
        self.loss = 0.0
        self.duplication = 0.0
        self.staleness = 0.0  # the share of messages that come very late
        self.cut: dict[tuple[NodeId, NodeId], int] = {}  # one way: from, to; and how many faults cut it
        self.dropped = 0
        self._chance: Callable[[], float] = random.random
        self._region = {name: number % 3 for number, name in enumerate(names)}
        self._far = topology is Topology.THREE_REGIONS

    def delays_ns(self, sender: NodeId, to: NodeId) -> Sequence[int]:
        """One delay for each copy that will arrive; none when the message is lost."""
        chance = self._chance
        if (self.cut and (sender, to) in self.cut) or (self.loss and chance() < self.loss):
            self.dropped += 1
            return ()
        if self.duplication and chance() < self.duplication:
            return (self._delay_ns(sender, to), self._delay_ns(sender, to))
        return (self._delay_ns(sender, to),)

    def _delay_ns(self, sender: NodeId, to: NodeId) -> int:
        span_ns = self.delay_span_ns
        if self.staleness and self._chance() < self.staleness:
            span_ns = STALE_DELAY_MAX_NS
        delay_ns = self.delay_min_ns + int(self._chance() * span_ns)
        if self._far:
            delay_ns += REGION_DELAYS_NS[self._region[sender]][self._region[to]]
        return delay_ns

    def cut_links(self, links: Sequence[tuple[NodeId, NodeId]]) -> None:
        for link in links:
            self.cut[link] = self.cut.get(link, 0) + 1

    def mend_links(self, links: Sequence[tuple[NodeId, NodeId]]) -> None:
        """Undo one cutting of them: what another fault cut as well stays cut. After `heal` there is nothing to undo."""
        for link in links:
            left = self.cut.get(link, 0) - 1
            if left > 0:
                self.cut[link] = left
            else:
                self.cut.pop(link, None)

    def heal(self) -> None:
        """Every link carries again, fast and without loss. What is on its way still comes."""
        self.cut.clear()
        self.loss = self.duplication = self.staleness = 0.0
        self.delay_span_ns = self.delay_min_ns
