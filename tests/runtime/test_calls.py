"""Calls: bounded and pipelined on the answering side, honest about the unknown on the asking side."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.runtime.cluster import Cluster, cluster
from tests.runtime.ports import free_addresses

from incumbent.errors import EngineUnavailable, IdentityMismatch, InvalidInput, OutcomeUnknown, Overloaded
from incumbent.ids import LeaseId, NodeId, Revision
from incumbent.kv.api import Code, LeaseGrant, Put, Range, Result, prefix_end
from incumbent.node.api import RefusedReason
from incumbent.runtime.caller import Caller
from incumbent.runtime.client import ClusterClient
from incumbent.runtime.connection import LIMITS, Connection, NetworkLimits
from incumbent.runtime.formation import peer_hello
from incumbent.runtime.frames import (
    Address,
    Answer,
    AnswerDone,
    AnswerRefused,
    AnswerUnknown,
    Call,
    Frame,
    Hello,
    PeerMessage,
    Read,
    Refuse,
    RefuseCode,
    Renew,
    Submit,
)

DONE = AnswerDone(Result(Code.OK, Revision(7)))
NOT_LEADER = AnswerRefused(RefusedReason.NOT_LEADER)
OTHERS_DISK = "bbbbbbbbbbbb"
Script = Callable[[Connection, Call], None]


class Scripted:
    """A voter's listener whose answers the test decides."""

    def __init__(self, script: Script) -> None:
        self.calls: list[Call] = []
        self._script = script
        self._connections = set[Connection]()

    def accept(self) -> Connection:
        return Connection(
            LIMITS,
            on_connected=self._connections.add,
            on_frame=self._on_frame,
            on_closed=self._connections.discard,
        )

    def _on_frame(self, connection: Connection, frame: Frame) -> None:
        match frame:
            case Hello() if frame.cluster != "app":
                connection.refuse(Refuse(RefuseCode.IDENTITY, "cluster", "another", "correct it"))
            case Hello():
                connection.opened(frame)
                connection.send(peer_hello("app", "x", OTHERS_DISK, frozenset({"x"}), None))
            case Call():
                self.calls.append(frame)
                self._script(connection, frame)
            case _:
                pass

    def abort(self) -> None:
        for connection in list(self._connections):
            connection.abort()


@asynccontextmanager
async def scripted(**scripts: Script) -> AsyncIterator[tuple[dict[str, Address], dict[str, Scripted]]]:
    addresses = free_addresses(*scripts)
    voters = {name: Scripted(script) for name, script in scripts.items()}
    loop = asyncio.get_running_loop()
    servers = [await loop.create_server(voters[name].accept, *addresses[name]) for name in scripts]
    try:
        yield addresses, voters
    finally:
        for server in servers:
            server.close()
        for voter in voters.values():
            voter.abort()
        await asyncio.sleep(0)


@asynccontextmanager
async def asking(addresses: dict[str, Address], name: str = "app") -> AsyncIterator[ClusterClient]:
    client = ClusterClient(addresses, name)
    try:
        yield client
    finally:
        await client.close()


def answer(outcome: AnswerDone | AnswerRefused | AnswerUnknown) -> Script:
    return lambda connection, call: _said(connection.send(Answer(call.id, outcome)))


def _said(sent: bool) -> None:  # noqa: FBT001
    assert sent


def silence(_connection: Connection, _call: Call) -> None:
    """Takes the call and never answers, like a stopped process."""


def death(connection: Connection, _call: Call) -> None:
    connection.abort()


PUT = Put(b"k", b"v")
READ = Range(b"k")


async def test_a_hint_is_followed_at_once() -> None:
    async with scripted(
        a=answer(AnswerRefused(RefusedReason.NOT_LEADER, NodeId(f"b.{OTHERS_DISK}"))), b=answer(DONE)
    ) as (addresses, voters):
        async with asking(addresses) as client:
            for _ in range(5):
                assert (await client.submit(PUT, timeout=2)).revision == 7
        assert len(voters["a"].calls) <= 1
        assert len(voters["b"].calls) == 5


async def test_a_leader_outside_the_addresses_is_found_by_its_own() -> None:
    async with scripted(b=answer(DONE)) as (outside, _):
        hint = AnswerRefused(RefusedReason.NOT_LEADER, NodeId(f"b.{OTHERS_DISK}"), outside["b"])
        async with scripted(a=answer(hint)) as (addresses, _), asking(addresses) as client:
            assert (await client.submit(PUT, timeout=2)).revision == 7


async def test_only_refused_means_certainly_not_done() -> None:
    async with (
        scripted(a=answer(NOT_LEADER), b=answer(NOT_LEADER)) as (addresses, _),
        asking(addresses) as client,
    ):
        for _ in range(20):  # the time may run out while a refusal is on its way: unknown, and rightly so
            with pytest.raises((EngineUnavailable, OutcomeUnknown)) as caught:
                await client.submit(PUT, timeout=0.1)
            if isinstance(caught.value, EngineUnavailable):
                assert "refused: not_leader" in str(caught.value)
                return
        pytest.fail("twenty times in a row no refusal came in time")


async def test_nobody_there_means_certainly_not_done() -> None:
    async with asking(free_addresses("a", "b")) as client:
        with pytest.raises(EngineUnavailable, match="was not reached"):
            await client.submit(PUT, timeout=0.1)


@pytest.mark.parametrize(
    "script", [death, silence, answer(AnswerUnknown())], ids=["death", "silence", "unknown"]
)
async def test_a_command_that_may_have_been_applied_is_unknown_and_not_sent_again(script: Script) -> None:
    """The caller decides, never the client."""
    async with scripted(a=script, b=script) as (addresses, voters), asking(addresses) as client:
        with pytest.raises(OutcomeUnknown):
            await client.submit(PUT, timeout=0.1)
        assert len(voters["a"].calls) + len(voters["b"].calls) == 1


async def test_reads_and_renewals_are_asked_again_after_a_death() -> None:
    def dies_once(connection: Connection, call: Call) -> None:
        if len(voters["a"].calls) % 2:
            connection.abort()
        else:
            answer(DONE)(connection, call)

    async with scripted(a=dies_once) as (addresses, voters), asking(addresses) as client:
        assert (await client.read(READ, timeout=2)).revision == 7
        assert (await client.renew(LeaseId(3), timeout=2)).revision == 7
        assert [call.request for call in voters["a"].calls] == [Read(READ)] * 2 + [Renew(LeaseId(3))] * 2


async def test_a_read_without_an_answer_is_not_done_and_a_renewal_unknown() -> None:
    async with scripted(a=silence) as (addresses, _), asking(addresses) as client:
        with pytest.raises(EngineUnavailable, match="did not answer"):
            await client.read(READ, timeout=0.05)
        with pytest.raises(OutcomeUnknown, match="did not answer"):
            await client.renew(LeaseId(3), timeout=0.05)


async def test_a_full_voter_is_reported_and_not_pressed() -> None:
    async with scripted(a=answer(AnswerRefused(RefusedReason.OVERLOADED))) as (addresses, voters):
        async with asking(addresses) as client:
            with pytest.raises(Overloaded):
                await client.submit(PUT, timeout=2)
        assert len(voters["a"].calls) == 1


async def test_an_expiring_lease_is_asked_about_again() -> None:
    def expiring_twice(connection: Connection, call: Call) -> None:
        expiring = len(voters["a"].calls) <= 2
        answer(AnswerRefused(RefusedReason.LEASE_EXPIRING) if expiring else DONE)(connection, call)

    async with scripted(a=expiring_twice) as (addresses, voters), asking(addresses) as client:
        assert (await client.read(READ, lease=LeaseId(3), timeout=2)).revision == 7
        assert len(voters["a"].calls) == 3


async def test_what_does_not_fit_a_frame_is_refused_before_it_is_sent() -> None:
    async with scripted(a=answer(DONE)) as (addresses, voters), asking(addresses) as client:
        with pytest.raises(InvalidInput, match="is too large"):
            await client.submit(Put(b"k", b"v" * LIMITS.frame_bytes_max), timeout=2)
        assert voters["a"].calls == []


async def test_another_cluster_is_named() -> None:
    async with scripted(a=answer(DONE)) as (addresses, _), asking(addresses, "other") as client:
        with pytest.raises(IdentityMismatch, match="another; correct it"):
            await client.submit(PUT, timeout=2)


async def test_closing_ends_what_is_asked_as_unknown() -> None:
    async with scripted(a=silence) as (addresses, voters):
        client = ClusterClient(addresses, "app")
        asked = asyncio.create_task(client.submit(PUT, timeout=5))
        while not voters["a"].calls:
            await asyncio.sleep(0.001)
        await client.close()
        with pytest.raises(OutcomeUnknown):
            await asked


# the answering side, on a real voter


@asynccontextmanager
async def calling(one: Cluster, limits: NetworkLimits = LIMITS) -> AsyncIterator[Caller]:
    caller = await Caller.dial("app", one.addresses["a"], limits)
    try:
        yield caller
    finally:
        await caller.close()


async def test_calls_are_pipelined_and_each_is_answered(tmp_path: Path) -> None:
    async with cluster(tmp_path, "a") as one:
        await one.leader()
        async with calling(one) as caller:
            asked = [caller.ask(Submit(Put(b"k%03d" % n, b"v"))) for n in range(200)]
            answers = await asyncio.gather(*asked)
            assert {type(a) for a in answers} == {AnswerDone}
            read = await caller.ask(Read(Range(b"k", prefix_end(b"k"))))
            assert isinstance(read, AnswerDone)
            assert len(read.result.results[0].kvs) == 200


async def test_calls_beyond_the_bound_are_refused_at_once(tmp_path: Path) -> None:
    async with cluster(tmp_path, "a") as one:
        await one.leader()
        async with calling(one) as caller:
            asked = [caller.ask(Submit(Put(b"k", b"v"))) for _ in range(LIMITS.calls_in_flight_max + 10)]
            answers = await asyncio.gather(*asked)
            refused = [a for a in answers if a == AnswerRefused(RefusedReason.OVERLOADED)]
            assert len(refused) >= 1
            assert len(refused) <= 10
            assert isinstance(await caller.ask(Submit(Put(b"k", b"v"))), AnswerDone)


async def test_a_renewal_over_the_wire(tmp_path: Path) -> None:
    async with cluster(tmp_path, "a") as one, one.client() as client:
        await client.submit(LeaseGrant(LeaseId(9), 10**9), timeout=2)
        assert (await client.renew(LeaseId(9), timeout=2)).code is Code.OK
        assert (await client.renew(LeaseId(8), timeout=2)).code is Code.LEASE_NOT_FOUND


async def test_an_answer_that_fits_no_frame_is_refused_for_a_read(tmp_path: Path) -> None:
    async with cluster(tmp_path, "a") as one, one.client() as client:
        for n in range(10):
            await client.submit(Put(b"k%d" % n, b"v" * (1 << 20)), timeout=5)
        with pytest.raises(InvalidInput, match="ask for a smaller range"):
            await client.read(Range(b"k", prefix_end(b"k")), timeout=5)


async def test_a_client_that_speaks_of_other_things_is_refused(tmp_path: Path) -> None:
    async with cluster(tmp_path, "a") as one, calling(one) as caller:
        caller._connection.send(PeerMessage(b"x"))
        await caller._connection.closed.wait()
        assert isinstance(await caller.ask(Renew(LeaseId(1))), AnswerRefused)
