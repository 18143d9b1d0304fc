"""What goes wrong in a world, drawn from its seed: which kinds, how often, how bad.

Every fault has a number in its run, and leaving one out leaves the others what they are: so a failing run is made smaller.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import replace
from functools import partial
from random import Random
from typing import Final

from incumbent.consensus.api import MembershipChange, Timing
from incumbent.ids import NodeId
from incumbent.node.node import Limits
from incumbent.sim.network import MS, Topology
from incumbent.sim.plans import PLANS, STRIKES, WEATHER
from incumbent.sim.voter import Voter
from incumbent.sim.world import Setting, World, small_limits

FAULT_GAPS_MAX_NS: Final = (400 * MS, 1_000 * MS, 2_500 * MS)
OUTAGE_MAX_NS: Final = 1_500 * MS
DIGEST_ENTRIES_MIN: Final = 50
DIGEST_ENTRIES_PER_VOTER: Final = 10
"""So that every run compares states several times, and the reports are few among the entries."""
KINDS_MIN: Final = 3
"""Of faults, in every seed whose plan has as many."""
STALL_NS: Final = 2_500 * MS
RATE_BOUND_PPM: Final = 1_000

NEEDS_OTHERS: Final = frozenset(
    {"isolate_leader", "split", "one_way", "pair", "false_hint", "change", "transfer", "bit_flip"}
)


def choose(random: Random, plan: str, nodes: int) -> tuple[str, ...]:
    """The kinds of one run, at least `KINDS_MIN` of the plan where it has so many."""
    kinds = [kind for kind in PLANS[plan] if nodes > 1 or kind not in NEEDS_OTHERS]
    chosen = random.sample(kinds, random.randint(min(KINDS_MIN, len(kinds)), len(kinds)))
    if "change" in chosen and "bit_flip" in chosen:
        chosen.remove(
            "bit_flip"
        )  # a voter that is gone for ever, and a smaller membership: nobody could go on
    return tuple(chosen)


def setting(
    seed: int,
    *,
    nodes: int,
    topology: Topology,
    kinds: Collection[str],
    trace: bool,
    events_max: int,
) -> Setting:
    """The world that these kinds of faults come to."""
    random = Random(f"{seed}/setting")
    limits = Limits()
    if "snapshots" in kinds:
        limits = small_limits(
            random.choice((12, 40, 120)), random.choice((64, 700)), random.choice((0, 3, 30))
        )
    digest_entries = max(DIGEST_ENTRIES_MIN, DIGEST_ENTRIES_PER_VOTER * nodes)
    limits = replace(limits, digest_entries=digest_entries)
    far = topology is Topology.THREE_REGIONS
    # Timeouts spread with the number of voters, or they would split their votes for ever.
    scale = (4 if far else 1) * (1 + nodes // 20)
    timing = Timing(
        heartbeat_ns=scale * 40 * MS,
        election_timeout_min_ns=scale * 150 * MS,
        election_timeout_max_ns=scale * 300 * MS,
        adaptive_max_ns=random.choice((0, 0, scale * 600 * MS)),
        preemption_delay_ns=random.choice((1_000, 10_000)) * MS,
        commit_delay_ns=seed % 2 * MS,
    )
    spares = 2 if "change" in kinds else 0
    return Setting(
        seed=seed,
        nodes=nodes,
        topology=topology,
        spares=spares,
        witness=nodes >= 3 and random.random() < 0.15,
        priorities=tuple(random.choice((0, 0, 0, 1, 2)) for _ in range(nodes + spares)),
        timing=timing,
        limits=limits,
        clients=random.choice((1, 3, 5)),
        candidates=random.choice((2, 3)),
        client_drift_ppm=RATE_BOUND_PPM if "drift" in kinds else 0,
        events_max=events_max,
        trace=trace,
    )


class Chaos:
    def __init__(self, world: World, kinds: Collection[str], skipped: Collection[int] = ()) -> None:
        self.world = world
        self.kinds = kinds
        self.over = False
        self.counts: Counter[str] = Counter()
        self.strikes = 0
        self._skipped = skipped
        self._random = world.kernel.stream("chaos")
        self._gap_max_ns = self._random.choice(FAULT_GAPS_MAX_NS)
        self._strikes: list[tuple[str, Callable[[Random], None]]] = [
            (kind, getattr(self, f"_{kind}")) for kind in STRIKES if kind in kinds
        ]
        for kind in WEATHER:
            if kind in kinds:
                getattr(self, f"_{kind}")(self._random)
                self.counts[kind] += 1
        world.fsync_max_ns = self._random.choice((200_000, 2 * MS, 2 * MS, 30 * MS))
        if self._strikes:
            self._later()

    def _later(self) -> None:
        self.world.kernel.after(int(self._random.random() * self._gap_max_ns), self._strike)

    def _strike(self) -> None:
        if self.over:
            return
        self.strikes += 1
        kind, strike = self._random.choice(self._strikes)
        fate = Random(self._random.getrandbits(64))  # of this fault alone
        self._later()
        if self.strikes in self._skipped:
            return
        self.counts[kind] += 1
        if self.world.trace is not None:
            self.world.trace.world(f"fault {self.strikes}: {kind}")
        strike(fate)

    def _after(
        self, fate: Random, call: Callable[..., None], *args: object, most_ns: int = OUTAGE_MAX_NS
    ) -> None:
        self.world.kernel.after(int(fate.random() * most_ns), call, *args)

    def _any(self, fate: Random) -> Voter:
        return self.world.voters[fate.choice(self.world.names)]

    # --- processes -----------------------------------------------------------------------------------------------

    def _crash(self, fate: Random, voter: Voter | None = None) -> None:
        voter = voter or self._any(fate)
        if voter.node is not None:
            self.world.crash(voter)
            self._after(fate, self._restart, voter)

    def _restart(self, voter: Voter) -> None:
        if voter.node is None and not voter.gone:
            voter.start()

    def _crash_leader(self, fate: Random) -> None:
        leader = self.world.leader()
        if leader is not None:
            self._crash(fate, leader)

    def _pause(self, fate: Random, voter: Voter | None = None) -> None:
        voter = voter or self._any(fate)
        self.world.leader_fails(voter)
        voter.pause()
        self._after(fate, voter.resume)

    def _pause_leader(self, fate: Random) -> None:
        leader = self.world.leader()
        if leader is not None:
            self._pause(fate, leader)

    def _ambush(self, fate: Random) -> None:
        """Crash somebody in the middle of a write that holds a vote AND entries, and cut off the leader."""
        for voter in self.world.running():
            voter.ambushed = partial(self._spring, voter, fate)

    def _spring(self, voter: Voter, fate: Random) -> None:
        self._isolate_leader(fate)
        self._crash(fate, voter)

    # --- disks ---------------------------------------------------------------------------------------------------

    def _disk_error(self, fate: Random) -> None:
        """The write in flight fails, and with it the process: a restart finds all of it or nothing."""
        writing = [voter for voter in self.world.running() if voter.writing is not None]
        if writing:
            self._crash(fate, fate.choice(writing))

    def _bit_flip(self, fate: Random) -> None:
        """A record on a disk is damaged. The voter finds out at its next start, and votes no more."""
        gone = sum(voter.gone for voter in self.world.voters.values())
        voter = self._any(fate)
        if 2 * (gone + 1) < self.world.setting.nodes and not voter.gone and not self.world.setting.witness:
            voter.gone = True
            self.world.crash(voter)

    def _slow_disk(self, fate: Random) -> None:
        self._set_disk(self._any(fate), fate, 80 * MS)

    def _stalled_disk(self, fate: Random) -> None:
        self._set_disk(self.world.leader() or self._any(fate), fate, STALL_NS)

    def _full_disk(self, fate: Random) -> None:
        """Nothing can be written: the process stops at its next write, and again after each start until there is room."""
        voter = self._any(fate)
        voter.ambushed = None
        if voter.node is not None:
            self.world.crash(voter)
            self._after(fate, self._restart, voter, most_ns=2 * OUTAGE_MAX_NS)

    def _set_disk(self, voter: Voter, fate: Random, fsync_max_ns: int) -> None:
        voter.fsync_max_ns = fsync_max_ns
        self._after(fate, self._mend_disk, voter)

    def _mend_disk(self, voter: Voter) -> None:
        voter.fsync_max_ns = None

    # --- links ---------------------------------------------------------------------------------------------------

    def _cut(self, fate: Random, links: list[tuple[NodeId, NodeId]]) -> None:
        self.world.network.cut_links(links)
        self._after(fate, self.world.network.mend_links, links)

    def _cut_sides(self, fate: Random, here: list[NodeId]) -> None:
        there = [name for name in self.world.names if name not in here]
        self._cut(fate, [link for a in here for b in there for link in ((a, b), (b, a))])

    def _isolate_leader(self, fate: Random) -> None:
        leader = self.world.leader()
        if leader is not None:
            self.world.leader_fails(leader)
            self._cut_sides(fate, [leader.me])

    def _split(self, fate: Random) -> None:
        names = self.world.names
        self._cut_sides(fate, fate.sample(names, fate.randint(1, len(names) // 2)))

    def _one_way(self, fate: Random) -> None:
        a, b = fate.sample(self.world.names, 2)
        self._cut(fate, [(a, b)])

    def _pair(self, fate: Random) -> None:
        """Two that cannot talk to each other while everybody talks to both."""
        a, b = fate.sample(self.world.names, 2)
        self._cut(fate, [(a, b), (b, a)])

    def _false_hint(self, fate: Random) -> None:
        leader = self.world.leader()
        if leader is not None:
            self.world.hint(self.world.voters[fate.choice(self.world.others(leader.me))], leader.me)

    # --- operators -----------------------------------------------------------------------------------------------

    def _change(self, fate: Random) -> None:
        """Ask the leader for a membership that is one step away from the present one."""
        leader = self.world.leader()
        if leader is None or leader.standing is None:
            return
        present = leader.standing.membership
        voters, learners = set(present.voters), set(present.learners)
        name = fate.choice(self.world.names)
        if name in learners:
            learners.discard(name)
            voters.add(name)
        elif name not in voters:
            learners.add(name)
        elif len(voters) > max(2, self.world.setting.nodes - 2):
            voters.discard(name)
            if fate.random() < 0.5 and name not in present.witnesses:
                learners.add(name)
        witnesses = present.witnesses & (voters | learners)
        change = MembershipChange(frozenset(voters), frozenset(learners), witnesses)
        request = self.world.requests.open(lambda _: None)
        leader.ask(lambda node, now_ns: node.change_membership(request, change, now_ns))

    def _transfer(self, fate: Random) -> None:
        leader = self.world.leader()
        if leader is not None:
            to = fate.choice(self.world.names)
            request = self.world.requests.open(lambda _: None)
            leader.ask(lambda node, now_ns: node.transfer(request, to, now_ns))

    # --- the weather of a run ------------------------------------------------------------------------------------

    def _loss(self, random: Random) -> None:
        self.world.network.loss = random.choice((0.01, 0.05, 0.15))

    def _duplication(self, random: Random) -> None:
        self.world.network.duplication = random.choice((0.05, 0.3))

    def _reordering(self, random: Random) -> None:
        self.world.network.delay_span_ns = random.choice((5 * MS, 20 * MS, 60 * MS))

    def _staleness(self, random: Random) -> None:
        self.world.network.staleness = random.choice((0.002, 0.02))

    def _drift(self, random: Random) -> None:
        """Within the bound that leases count on."""
        for voter in self.world.voters.values():
            voter.drift(random.choice((-RATE_BOUND_PPM, 0, RATE_BOUND_PPM)))

    def _clock_jump(self, random: Random) -> None:
        """Beyond the bound: a clock that leaps ahead. Terms and logs do not care; leases cannot."""
        self.world.elections.lawful = False
        for voter in self.world.voters.values():
            if random.random() < 0.5:
                self.world.kernel.after(
                    random.randrange(4_000 * MS), self._jump, voter, random.randrange(5_000 * MS)
                )

    def _jump(self, voter: Voter, by_ns: int) -> None:
        if not self.over:
            voter.offset_ns += by_ns

    def _old_frames(self, random: Random) -> None:
        self.world.outdated = set(random.sample(self.world.names, max(1, len(self.world.names) // 2)))

    def _snapshots(self, random: Random) -> None:
        """The setting has small limits, so that logs are forgotten and followers fall behind."""
        self.world.corruption = random.choice((0.0, 0.2))

    # --- the end -------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Everyone runs, every link carries, every disk is fast. What is on its way still comes."""
        self.over = True
        world = self.world
        world.network.heal()
        world.outdated.clear()
        world.corruption = 0.0
        world.fsync_max_ns = 2 * MS
        for voter in world.voters.values():
            voter.ambushed, voter.fsync_max_ns = None, None
            voter.resume()
            self._restart(voter)
