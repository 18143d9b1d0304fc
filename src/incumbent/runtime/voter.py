"""One voter, put together: identity, network, formation, log, node, driver. Everything that starts here also ends here.

The order is the point: arguments are checked and the port is bound before anything is written; the disk's id is durable before
the first hello; the log is read before the first message; the membership is durable before the first vote.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from random import Random
from typing import Final

from incumbent.consensus.api import Membership, Role, Saved, Status
from incumbent.consensus.raft import messages
from incumbent.errors import IdentityMismatch, IncumbentError, InvalidInput, StorageCorrupt
from incumbent.ids import ClusterName, NodeId, make_node_id, name_of
from incumbent.node.api import Done
from incumbent.node.node import Node
from incumbent.runtime.access import Access
from incumbent.runtime.admin import Administration
from incumbent.runtime.admin_frames import Ask, Told
from incumbent.runtime.book import AddressBook
from incumbent.runtime.calls import CallServer
from incumbent.runtime.client import ClusterClient
from incumbent.runtime.clock import BoottimeClock
from incumbent.runtime.config import VoterConfig, bind, check_config
from incumbent.runtime.connection import LIMITS, Connection, NetworkLimits
from incumbent.runtime.driver import Driver, DriverStatus
from incumbent.runtime.formation import Form, Wait, decide, peer_hello
from incumbent.runtime.frames import Address, Frame, Hello, Refuse, RefuseCode, refusal_error
from incumbent.runtime.identity import Identity, open_identity
from incumbent.runtime.levels import keep_level
from incumbent.runtime.notes import Notes, logger
from incumbent.runtime.reporter import Reporter
from incumbent.runtime.storage.log import DIRECTORY, RaftLog, log_exists
from incumbent.runtime.storage.segments import ADVICE
from incumbent.runtime.tls import Tls
from incumbent.runtime.transport import Network

__all__ = ["Voter", "VoterConfig", "VoterStatus"]

HAND_OVER_TIMEOUT_S: Final = 1.0
STOP_TIMEOUT_S: Final = 5.0
"""How long a clean stop waits for a write in flight."""


@dataclass(frozen=True, slots=True)
class VoterStatus:
    cluster: str
    me: NodeId
    listen: Address
    voters: frozenset[NodeId]
    driver: DriverStatus
    connected: Mapping[str, bool]  # which peers can be sent to right now
    network: Mapping[str, int]  # what was dropped and refused, by reason


class Voter:
    """A running voter. Made by `open`."""

    def __init__(self, config: VoterConfig, me: NodeId, lobby: Lobby, driver: Driver) -> None:
        self.driver = driver
        self.me = me
        self._config = config
        self._lobby = lobby
        self._network = lobby.network
        self._task = asyncio.create_task(driver.run(), name=f"incumbent drives {me}")
        self._task.add_done_callback(self._on_driver_done)

    @classmethod
    @asynccontextmanager
    async def open(cls, config: VoterConfig, *, limits: NetworkLimits = LIMITS) -> AsyncIterator[Voter]:
        """Start a voter; it runs while the context is entered. Entering waits until the cluster is formed.

        Raises InvalidInput before anything is written, IdentityMismatch when the directory or the disk is not this
        node's, StorageCorrupt. Leaving raises what ended the driver, if anything did.
        """
        check_config(config)
        tls = None if config.tls is None else Tls(config.tls)
        async with AsyncExitStack() as stack:
            listener = stack.enter_context(closing(bind(config.listen_address)))
            identity = stack.enter_context(
                closing(open_identity(config.data_dir, ClusterName(config.cluster), config.node))
            )
            _check_log_is_there(config, identity)
            clock = BoottimeClock()
            notes = Notes(config.node, clock)
            storage = RaftLog(config.data_dir, identity.disk)
            opening = stack.enter_context(ExitStack())
            opening.callback(storage.close)
            saved = await asyncio.to_thread(storage.load)
            _check_same_voters(config, identity, saved)
            lobby = Lobby(config, identity, notes, limits, tls)
            stack.push_async_callback(lobby.close)
            await lobby.network.open(listener)
            membership = await lobby.form()
            me = make_node_id(config.node, identity.disk)
            node = Node(
                me,
                membership,
                saved,
                random=Random(os.urandom(16)),
                now_ns=clock.now_ns(),
                timing=config.timing,
                limits=config.limits,
                priority=config.priority,
            )
            reporter = Reporter()
            stack.push_async_callback(reporter.close)
            driver = Driver(
                node,
                storage,
                lobby.network,
                clock,
                notes,
                on_membership=lobby.on_membership,
                on_digest=reporter.report,
            )
            lobby.calls.driver = lobby.administration.driver = driver
            voter = cls(config, me, lobby, driver)
            reporter.client = voter.client()
            telling = asyncio.create_task(
                lobby.calls.tell_followers(driver), name="incumbent tells who leads"
            )
            stack.callback(telling.cancel)
            levelling = asyncio.create_task(
                keep_level(driver, lobby.network.heard), name="incumbent looks who reads what"
            )
            stack.callback(levelling.cancel)
            opening.pop_all()  # the driver closes the storage from now on
            stack.push_async_callback(voter._stop)
            yield voter

    def addresses(self) -> dict[str, Address]:
        """Where the voters are."""
        names = {name_of(member) for member in self.driver.standing().membership.everyone}
        return {name: self._lobby.book[name] for name in sorted(names) if name in self._lobby.book}

    def client(self) -> ClusterClient:
        """A client of this voter's cluster that asks this voter first. The caller closes it."""
        secrets = tuple(rule.secret for rule in self._config.allow if rule.secret is not None)
        return ClusterClient(
            self._lobby.book, self._config.cluster, self.driver, tls=self._lobby.tls, secrets=secrets
        )

    def reload_certificates(self) -> bool:
        """Read them again now, though their files look as before. True when there are any, and they do."""
        return self._lobby.tls is not None and self._lobby.tls.reload()

    async def wait_stopped(self) -> None:
        """Return when the driver has stopped; raise what stopped it."""
        await asyncio.shield(self._task)

    def status(self) -> VoterStatus:
        return VoterStatus(
            self._config.cluster,
            self.me,
            self._config.listen_address,
            self.driver.standing().membership.voters,
            self.driver.status(),
            self._network.connected(),
            dict(self._network.counts),
        )

    def _on_driver_done(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            # Without goodbye: to its peers this voter is dead from now on, and they may replace it at once.
            logger.critical("node=%s stopped: %s: %s", self._config.node, type(error).__name__, error)
            self._network.abort()

    async def hand_over(self) -> bool:
        """If this voter leads, have the follower that has most of the log lead instead. Tells whether it does now; takes at
        most `HAND_OVER_TIMEOUT_S`."""
        replica = self.driver.status().node.replica
        others = replica.membership.voters - replica.membership.witnesses - {self.me}
        heirs = sorted(others, key=lambda peer: (self._has(replica, peer), peer))
        if self.driver.ended or replica.role is not Role.LEADER or not heirs:
            return False
        try:
            async with asyncio.timeout(HAND_OVER_TIMEOUT_S):
                return isinstance(await self.driver.transfer(heirs[-1]), Done)
        except TimeoutError:
            return False

    def _has(self, replica: Status, peer: NodeId) -> int:
        """How much of the log a peer that can be reached is known to have."""
        match = replica.peers.get(peer, {}).get("match", 0)
        return int(str(match)) if self._network.connected().get(name_of(peer)) else -1

    async def _stop(self) -> None:
        await self.hand_over()  # so that nobody has to miss this voter first
        self.driver.stop()
        await asyncio.wait({self._task}, timeout=STOP_TIMEOUT_S)
        if not self._task.done():
            self._task.cancel()
            await asyncio.wait({self._task})
        if not self._task.cancelled():
            self._task.result()


class Lobby:
    """The network of a voter from its first hello on: who is who, who is where, and the wait in which its cluster is formed."""

    def __init__(
        self, config: VoterConfig, identity: Identity, notes: Notes, limits: NetworkLimits, tls: Tls | None
    ) -> None:
        self.tls = tls
        self.book = AddressBook(config.data_dir, {**config.peers, config.node: config.own_address})
        self.access = Access(config.cluster, config.allow)
        self.calls = CallServer(self.book, limits, self.access)
        self.administration = Administration(self.book, self._describe, self._initialize)
        self._config = config
        self._identity = identity
        self._members: frozenset[NodeId] = frozenset()  # now, as the log has it; empty until the driver tells
        self._hello = self._make_hello()
        self._heard = asyncio.Event()
        self._refused: IncumbentError | None = None
        self._ordered: Membership | None = None  # by an operator
        self.network = Network(
            self._hello,
            config.peers,
            messages,
            Random(os.urandom(16)),
            on_hello=self._on_hello,
            on_refused=self._on_refused,
            on_call=self._on_call,
            on_note=lambda note: notes.add([note]),
            limits=limits,
            tls=tls,
        )

    async def close(self) -> None:
        """Say goodbye to everyone."""
        self.administration.close()
        self.calls.close()
        await self.network.close()

    async def form(self) -> Membership:
        """The membership with which the cluster was formed: as stored, or once there is one (see `formation`), then stored.

        Raises IdentityMismatch or InvalidInput when a peer says that this node cannot take part.
        """
        if self._identity.membership is not None:
            return self._identity.membership
        why = ""
        while isinstance(decision := self._decide(), Wait):
            self._heard.clear()
            if self._refused is not None:
                raise self._refused
            if decision.why != why:
                why = decision.why
                logger.info(
                    "node=%s waits to form cluster %s: %s", self._config.node, self._config.cluster, why
                )
            await self._heard.wait()
        membership = decision.membership
        self._identity = await asyncio.to_thread(self._identity.with_membership, membership)
        self._meet(membership.everyone)
        return membership

    def _decide(self) -> Form | Wait:
        return Form(self._ordered) if self._ordered is not None else decide(self._hello, self.network.heard())

    def on_membership(self, membership: Membership) -> None:
        """These are the members from now on."""
        self._members = membership.everyone
        self._meet(self._members)

    def _meet(self, members: frozenset[NodeId]) -> None:
        """Dial the members, and tell them and everyone who is connected who we are now."""
        names = {name_of(member) for member in members} - {self._config.node}
        self.network.set_peers({name: self.book[name] for name in sorted(names) if name in self.book})
        self._announce()

    def _announce(self) -> None:
        self._hello = self._make_hello()
        self.network.announce(self._hello)

    def _make_hello(self) -> Hello:
        identity, config = self._identity, self._config
        return peer_hello(
            config.cluster,
            config.node,
            identity.disk,
            config.peers,
            identity.membership,
            self._members,
            self.book,
        )

    # what others say

    def _on_hello(self, hello: Hello) -> None:
        news = hello.voters is not None and self.book.heard(hello.node, hello.addresses)
        if news and self._identity.membership is not None:
            self._meet(self._members or self._identity.membership.everyone)
        self._meet_speaker(hello)
        self._heard.set()

    def _meet_speaker(self, hello: Hello) -> None:
        """A member that this node does not know yet is answered all the same: it may be the leader."""
        known = self.network.peers()
        if hello.node in known or hello.voters is None or hello.node not in self.book:
            return
        mine = self._identity.membership
        if mine is not None or make_node_id(self._config.node, self._identity.disk) in hello.members:
            self.network.set_peers({**known, hello.node: self.book[hello.node]})

    def _on_refused(self, peer: str, refuse: Refuse) -> None:
        """Once formed, a refusal is the peer's trouble as likely as ours: the notes have it, the cluster goes on."""
        if refuse.code in (RefuseCode.INPUT, RefuseCode.IDENTITY) and peer in self.book:
            host, port = self.book[peer]
            self._refused = refusal_error(refuse, f"node {peer} at {host}:{port}")
            self._heard.set()

    def _on_call(self, connection: Connection, frame: Frame) -> None:
        if isinstance(frame, Ask) and not self.access.may_operate(connection.who):
            connection.send(Told(frame.id, problem="no rule admits this client to operating the cluster"))
        elif isinstance(frame, Ask):
            self.administration.on_ask(connection, frame)
        else:
            self.calls.on_frame(connection, frame)

    # what an operator asks

    async def _initialize(self, membership: Membership) -> None:
        """Form the cluster with this membership. Once; the same again is fine. Raises InvalidInput, IdentityMismatch."""
        me = make_node_id(self._config.node, self._identity.disk)
        if self._config.peers:
            raise InvalidInput(
                "peers", "are configured, so the cluster forms by itself", "do not initialize it"
            )
        if self._identity.membership not in (None, membership) or self._ordered not in (None, membership):
            raise IdentityMismatch(
                f"node {self._config.node} is in a cluster with another membership already"
            )
        if me not in membership.voters:
            raise InvalidInput("voters", f"do not name {me}", "inspect the nodes, then initialize anew")
        if (faults := membership.faults()) is not None:
            raise InvalidInput("voters", faults, "name other voters")
        self._ordered = membership
        self._heard.set()

    def _describe(self) -> dict[str, object]:
        identity = self._identity
        return {
            "cluster": self._config.cluster,
            "node": self._config.node,
            "disk": identity.disk,
            "formed": identity.membership is not None,
            "connected": self.network.connected(),
        }


def _check_same_voters(config: VoterConfig, identity: Identity, saved: Saved) -> None:
    """Whoever names the voters must name those with which the cluster was formed, or those that are in the log since."""
    if identity.membership is None or not config.peers:
        return
    formed = {name_of(voter) for voter in identity.membership.voters}
    changed = saved.snapshot is not None or any(entry.tag for entry in saved.entries.values())
    if formed != set(config.peers) and not changed:
        raise InvalidInput(
            "peers",
            f"are {', '.join(sorted(config.peers))}, and the cluster was formed with {', '.join(sorted(formed))}",
            "name the same voters",
        )


def _check_log_is_there(config: VoterConfig, identity: Identity) -> None:
    """The log is made before the cluster is formed, so a formed voter without one has lost its vote."""
    if identity.membership is not None and not log_exists(config.data_dir):
        raise StorageCorrupt(
            f"{config.data_dir / DIRECTORY} is missing, and with it this node's vote; {ADVICE}"
        )
