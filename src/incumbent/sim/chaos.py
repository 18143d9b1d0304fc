"""What goes wrong in a world, drawn from its seed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from incumbent.ids import NodeId
from incumbent.sim.voter import Voter
from incumbent.sim.world import World

MS: Final = 1_000_000
FAULT_GAP_MAX_NS: Final = 400 * MS
OUTAGE_MAX_NS: Final = 1_500 * MS
CLIENT_GAP_MAX_NS: Final = 40 * MS


class Chaos:
    """The faults of one run: which kinds, how often, how bad. All of it is drawn from the seed, so that some runs see
    one kind of fault only and some see everything."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.random = world.random
        self.over = False
        self.counts: dict[str, int] = {}
        alone: dict[str, Callable[[], None]] = {
            "crash": self._crash,
            "crash_leader": self._crash_leader,
            "pause": self._pause,
        }
        between: dict[str, Callable[[], None]] = {
            "isolate_leader": self._isolate_leader,
            "split": self._split,
            "one_way": self._one_way,
            "false_hint": self._false_hint,
            "ambush": self._ambush,
        }
        kinds = alone if len(world.names) == 1 else alone | between
        chosen = self.random.sample(list(kinds), self.random.randint(2, len(kinds)))
        self._kinds = [(name, kinds[name]) for name in chosen]
        world.fsync_max_ns = self.random.choice((200_000, 2 * MS, 30 * MS))
        network = world.network
        network.delay_max_ns = self.random.choice((300_000, 2 * MS, 60 * MS))
        network.loss = self.random.choice((0.0, 0.0, 0.02, 0.15))
        network.duplication = self.random.choice((0.0, 0.05, 0.3))
        network.staleness = self.random.choice((0.0, 0.0, 0.02))
        self._later(self._fault)
        self._later(self._client)

    def _later(self, call: Callable[[], None]) -> None:
        gap_ns = CLIENT_GAP_MAX_NS if call == self._client else FAULT_GAP_MAX_NS
        self.world.kernel.after(self.random.randrange(gap_ns), call)

    def _fault(self) -> None:
        if not self.over:
            name, fault = self.random.choice(self._kinds)
            self.counts[name] = self.counts.get(name, 0) + 1
            self.world.trace.world(name)
            fault()
            self._later(self._fault)

    def _client(self) -> None:
        """Ask anybody, the leader more often; some clients send several requests at once."""
        running = self.world.running()
        voter = self.world.leader() if self.random.random() < 0.7 else None
        if voter is None and running:
            voter = self.random.choice(running)
        if voter is not None:
            for _ in range(self.random.choice((1, 1, 1, 5))):
                ask = self.world.propose if self.random.random() < 0.6 else self.world.read
                ask(voter)
        if not self.over:
            self._later(self._client)

    def _outage_ns(self) -> int:
        return self.random.randrange(OUTAGE_MAX_NS)

    # --- the kinds -----------------------------------------------------------------------------------------------

    def _crash(self, voter: Voter | None = None) -> None:
        running = self.world.running()
        if voter is None and running:
            voter = self.random.choice(running)
        if voter is not None:
            self.world.crash(voter)
            self.world.kernel.after(self._outage_ns(), self._restart, voter)

    def _restart(self, voter: Voter) -> None:
        if voter.replica is None:
            voter.start()

    def _crash_leader(self) -> None:
        self._crash(self.world.leader())

    def _pause(self) -> None:
        voter = self.random.choice(list(self.world.voters.values()))
        voter.pause()
        self.world.kernel.after(self._outage_ns(), voter.resume)

    def _cut(self, links: set[tuple[NodeId, NodeId]]) -> None:
        """Cut links for a while. An outage that overlaps with another may end it early: all the better."""
        self.world.network.cut |= links
        self.world.kernel.after(self._outage_ns(), self.world.network.cut.difference_update, links)

    def _cut_sides(self, here: list[NodeId]) -> None:
        there = [name for name in self.world.names if name not in here]
        self._cut({link for a in here for b in there for link in ((a, b), (b, a))})

    def _isolate_leader(self) -> None:
        leader = self.world.leader()
        if leader is not None:
            self._cut_sides([leader.me])

    def _split(self) -> None:
        self._cut_sides(
            self.random.sample(self.world.names, self.random.randint(1, len(self.world.names) // 2))
        )

    def _one_way(self) -> None:
        a, b = self.random.sample(self.world.names, 2)
        self._cut({(a, b)})

    def _false_hint(self) -> None:
        leader = self.world.leader()
        if leader is not None:
            self.world.hint(self.world.voters[self.random.choice(self.world.others(leader.me))], leader.me)

    def _ambush(self) -> None:
        """Crash somebody in the middle of a write that holds a vote AND entries, and cut off the leader."""

        for voter in self.world.running():
            voter.ambushed = partial(self._strike, voter)

    def _strike(self, voter: Voter) -> None:
        self._isolate_leader()
        self._crash(voter)

    # --- the end -------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Everyone runs, every link carries, every disk is fast. What is on its way still comes."""
        self.over = True
        self.world.network.heal()
        self.world.fsync_max_ns = 2 * MS
        for voter in self.world.voters.values():
            voter.ambushed = None
            voter.resume()
            self._restart(voter)
