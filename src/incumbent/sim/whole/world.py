"""A world of the whole gear: the same faults, clients and predicates as in the fast one, with real code in between."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Final

from incumbent.check.history import Kind
from incumbent.check.leadership import Fault, Verdict, judge
from incumbent.engines.cluster.engine import ClusterEngine
from incumbent.errors import invariant
from incumbent.ids import NodeId, RequestId
from incumbent.node.api import Outcome
from incumbent.sim.network import MS
from incumbent.sim.voter import Host, Voter
from incumbent.sim.whole.candidate import Candidate, Resource
from incumbent.sim.whole.link import SimLink
from incumbent.sim.whole.voter import WholeVoter
from incumbent.sim.world import Setting, World

CANDIDATES: Final = 3
TTL_S: Final = 0.4
LEADER_WITHIN_NS: Final = 15_000 * MS
"""After healing, somebody is elected through the leadership API, and writes, within this time."""


_SILENCE: Final = logging.NullHandler()


class WholeWorld(World):
    def __init__(self, setting: Setting) -> None:
        self.whole: dict[NodeId, WholeVoter] = {}
        logging.getLogger("incumbent").addHandler(_SILENCE)  # it all goes wrong on purpose
        super().__init__(replace(setting, candidates=0))
        self.resource = Resource(self.kernel)
        self._fenced = setting.seed % 2 == 0
        self._lives = 0
        for voter in list(self.whole.values())[:CANDIDATES]:
            voter.on_start = self._stand
            self._stand(voter)

    def make_voter(self, number: int, name: NodeId, host: Host, priority: int) -> Voter:
        voter = self.whole[name] = WholeVoter(
            number, name, host, priority=priority, answer=self.requests.ended
        )
        return voter

    def answered(self, voter: Voter, outcomes: Sequence[tuple[RequestId, Outcome]]) -> None:
        """The driver tells who asked it."""

    def crashed(self, voter: Voter) -> None:
        super().crashed(voter)
        self.resource.note(Kind.KILLED, process=self._name(voter))

    def _name(self, voter: Voter) -> str:
        return f"{voter.me}/{voter.lives}"

    def _stand(self, voter: WholeVoter) -> None:
        """A candidate in the voter's process, as an application has one."""
        link = SimLink(voter, self.whole, self.kernel, self.network)
        addresses: dict[str, tuple[str, int]] = {
            name: ("127.0.0.1", 7000 + each.number) for name, each in self.whole.items()
        }
        engine = ClusterEngine(link, cluster="sim", voters=lambda: addresses)
        name = self._name(voter)
        random = Random(f"{self.kernel.seed}/{name}")
        candidate = Candidate(voter, name, engine, self.resource, self.kernel, random)
        assert voter.process is not None
        voter.process.spawn(candidate.run(ttl_s=TTL_S, fenced=self._fenced))
        self.kernel.after(0, voter.process.run)

    def demand_more(self) -> None:
        _demand_a_leader(self)
        _judge(self)

    def close(self) -> None:
        for voter in self.whole.values():
            if voter.process is not None:
                voter.process.kill()


def _demand_a_leader(world: WholeWorld) -> None:
    until_ns = world.kernel.now_ns + LEADER_WITHIN_NS
    before = world.resource.accepted
    while world.resource.accepted == before:
        invariant(world.kernel.now_ns < until_ns, "liveness: nobody is elected after healing, or cannot act")
        world.run_for(100 * MS)


def _judge(world: WholeWorld) -> None:
    """Tokens rise, nothing stale is accepted, and while clocks keep their bound no two leaderships overlap."""
    found = judge(world.resource.history)
    beyond_bound = {Fault.OVERLAP, Fault.ACTED_OUTSIDE_TERM} if not world.elections.lawful else set()
    findings = [finding for finding in found.findings if finding.fault not in beyond_bound]
    invariant(not findings, f"leadership: {[finding.explanation for finding in findings[:3]]}")
    invariant(found.verdict is not Verdict.UNKNOWN, f"leadership: nothing can be said: {found.gaps}")
    world.elections.leaderships = len(found.leaderships)
