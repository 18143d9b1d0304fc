"""What is done to the nodes, and how long each took to get over."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from incumbent.cli.demo.nodes import WAIT_S_MAX, DemoFailed, Message, Nodes, wait_ms
from incumbent.cli.demo.recorder import CLOCK

ATTEMPTS_MAX: Final = 5
"""On a busy machine a leader may lose its lease in the very moment when something is to be done to it; then again."""

ARRANGE_MAX: Final = 20


class Kind(StrEnum):
    HOLDER_KILLED = "holder_killed"  # SIGKILL of the process that leads the election
    RAFT_LEADER_KILLED = "raft_leader_killed"  # SIGKILL of the process whose voter leads the cluster
    HOLDER_STOPPED = "holder_stopped"  # SIGSTOP past the TTL, then SIGCONT, with one write past its check
    RAFT_LEADER_STOPPED = "raft_leader_stopped"  # SIGSTOP until the others go on, then SIGCONT
    RESIGNED = "resigned"  # the leader gives up


@dataclass(frozen=True, slots=True)
class Failover:
    kind: Kind
    ms: float
    """From the signal (or the resignation) to the successor's first write at the resource; where the Raft leader did not
    lead the election, to the next linearizable read."""
    node: str
    both_roles: bool  # whether that node led the election and the Raft cluster
    token: int  # of the leader afterwards


@dataclass(frozen=True, slots=True)
class Roles:
    holder: str
    raft_leader: str
    token: int


@dataclass(slots=True)
class Scoreboard:
    """What is known from the outside: who leads, and since when the resource takes the token."""

    leader: str = ""
    token: int = 0
    first_accepted: dict[int, int] = field(default_factory=dict)  # token → time in ns
    _owner: dict[int, str] = field(default_factory=dict)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def on_line(self, name: str, message: Message) -> None:
        if message.get("event") == "leading":
            self._owner[message["token"]] = name
        elif "first_accepted" in message:
            self.first_accepted[message["first_accepted"]] = message["time_ns"]
        else:
            return
        token = max(self.first_accepted, default=0)
        if token in self._owner:
            self.leader, self.token = self._owner[token], token
        self._news.set()

    async def above(self, token: int, nodes: Nodes) -> int:
        """Wait until a higher token leads and has written; gives the time of its first write."""
        try:
            async with asyncio.timeout(WAIT_S_MAX):
                while self.token <= token:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError as error:
            raise DemoFailed(
                f"no node led with a token above {token} in {WAIT_S_MAX} s\n{nodes.tails()}"
            ) from error
        return self.first_accepted[self.token]


async def roles(nodes: Nodes, board: Scoreboard) -> Roles:
    """Who is what right now. Nothing is awaited after the board was read."""
    raft_leader = await nodes.raft_leader()
    return Roles(board.leader, raft_leader, board.token)


async def holder_killed(nodes: Nodes, board: Scoreboard) -> Failover | None:
    now = await roles(nodes, board)
    killed_ns = nodes.kill(now.holder)
    return _failover(Kind.HOLDER_KILLED, killed_ns, await board.above(now.token, nodes), now, board)


async def raft_leader_killed(nodes: Nodes, board: Scoreboard) -> Failover | None:
    now = await roles(nodes, board)
    killed_ns = nodes.kill(now.raft_leader)
    end_ns = await _until_others_go_on(nodes, board, now)
    return _failover(Kind.RAFT_LEADER_KILLED, killed_ns, end_ns, now, board)


async def holder_stopped(nodes: Nodes, board: Scoreboard) -> Failover | None:
    """One write is past its check when the process stops; when it goes on, the resource must refuse it, and the next check
    must fail before any I/O."""
    now = await roles(nodes, board)
    worker = nodes.workers[now.holder]
    since = len(worker.said)
    worker.tell("hold")
    said = await worker.wait_for(
        "passing its check", lambda m: m["event"] in ("past_check", "not_leading"), since=since
    )
    if said["event"] == "not_leading":
        return None
    stopped_ns = nodes.signal(now.holder, signal.SIGSTOP)
    try:
        written_ns = await board.above(now.token, nodes)
    finally:
        worker.tell("go")
        nodes.signal(now.holder, signal.SIGCONT)
    held = await worker.wait_for("going on", lambda m: m["event"] == "held", since=since)
    if held["accepted"] or held["valid"] or held["check"] == "passed":
        raise DemoFailed(f"node {now.holder} acted as leader after its lease: {dict(held)}")
    return _failover(Kind.HOLDER_STOPPED, stopped_ns, written_ns, now, board)


async def raft_leader_stopped(nodes: Nodes, board: Scoreboard) -> Failover | None:
    """Its connections stay open, so only silence tells the others."""
    now = await roles(nodes, board)
    stopped_ns = nodes.signal(now.raft_leader, signal.SIGSTOP)
    try:
        end_ns = await _until_others_go_on(nodes, board, now)
    finally:
        nodes.signal(now.raft_leader, signal.SIGCONT)
    return _failover(Kind.RAFT_LEADER_STOPPED, stopped_ns, end_ns, now, board)


async def resigned(nodes: Nodes, board: Scoreboard) -> Failover | None:
    now = await roles(nodes, board)
    told_ns = CLOCK.now_ns()
    nodes.workers[now.holder].tell("resign")
    return _failover(Kind.RESIGNED, told_ns, await board.above(now.token, nodes), now, board)


async def _until_others_go_on(nodes: Nodes, board: Scoreboard, before: Roles) -> int:
    """After the Raft leader went silent: when the next leader wrote, or when the one that stayed has its cluster back."""
    if before.raft_leader == before.holder:
        return await board.above(before.token, nodes)
    answer = await nodes.workers[before.holder].ask("probe", "probed")
    return int(answer["time_ns"])


def _failover(kind: Kind, begin_ns: int, end_ns: int, before: Roles, board: Scoreboard) -> Failover | None:
    """None: the leader had changed by itself right before, so nothing was shown."""
    if end_ns <= begin_ns:
        return None
    of_raft = kind in (Kind.RAFT_LEADER_KILLED, Kind.RAFT_LEADER_STOPPED)
    node = before.raft_leader if of_raft else before.holder
    both = before.holder == before.raft_leader
    return Failover(kind, wait_ms(begin_ns, end_ns), node, both, board.token)


Fault = Callable[[Nodes, Scoreboard], Awaitable[Failover | None]]
FAULTS: Final[dict[Kind, Fault]] = {
    Kind.HOLDER_KILLED: holder_killed,
    Kind.RAFT_LEADER_KILLED: raft_leader_killed,
    Kind.HOLDER_STOPPED: holder_stopped,
    Kind.RAFT_LEADER_STOPPED: raft_leader_stopped,
    Kind.RESIGNED: resigned,
}
SHOWN: Final = (Kind.HOLDER_KILLED, Kind.RAFT_LEADER_KILLED, Kind.HOLDER_STOPPED, Kind.RESIGNED)
"""What a round of the demo does. The benchmark measures the others as well."""


async def _arrange(nodes: Nodes, board: Scoreboard, *, both_roles: bool) -> None:
    """Have leaders resign until one node leads both the election and the Raft cluster, or until two different ones do.
    Candidates take turns, so that is soon."""
    for _ in range(ARRANGE_MAX):
        now = await roles(nodes, board)
        if (now.holder == now.raft_leader) is both_roles:
            return
        await inject(Kind.RESIGNED, nodes, board)
    raise DemoFailed(f"the roles could not be arranged by {ARRANGE_MAX} resignations\n{nodes.tails()}")


async def inject(kind: Kind, nodes: Nodes, board: Scoreboard, *, both_roles: bool | None = None) -> Failover:
    """Do it, and wait until everybody is back. `both_roles`: to a node that leads both, or to one that does not.

    Raises DemoFailed.
    """
    for _ in range(ATTEMPTS_MAX):
        if both_roles is not None:
            await _arrange(nodes, board, both_roles=both_roles)
        failover = await FAULTS[kind](nodes, board)
        await nodes.settle()
        if failover is not None and both_roles in (None, failover.both_roles):
            return failover
    raise DemoFailed(f"{kind}: the leader changed by itself {ATTEMPTS_MAX} times in a row\n{nodes.tails()}")
