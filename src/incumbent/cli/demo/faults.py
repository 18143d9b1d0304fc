"""The demo's four faults, and how long each took to get over."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from incumbent.cli.demo.nodes import WAIT_S_MAX, DemoFailed, Message, Nodes, wait_ms
from incumbent.cli.demo.recorder import CLOCK


class Kind(StrEnum):
    HOLDER_KILLED = "holder_killed"  # SIGKILL of the process that leads the election
    RAFT_LEADER_KILLED = "raft_leader_killed"  # SIGKILL of the process whose voter leads the cluster
    HOLDER_STOPPED = "holder_stopped"  # SIGSTOP past the TTL, then SIGCONT, with one write past its check
    RESIGNED = "resigned"  # the leader gives up


@dataclass(frozen=True, slots=True)
class Failover:
    kind: Kind
    ms: float
    """From the signal (or the resignation) to the successor's first write at the resource; where the killed Raft leader did
    not lead the election, to the next linearizable read."""
    node: str
    also_raft_leader: bool
    token: int  # of the leader afterwards


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

    async def above(self, token: int) -> int:
        """Wait until a higher token leads and has written; gives the time of its first write."""
        try:
            async with asyncio.timeout(WAIT_S_MAX):
                while self.token <= token:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError as error:
            raise DemoFailed(f"no leader with a token above {token} in {WAIT_S_MAX} s") from error
        return self.first_accepted[self.token]


async def holder_killed(nodes: Nodes, board: Scoreboard) -> Failover:
    holder, token, raft = board.leader, board.token, await _raft_leader(nodes)
    killed_ns = nodes.kill(holder)
    written_ns = await board.above(token)
    return Failover(Kind.HOLDER_KILLED, wait_ms(killed_ns, written_ns), holder, raft == holder, board.token)


async def raft_leader_killed(nodes: Nodes, board: Scoreboard) -> Failover:
    holder, token, raft = board.leader, board.token, await _raft_leader(nodes)
    killed_ns = nodes.kill(raft)
    if raft == holder:
        end_ns = await board.above(token)
    else:
        end_ns = (await nodes.any_alive(but=raft).ask("probe", "probed"))["time_ns"]
    return Failover(Kind.RAFT_LEADER_KILLED, wait_ms(killed_ns, end_ns), raft, True, board.token)


async def holder_stopped(nodes: Nodes, board: Scoreboard) -> Failover:
    """One write is past its check when the process stops; when it goes on, the resource must refuse it, and the next check
    must fail before any I/O."""
    holder, token, raft = board.leader, board.token, await _raft_leader(nodes)
    worker = nodes.workers[holder]
    since = len(worker.said)
    worker.tell("hold")
    await worker.wait_for("passing its check", lambda m: m["event"] == "past_check", since=since)
    stopped_ns = worker.signal(signal.SIGSTOP)
    nodes.operator.record("stopped", time_ns=stopped_ns, process=worker.identity)
    try:
        written_ns = await board.above(token)
    finally:
        worker.tell("go")
        nodes.operator.record("continued", process=worker.identity)
        worker.signal(signal.SIGCONT)
    held = await worker.wait_for("going on", lambda m: m["event"] == "held", since=since)
    if held["accepted"] or held["valid"] or held["check"] == "passed":
        raise DemoFailed(f"node {holder} acted as leader after its lease: {held}")
    return Failover(Kind.HOLDER_STOPPED, wait_ms(stopped_ns, written_ns), holder, raft == holder, board.token)


async def resigned(nodes: Nodes, board: Scoreboard) -> Failover:
    holder, token, raft = board.leader, board.token, await _raft_leader(nodes)
    told_ns = CLOCK.now_ns()
    nodes.workers[holder].tell("resign")
    written_ns = await board.above(token)
    return Failover(Kind.RESIGNED, wait_ms(told_ns, written_ns), holder, raft == holder, board.token)


async def _raft_leader(nodes: Nodes) -> str:
    status = await nodes.until(
        "the cluster having a leader", lambda status: status["raft_leader"] is not None
    )
    return str(status["raft_leader"])


FAULTS: Final[dict[Kind, Callable[[Nodes, Scoreboard], Awaitable[Failover]]]] = {
    Kind.HOLDER_KILLED: holder_killed,
    Kind.RAFT_LEADER_KILLED: raft_leader_killed,
    Kind.HOLDER_STOPPED: holder_stopped,
    Kind.RESIGNED: resigned,
}
