"""The answering side of an operator's questions. `operator` is the asking side.

Whatever changes something goes through the log, so asking the wrong voter, or twice, does no harm: a voter that does not lead says
who does, and a membership that is already in force is no change.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from typing import Final, assert_never

from incumbent.consensus.api import Membership, MembershipChange, Snapshot
from incumbent.consensus.blob import crc_of
from incumbent.errors import IncumbentError
from incumbent.ids import NodeId, name_of
from incumbent.node.api import Done, Outcome, Refused, RefusedReason, Unknown
from incumbent.runtime.admin_frames import (
    Ask,
    ChangeMembers,
    FetchState,
    HandOver,
    Initialize,
    Inspect,
    TakeDigest,
    TakeSnapshot,
    Told,
    Verb,
)
from incumbent.runtime.book import AddressBook
from incumbent.runtime.connection import Connection
from incumbent.runtime.driver import Driver

ASKS_MAX: Final = 16
"""Questions of operators that are not answered yet; more are refused."""
PIECE_BYTES: Final = 1024 * 1024
RETRY: Final = frozenset(
    {
        RefusedReason.OVERLOADED,
        RefusedReason.TRANSFERRING,
        RefusedReason.CHANGING,
        RefusedReason.TOO_EARLY,
        RefusedReason.NOT_CAUGHT_UP,
    }
)


class Administration:
    """Of one voter, from its first hello on. `driver` exists once the cluster is formed."""

    def __init__(
        self,
        book: AddressBook,
        describe: Callable[[], dict[str, object]],
        initialize: Callable[[Membership], Awaitable[None]],
    ) -> None:
        """`describe` tells what is known without a driver; `initialize` forms the cluster or raises why not."""
        self.driver: Driver | None = None
        self._book = book
        self._describe = describe
        self._initialize = initialize
        self._kept: Snapshot | None = None  # what an operator fetches
        self._answering: set[asyncio.Task[None]] = set()

    def on_ask(self, connection: Connection, ask: Ask) -> None:
        """Answer in a task of its own: a change may take a while."""
        if len(self._answering) >= ASKS_MAX:
            connection.send(Told(ask.id, problem=f"{ASKS_MAX} questions are open already", retry=True))
            return
        task = asyncio.create_task(self._answer(connection, ask), name="incumbent answers an operator")
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    def close(self) -> None:
        """Answer nobody any more."""
        for task in self._answering:
            task.cancel()

    async def _answer(self, connection: Connection, ask: Ask) -> None:
        try:
            told = await self._told(ask.id, ask.verb)
        except IncumbentError as error:
            told = Told(ask.id, problem=str(error))
        if connection.is_open:
            connection.send(told)

    async def _told(self, number: int, verb: Verb) -> Told:
        match verb:
            case Inspect():
                return Told(number, self._report())
            case Initialize(voters, witnesses, addresses):
                self._book.put(dict(addresses))
                await self._initialize(Membership(frozenset(voters), witnesses=frozenset(witnesses)))
                return Told(number, self._report())
            case _:
                pass
        driver = self.driver
        if driver is None or driver.ended:
            return Told(number, problem="this node is in no formed cluster, or has stopped", retry=True)
        match verb:
            case ChangeMembers(voters, learners, witnesses, addresses):
                self._book.put(dict(addresses))
                change = MembershipChange(frozenset(voters), frozenset(learners), frozenset(witnesses))
                return self._ended(number, await driver.change_membership(change))
            case HandOver(to):
                return self._ended(number, await driver.transfer(to))
            case TakeSnapshot():
                return Told(number, self._keep(await driver.take_snapshot()))
            case FetchState(index, offset):
                return self._piece(number, index, offset)
            case TakeDigest():
                return Told(number, self._digest(driver))
            case _:
                assert_never(verb)

    def _keep(self, snapshot: Snapshot) -> bytes:
        self._kept = snapshot
        crc = crc_of(snapshot.state)
        report = {"index": snapshot.index, "term": snapshot.term, "bytes": len(snapshot.state), "crc": crc}
        return json.dumps({**self._describe(), **report}).encode()

    def _digest(self, driver: Driver) -> bytes:
        now, node = driver.digest(), driver.status().node
        agreed = (
            None if node.agreed is None else {"index": node.agreed.index, "digest": node.agreed.digest.hex()}
        )
        witness = node.replica.me in node.replica.membership.witnesses
        report = {
            "index": now.index,
            "digest": None if witness else now.digest.hex(),
            "agreed": agreed,
            "split": node.split,
        }
        return json.dumps({**self._describe(), **report}).encode()

    def _piece(self, number: int, index: int, offset: int) -> Told:
        if self._kept is None or self._kept.index != index:
            return Told(number, problem=f"the snapshot at {index} is no longer kept", retry=True)
        return Told(number, self._kept.state[offset : offset + PIECE_BYTES])

    def _ended(self, number: int, outcome: Outcome) -> Told:
        match outcome:
            case Done():
                return Told(number, self._report())
            case Refused(RefusedReason.NOT_LEADER, leader):
                name = "" if leader is None else name_of(leader)
                return Told(number, problem="this voter does not lead", leader=name, retry=True)
            case Refused(reason):
                return Told(number, problem=_SAID.get(reason, reason.value), retry=reason in RETRY)
            case Unknown():
                return Told(number, problem="leadership was lost meanwhile", unknown=True)
            case _:
                assert_never(outcome)

    def _report(self) -> bytes:
        report = {"version": version("incumbent"), **self._describe(), "addresses": dict(self._book)}
        if self.driver is not None:
            report |= described(self.driver)
        return json.dumps(report).encode()


_SAID: Final = {
    RefusedReason.CHANGING: "a membership change is not over yet",
    RefusedReason.TOO_EARLY: "this leader has committed nothing of its term yet",
    RefusedReason.NOT_CAUGHT_UP: "who is to vote is not caught up yet",
    RefusedReason.TRANSFERRING: "leadership is being handed over",
    RefusedReason.TRANSFER_FAILED: "the target did not take over within an election timeout",
    RefusedReason.INVALID: "it makes no sense for the membership that is in force",
    RefusedReason.OVERLOADED: "too many requests are in flight",
}


def described(driver: Driver) -> dict[str, object]:
    """What a running voter tells of itself, as JSON has it."""
    status = driver.status()
    replica = status.node.replica
    membership = replica.membership
    return {
        "id": replica.me,
        "role": role_in(membership, replica.me),
        "state": replica.role.value,
        "term": replica.term,
        "leader": replica.leader,
        "serving": replica.serving,
        "first_index": replica.first_index,
        "last_index": replica.last_index,
        "commit": replica.commit,
        "applied": replica.applied,
        "revision": status.node.revision,
        "leases": status.node.leases,
        "requests": status.node.requests,
        "watches": status.watches,
        "dropped": dict(status.figures.dropped),
        "members": {
            "voters": sorted(membership.voters),
            "outgoing": sorted(membership.outgoing),
            "learners": sorted(membership.learners | membership.learners_next),
            "witnesses": sorted(membership.witnesses & membership.everyone),
        },
        "followers": {
            peer: {"match": view["match"], "mode": view["mode"]} for peer, view in replica.peers.items()
        },
    }


def role_in(membership: Membership, node: NodeId) -> str:
    """What a node is in a membership, for people."""
    if node in membership.witnesses and node in membership.everyone:
        return "witness"
    if node in membership.voting:
        return "voter"
    return "learner" if node in membership.everyone else "none"
