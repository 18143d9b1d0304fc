"""A world of voters: the kernel, the network, the disks, clients, and everyone who watches."""

from __future__ import annotations

from typing import Final

from incumbent.consensus.api import (
    Envelope,
    Membership,
    PeerLost,
    Proposed,
    ReadRequested,
    Received,
    Role,
    Timing,
)
from incumbent.consensus.raft.replica import Raft
from incumbent.ids import NodeId, RequestId
from incumbent.sim.checkers import Checkers
from incumbent.sim.disk import SimDisk
from incumbent.sim.kernel import Kernel
from incumbent.sim.network import Network
from incumbent.sim.observe import Panel, ReadInvoked, Sending
from incumbent.sim.trace import Trace
from incumbent.sim.voter import Host, ReplicaFactory, Voter

HINT_DELAY_MAX_NS: Final = 2_000_000
"""How late the others learn that a process closed its connections."""


class World:
    def __init__(
        self, seed: int, nodes: int, *, factory: ReplicaFactory = Raft, timing: Timing = Timing()
    ) -> None:
        self.kernel = Kernel(seed)
        self.random = self.kernel.random
        self.network = Network(self.random)
        self.fsync_max_ns = 2_000_000
        self.names = [NodeId(f"n{number}") for number in range(1, nodes + 1)]
        self.voters: dict[NodeId, Voter] = {}
        disks: dict[NodeId, SimDisk] = {}
        self.trace = Trace(self.kernel)
        self.checkers = Checkers(disks)
        host = Host(
            kernel=self.kernel,
            factory=factory,
            membership=Membership(frozenset(self.names)),
            timing=timing,
            fsync_ns=self._fsync_ns,
            send=self._send,
            observer=Panel([*self.checkers.all, self.trace]),
        )
        self.timing = timing
        self._observer = host.observer
        self._requests = 0
        for name in self.names:
            self.voters[name] = Voter(name, host)
            disks[name] = self.voters[name].disk
        for voter in self.voters.values():
            voter.start()

    # --- what voters stand on ------------------------------------------------------------------------------------

    def _fsync_ns(self) -> int:
        return self.random.randrange(100_000, self.fsync_max_ns + 1)

    def _send(self, sender: NodeId, envelope: Envelope) -> None:
        self._observer.sending(Sending(sender, envelope))
        for delay_ns in self.network.delays_ns(sender, envelope.to):
            self.kernel.after(delay_ns, self.voters[envelope.to].take, Received(sender, envelope.message))

    # --- clients -------------------------------------------------------------------------------------------------

    def propose(self, voter: Voter) -> RequestId:
        request = self._request()
        voter.take(Proposed(request, b"%d" % request))
        return request

    def read(self, voter: Voter) -> RequestId:
        request = self._request()
        self._observer.read_invoked(ReadInvoked(request))
        voter.take(ReadRequested(request))
        return request

    def _request(self) -> RequestId:
        self._requests += 1
        return RequestId(self._requests)

    # --- what is done to voters ----------------------------------------------------------------------------------

    def running(self) -> list[Voter]:
        return [voter for voter in self.voters.values() if voter.replica is not None]

    def leader(self) -> Voter | None:
        """Whoever leads the highest term."""
        leaders = [
            (voter.replica.status().term, voter.me)
            for voter in self.running()
            if voter.replica is not None and voter.replica.status().role is Role.LEADER
        ]
        return self.voters[max(leaders)[1]] if leaders else None

    def crash(self, voter: Voter) -> None:
        """Kill the process. Its connections close, and some of the others notice."""
        voter.crash()
        for other in self.running():
            if self.random.random() < 0.7:
                self.hint(other, voter.me)

    def hint(self, voter: Voter, lost: NodeId) -> None:
        """Tell `voter`, rightly or wrongly, that `lost` closed its connections."""
        self.kernel.after(self.random.randrange(HINT_DELAY_MAX_NS), voter.take, PeerLost(lost))

    def others(self, one: NodeId) -> list[NodeId]:
        return [name for name in self.names if name != one]

    def run_for(self, duration_ns: int) -> None:
        until_ns = self.kernel.now_ns + duration_ns
        while self.kernel.now_ns < until_ns:
            self.kernel.run_one()
