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

from incumbent.consensus.api import Membership
from incumbent.consensus.raft import messages
from incumbent.errors import IncumbentError, InvalidInput, StorageCorrupt
from incumbent.ids import ClusterName, NodeId, make_node_id, name_of
from incumbent.node.node import Node
from incumbent.runtime import wal
from incumbent.runtime.calls import CallServer
from incumbent.runtime.client import ClusterClient
from incumbent.runtime.clock import BoottimeClock
from incumbent.runtime.config import VoterConfig, bind, check_config
from incumbent.runtime.connection import LIMITS, NetworkLimits
from incumbent.runtime.driver import Driver, DriverStatus
from incumbent.runtime.formation import Form, decide, peer_hello
from incumbent.runtime.frames import Address, Hello, Refuse, RefuseCode, refusal_error
from incumbent.runtime.identity import Identity, open_identity
from incumbent.runtime.notes import Notes, logger
from incumbent.runtime.transport import Network

__all__ = ["Voter", "VoterConfig", "VoterStatus"]

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

    def __init__(
        self, config: VoterConfig, me: NodeId, membership: Membership, driver: Driver, network: Network
    ) -> None:
        self.driver = driver
        self.me = me
        self._config = config
        self._membership = membership
        self._network = network
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
        async with AsyncExitStack() as stack:
            listener = stack.enter_context(closing(bind(config.listen_address)))
            identity = stack.enter_context(
                closing(open_identity(config.data_dir, ClusterName(config.cluster), config.node))
            )
            _check_same_voters(config, identity)
            _check_log_is_there(config, identity)
            clock = BoottimeClock()
            notes = Notes(config.node, clock)
            storage = wal.RaftLog(config.data_dir, identity.disk)
            opening = stack.enter_context(ExitStack())
            opening.callback(storage.close)
            saved = await asyncio.to_thread(storage.load)
            lobby = Lobby(config, identity, notes, limits)
            stack.push_async_callback(lobby.network.close)
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
            )
            driver = Driver(node, storage, lobby.network, clock, notes)
            lobby.calls.driver = driver
            voter = cls(config, me, membership, driver, lobby.network)
            opening.pop_all()  # the driver closes the storage from now on
            stack.push_async_callback(voter._stop)
            yield voter

    def client(self) -> ClusterClient:
        """A client of this voter's cluster that asks this voter first. The caller closes it."""
        return ClusterClient(self._config.peers, self._config.cluster, self.driver)

    async def wait_stopped(self) -> None:
        """Return when the driver has stopped; raise what stopped it."""
        await asyncio.shield(self._task)

    def status(self) -> VoterStatus:
        return VoterStatus(
            self._config.cluster,
            self.me,
            self._config.listen_address,
            self._membership.voters,
            self.driver.status(),
            self._network.connected(),
            dict(self._network.counts),
        )

    def _on_driver_done(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            # Without goodbye: to its peers this voter is dead from now on, and they may replace it at once.
            logger.critical("node=%s stopped: %s: %s", self._config.node, type(error).__name__, error)
            self._network.abort()

    async def _stop(self) -> None:
        self.driver.stop()
        await asyncio.wait({self._task}, timeout=STOP_TIMEOUT_S)
        if not self._task.done():
            self._task.cancel()
            await asyncio.wait({self._task})
        if not self._task.cancelled():
            self._task.result()


class Lobby:
    """The network of a voter from its first hello on, and the wait in which its cluster is formed."""

    def __init__(self, config: VoterConfig, identity: Identity, notes: Notes, limits: NetworkLimits) -> None:
        self.calls = CallServer(config.peers, limits)
        self._config = config
        self._identity = identity
        self._hello = _hello_of(config, identity)
        self._heard = asyncio.Event()
        self._refused: IncumbentError | None = None
        self.network = Network(
            self._hello,
            config.peers,
            messages,
            Random(os.urandom(16)),
            on_hello=self._heard.set,
            on_refused=self._on_refused,
            on_call=self.calls.on_frame,
            on_note=lambda note: notes.add([note]),
            limits=limits,
        )

    async def form(self) -> Membership:
        """The membership: as stored, or once every configured node was heard (`formation`), then stored.

        Raises IdentityMismatch or InvalidInput when a peer says that this node cannot take part.
        """
        if self._identity.membership is not None:
            return self._identity.membership
        why = ""
        while True:
            self._heard.clear()
            decision = decide(self._hello, self.network.heard())
            if isinstance(decision, Form):
                break
            if self._refused is not None:
                raise self._refused
            if decision.why != why:
                why = decision.why
                logger.info(
                    "node=%s waits to form cluster %s: %s", self._config.node, self._config.cluster, why
                )
            await self._heard.wait()
        formed = await asyncio.to_thread(self._identity.with_membership, decision.membership)
        self.network.announce(_hello_of(self._config, formed))
        return decision.membership

    def _on_refused(self, peer: str, refuse: Refuse) -> None:
        """Once formed, a refusal is the peer's trouble as likely as ours: the notes have it, the cluster goes on."""
        if refuse.code in (RefuseCode.INPUT, RefuseCode.IDENTITY):
            host, port = self._config.peers[peer]
            self._refused = refusal_error(refuse, f"node {peer} at {host}:{port}")
            self._heard.set()


def _hello_of(config: VoterConfig, identity: Identity) -> Hello:
    return peer_hello(
        config.cluster, config.node, identity.disk, frozenset(config.peers), identity.membership
    )


def _check_same_voters(config: VoterConfig, identity: Identity) -> None:
    if identity.membership is None:
        return
    formed = {name_of(voter) for voter in identity.membership.voters}
    if formed != set(config.peers):
        raise InvalidInput(
            "peers",
            f"are {', '.join(sorted(config.peers))}, and the cluster was formed with {', '.join(sorted(formed))}",
            "name the same voters",
        )


def _check_log_is_there(config: VoterConfig, identity: Identity) -> None:
    """The log is made before the cluster is formed, so a formed voter without one has lost its vote."""
    if identity.membership is not None and not (config.data_dir / wal.FILE_NAME).exists():
        raise StorageCorrupt(
            f"{config.data_dir / wal.FILE_NAME} is missing, and with it this node's vote: restore it"
        )
