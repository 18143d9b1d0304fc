"""The asking side of an operator: one connection to one voter, and what takes several voters or several steps.

Every verb can be repeated: what is already so is not done again, and a broken-off one goes on where it was.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from incumbent.errors import (
    EngineUnavailable,
    IdentityMismatch,
    IncumbentError,
    InvalidInput,
    OutcomeUnknown,
    ProtocolViolation,
)
from incumbent.ids import DiskId, NodeId, make_node_id, name_of
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
from incumbent.runtime.connection import LIMITS, Connection, NetworkLimits, ended_early
from incumbent.runtime.formation import client_hello
from incumbent.runtime.frames import Address, Bye, Frame, Hello, Refuse, refusal_error
from incumbent.runtime.tls import Tls, dial, examine_certificate

RETRY_S: Final = 0.1
Report = dict[str, Any]


class Line:
    """One connection to one voter. Made by `dial`."""

    def __init__(self, cluster: str, address: Address, limits: NetworkLimits, secrets: Sequence[str]) -> None:
        self.address = address
        self._hello = client_hello(cluster, secrets)
        self._limits = limits
        self._greeted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting: dict[int, asyncio.Future[Told]] = {}
        self._last = 0
        self._connection = Connection(
            limits,
            on_connected=lambda connection: _say(connection, self._hello),
            on_frame=self._on_frame,
            on_closed=self._on_closed,
        )

    @classmethod
    @asynccontextmanager
    async def dial(
        cls, cluster: str, address: Address, tls: Tls | None = None, secrets: Sequence[str] = ()
    ) -> AsyncIterator[Line]:
        """Connect and introduce ourselves. Raises EngineUnavailable, or what the voter refused us with."""
        line = cls(cluster, address, LIMITS, secrets)
        host, port = address
        try:
            try:
                async with asyncio.timeout(LIMITS.connect_timeout_s):
                    await dial(lambda: line._connection, address, tls)
                    await line._greeted
            except (OSError, TimeoutError) as error:
                raise EngineUnavailable(
                    f"{host}:{port} was not reached: {str(error) or 'no answer'}"
                ) from error
            yield line
        finally:
            line._connection.abort()

    async def ask(self, verb: Verb) -> Told:
        """The answer, whatever it is. Raises OutcomeUnknown when the connection ended first."""
        self._last += 1
        future: asyncio.Future[Told] = asyncio.get_running_loop().create_future()
        self._waiting[self._last] = future
        try:
            if not self._connection.send(Ask(self._last, verb)):
                raise EngineUnavailable("the voter does not read what it is asked")
            return await future
        finally:
            del self._waiting[self._last]

    async def inspect(self) -> Report:
        """Everything about this voter."""
        return _report(await self.ask(Inspect()))

    def _on_frame(self, connection: Connection, frame: Frame) -> None:
        match frame:
            case Hello() if (refuse := examine_certificate(connection.names, frame)) is not None:
                connection.refuse(refuse)
                self._fail(refusal_error(refuse, "{}:{}".format(*self.address)))
            case Hello():
                connection.opened(frame)
                if not self._greeted.done():
                    self._greeted.set_result(None)
            case Told():
                future = self._waiting.get(frame.id)
                if future is not None and not future.done():
                    future.set_result(frame)
            case Refuse():
                self._fail(refusal_error(frame, "{}:{}".format(*self.address)))
            case Bye():
                pass
            case _:
                raise ProtocolViolation("a voter answers an operator and does nothing else")

    def _on_closed(self, _: Connection) -> None:
        self._fail(EngineUnavailable("{}:{} {}".format(*self.address, ended_early(self._connection))))
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(OutcomeUnknown("the voter went away before it answered"))

    def _fail(self, error: IncumbentError) -> None:
        if not self._greeted.done():
            self._greeted.set_exception(error)
            self._greeted.exception()  # seen, also when nobody waits for it any more


def _say(connection: Connection, hello: Hello) -> None:
    connection.send(hello)


def _report(told: Told) -> Report:
    if told.problem:
        raise (OutcomeUnknown if told.unknown else EngineUnavailable)(told.problem)
    report: Report = json.loads(told.report)
    return report


@dataclass(slots=True)
class Operator:
    """Asks a cluster through any of its nodes. `deadline` is the loop's time at which every verb gives up."""

    cluster: str
    endpoints: Sequence[Address]
    deadline: float
    known: dict[str, Address] = field(default_factory=dict)  # by name, as the nodes say
    tls: Tls | None = None
    secrets: Sequence[str] = ()

    # asking

    async def inspect(self, address: Address) -> Report:
        """One node, whatever state it is in. Raises EngineUnavailable."""
        async with Line.dial(self.cluster, address, self.tls, self.secrets) as line:
            return await line.inspect()

    async def everyone(self) -> dict[str, Report | str]:
        """What each node tells, by name; a text says why it does not."""
        first = await self._anyone()
        self.known |= {name: (host, port) for name, (host, port) in first["addresses"].items()}
        members = first.get("members", {})
        names = {name_of(NodeId(member)) for ids in members.values() for member in ids} or {first["node"]}

        async def one(name: str) -> Report | str:
            try:
                return await self.inspect(self.known[name])
            except KeyError:
                return "its address is not known"
            except IncumbentError as error:
                return str(error)

        names_in_order = sorted(names)
        reports = await asyncio.gather(*map(one, names_in_order))
        return dict(zip(names_in_order, reports, strict=True))

    async def digests(self) -> dict[str, Report | str]:
        """Of each node's state now, by name; a text says why there is none."""

        async def one(name: str, report: Report | str) -> Report | str:
            if isinstance(report, str):
                return report
            try:
                async with Line.dial(self.cluster, self.known[name], self.tls, self.secrets) as line:
                    return _report(await line.ask(TakeDigest()))
            except IncumbentError as error:
                return str(error)

        reports = await self.everyone()
        taken = await asyncio.gather(*(one(name, report) for name, report in reports.items()))
        return dict(zip(reports, taken, strict=True))

    async def _anyone(self) -> Report:
        """Of the endpoints that answer, the first that knows a leader, or else is in a cluster: one that was just wiped, or is cut
        off, may be among them."""
        trouble: IncumbentError = EngineUnavailable("no endpoint was given")
        best: Report | None = None
        for address in self.endpoints:
            try:
                report = await self.inspect(address)
            except IncumbentError as error:
                trouble = error
                continue
            if report.get("leader") is not None:
                return report
            if best is None or report["formed"] > best["formed"]:
                best = report
        if best is None:
            raise trouble
        return best

    async def of_leader(self, verb: Verb) -> Told:
        """Have the leader take up `verb`, following redirects and waiting for who is not ready yet, until the deadline."""
        trouble = "no leader is known"
        while asyncio.get_running_loop().time() < self.deadline:
            try:
                told = await self._try_leader(verb)
            except EngineUnavailable as error:
                trouble = str(error)
            else:
                if not told.problem or not told.retry:
                    _report(told)  # raises what the problem is
                    return told
                trouble = told.problem
            await asyncio.sleep(RETRY_S)
        raise EngineUnavailable(f"gave up: {trouble}")

    async def _try_leader(self, verb: Verb) -> Told:
        address = await self._leader_address()
        async with Line.dial(self.cluster, address, self.tls, self.secrets) as line:
            return await line.ask(verb)

    async def _leader_address(self) -> Address:
        report = await self._anyone()
        self.known |= {name: (host, port) for name, (host, port) in report["addresses"].items()}
        leader = report.get("leader")
        if not report["formed"]:
            raise EngineUnavailable(f"node {report['node']} is in no cluster yet; see: cluster init")
        if leader is None or name_of(NodeId(leader)) not in self.known:
            raise EngineUnavailable("no leader is known")
        return self.known[name_of(NodeId(leader))]

    async def members(self) -> Report:
        """The membership as the leader has it."""
        async with Line.dial(self.cluster, await self._patient_leader(), self.tls, self.secrets) as line:
            members: Report = (await line.inspect())["members"]
        return members

    async def _patient_leader(self) -> Address:
        while True:
            try:
                return await self._leader_address()
            except EngineUnavailable:
                if asyncio.get_running_loop().time() >= self.deadline:
                    raise
                await asyncio.sleep(RETRY_S)

    # verbs

    async def init(self, nodes: Mapping[str, Address], witnesses: Sequence[str]) -> None:
        """Form a cluster of these nodes. Each must be there, empty, and say the name by which it is called."""
        async with AsyncExitStack() as stack:
            lines = {
                name: await stack.enter_async_context(
                    Line.dial(self.cluster, address, self.tls, self.secrets)
                )
                for name, address in nodes.items()
            }
            ids: dict[str, NodeId] = {}
            for name, line in lines.items():
                report = await line.inspect()
                ids[name] = self._id_of(report, name, nodes[name])
            verb = Initialize(
                tuple(sorted(ids.values())),
                tuple(sorted(ids[name] for name in witnesses)),
                tuple(sorted(nodes.items())),
            )
            for name, line in lines.items():
                told = await line.ask(verb)
                if told.problem:
                    raise IdentityMismatch(f"node {name} refuses: {told.problem}")

    def _id_of(self, report: Report, name: str, address: Address) -> NodeId:
        if report["node"] != name:
            host, port = address
            raise InvalidInput(
                "nodes", f"node {report['node']} answers at {host}:{port}, not {name}", "correct it"
            )
        return make_node_id(name, DiskId(report["disk"]))

    async def add(self, name: str, address: Address, *, witness: bool = False) -> NodeId:
        """Admit a node with an empty disk as a learner."""
        new = self._id_of(await self.inspect(address), name, address)
        members = await self.members()
        if new in members["learners"] or new in members["voters"]:
            return new
        await self._change(
            members,
            learners={*members["learners"], new},
            new={name: address},
            witness={new} if witness else set(),
        )
        return new

    async def promote(self, name: str) -> None:
        """Make a learner a voter, once it has caught up."""
        members = await self.members()
        node = self._member(members, name, "learners", also="voters")
        if node in members["voters"]:
            return
        await self._change(
            members, voters={*members["voters"], node}, learners={*members["learners"]} - {node}
        )

    async def demote(self, name: str) -> None:
        """Make a voter a learner."""
        members = await self.members()
        node = self._member(members, name, "voters", also="learners")
        if node in members["learners"]:
            return
        await self._change(
            members, voters={*members["voters"]} - {node}, learners={*members["learners"], node}
        )

    async def remove(self, name: str) -> None:
        """Remove every member of that name."""
        members = await self.members()
        gone = {m for m in (*members["voters"], *members["learners"]) if name_of(NodeId(m)) == name}
        if not gone:
            return
        if gone >= set(members["voters"]):
            raise InvalidInput("node", f"{name} is the last voter", "add another first")
        await self._change(
            members, voters={*members["voters"]} - gone, learners={*members["learners"]} - gone
        )

    async def replace(self, name: str, address: Address) -> None:
        """Let the node that answers there, with a new disk, take the place of the member of that name: a learner first, a
        voter once it has caught up, and in the same step the former one goes."""
        members = await self.members()
        former = {NodeId(m) for m in members["voters"] if name_of(NodeId(m)) == name}
        witness = bool(former & {NodeId(m) for m in members["witnesses"]})
        new = await self.add(name, address, witness=witness)
        members = await self.members()
        former = {NodeId(m) for m in members["voters"] if name_of(NodeId(m)) == name} - {new}
        stale = {NodeId(m) for m in members["learners"] if name_of(NodeId(m)) == name} - {new}
        if new in members["voters"] and not former and not stale:
            return
        await self._change(
            members,
            voters={*members["voters"], new} - former,
            learners={*members["learners"]} - stale - {new},
        )

    async def transfer(self, name: str) -> None:
        """Hand leadership over to the voter of that name."""
        members = await self.members()
        await self.of_leader(HandOver(self._member(members, name, "voters")))

    async def fetch_state(self) -> tuple[Report, bytes]:
        """A snapshot of everything that is acknowledged: what it is, and the machine's state."""
        async with Line.dial(self.cluster, await self._patient_leader(), self.tls, self.secrets) as line:
            taken = _report(await line.ask(TakeSnapshot()))
            state = bytearray()
            while len(state) < taken["bytes"]:
                told = await line.ask(FetchState(taken["index"], len(state)))
                if told.problem or not told.report:
                    raise EngineUnavailable(told.problem or "the snapshot ended early")
                state += told.report
        return taken, bytes(state)

    def _member(self, members: Report, name: str, role: str, also: str | None = None) -> NodeId:
        for kind in (role, also):
            for member in members[kind] if kind else ():
                if name_of(NodeId(member)) == name:
                    return NodeId(member)
        there = sorted({name_of(NodeId(m)) for m in members[role]})
        raise InvalidInput(
            "node", f"{name} is none of the {role}: {', '.join(there) or 'there are none'}", "name one"
        )

    async def _change(
        self,
        members: Report,
        *,
        voters: set[str] | None = None,
        learners: set[str] | None = None,
        new: Mapping[str, Address] | None = None,
        witness: set[NodeId] | None = None,
    ) -> None:
        """Ask for the whole membership that is wanted, and wait until it is in force and not joint any more."""
        wanted_voters = set(members["voters"]) if voters is None else voters
        wanted_learners = set(members["learners"]) if learners is None else learners
        everyone = wanted_voters | wanted_learners
        verb = ChangeMembers(
            tuple(sorted(map(NodeId, wanted_voters))),
            tuple(sorted(map(NodeId, wanted_learners))),
            tuple(sorted(NodeId(m) for m in {*members["witnesses"], *(witness or ())} if m in everyone)),
            tuple(sorted((new or {}).items())),
        )
        await self.of_leader(verb)
        while True:
            now = await self.members()
            if not now["outgoing"] and set(now["voters"]) == wanted_voters:
                return
            if asyncio.get_running_loop().time() >= self.deadline:
                raise OutcomeUnknown("the change was taken up and is not over yet")
            await asyncio.sleep(RETRY_S)
