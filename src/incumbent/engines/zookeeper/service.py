"""What all parts of one engine share: the line, the tree, the history, and the time that a call may take."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from kazoo import exceptions as kazoo_errors
from kazoo.client import KazooClient

from incumbent.engines.zookeeper import layout, wire
from incumbent.engines.zookeeper.history import History
from incumbent.engines.zookeeper.layout import Tree
from incumbent.engines.zookeeper.line import Line
from incumbent.engines.zookeeper.place import Place
from incumbent.engines.zookeeper.visit import refusal
from incumbent.errors import EngineUnavailable, NotAllowed, OutcomeUnknown, Unsupported

CALL_TIMEOUT_S: Final = 5.0
"""How long one call may take, with all its attempts."""

Op = Callable[[KazooClient], Any]
NoNode: Final = kazoo_errors.NoNodeError
NodeExists: Final = kazoo_errors.NodeExistsError
BadVersion: Final = kazoo_errors.BadVersionError


@dataclass(frozen=True, slots=True)
class Incarnation:
    number: int
    counter: int  # of its node: what a transaction compares
    raised_at: int  # zxid; 0 = never


@dataclass(slots=True)
class Service:
    place: Place
    tree: Tree
    line: Line
    history: History = field(default_factory=History)
    call_timeout_s: float = CALL_TIMEOUT_S
    pid: int = field(default_factory=os.getpid)
    closed: bool = False

    def check_open(self) -> None:
        self.check_process()
        if self.closed:
            raise EngineUnavailable("this engine is closed")

    def check_process(self) -> None:
        if os.getpid() != self.pid:
            raise Unsupported(f"this engine belongs to process {self.pid}; after a fork, connect anew")

    def deadline_s(self) -> float:
        return self.now_s() + self.call_timeout_s

    def now_s(self) -> float:
        """Only for giving up: no lease is measured by it."""
        return asyncio.get_running_loop().time()

    async def read(self, *ops: Op, deadline_s: float | None = None) -> list[Any]:
        """Raises EngineUnavailable, NotAllowed, Overloaded."""
        self.check_open()
        results, zxid = await self.line.ask(*ops, writes=False, timeout=self._left_s(deadline_s))
        self.history.newest = max(self.history.newest, zxid)
        return results

    async def fresh(self, *ops: Op, deadline_s: float | None = None) -> list[Any]:
        """Reads that show everything that was acknowledged before: behind a transaction that a quorum commits.

        Raises as `read`.
        """
        self.check_open()
        asked_after = self.history.newest
        (barrier, *results), zxid = await self.line.ask(
            commit(("check", self.tree.home, -1)), *ops, writes=False, timeout=self._left_s(deadline_s)
        )
        self.history.committed(asked_after, zxid)
        if failure(barrier) is not None:
            await self.found(deadline_s=deadline_s)  # an emptied server
            return await self.read(*ops, deadline_s=deadline_s)
        return results

    async def write(self, *ops: Op, deadline_s: float | None = None) -> list[Any]:
        """Raises OutcomeUnknown, EngineUnavailable, NotAllowed, Overloaded."""
        self.check_open()
        asked_after = self.history.newest
        results, zxid = await self.line.ask(*ops, writes=True, timeout=self._left_s(deadline_s))
        self.history.committed(asked_after, zxid)
        return results

    async def found(self, *, deadline_s: float | None = None) -> None:
        """Make the nodes that everything else stands on, where they are not there."""
        steps = self.tree.home.split("/")[1:]
        paths = ["/" + "/".join(steps[: at + 1]) for at in range(len(steps))]
        await self.make(*paths, self.tree.sessions, self.tree.groups, deadline_s=deadline_s)
        await self.make(self.tree.incarnation, data=b"0", deadline_s=deadline_s)

    async def make(self, *paths: str, data: bytes = b"", deadline_s: float | None = None) -> None:
        """Nodes that stay, parents first. There already is fine. Raises as `write`."""

        def creation(path: str) -> Op:
            return lambda client: client.create_async(path, data)

        try:
            for result in await self.write(*map(creation, paths), deadline_s=deadline_s):
                if isinstance(result, Exception) and not isinstance(result, NodeExists):
                    raise unexpected(result)
        except OutcomeUnknown as error:
            raise EngineUnavailable(f"nodes could not be made: {error}") from error

    def incarnation(self, read: Any) -> Incarnation:
        """From what was read of its node. Raises IncarnationChanged."""
        if isinstance(read, Exception):
            if not isinstance(read, NoNode):
                raise unexpected(read)
            self.history.found(0)
            return Incarnation(0, -1, 0)
        data, stat = read
        number = layout.decode_incarnation(data)
        self.history.found(number)
        return Incarnation(number, stat.version, stat.mzxid if number else 0)

    def _left_s(self, deadline_s: float | None) -> float:
        return self.call_timeout_s if deadline_s is None else max(0.0, deadline_s - self.now_s())


def get(path: str) -> Op:
    return lambda client: client.get_async(path)


def exists(path: str) -> Op:
    return lambda client: client.exists_async(path)


def children(path: str) -> Op:
    return lambda client: client.get_children_async(path, include_data=True)


def as_read(answer: wire.Answer) -> Any:
    """A visit's answer as the line gives it. Raises NotAllowed, SessionGone, OutcomeUnknown."""
    refused = refusal(answer)
    if refused is not None:
        raise refused
    return NoNode() if answer.error == wire.NO_NODE else (answer.held, answer.stat)


def commit(*steps: tuple[Any, ...]) -> Op:
    """A transaction: ("check", path, version), ("set_data", path, data, version), ("delete", path)."""

    def start(client: KazooClient) -> Any:
        transaction = client.transaction()
        for name, *arguments in steps:
            getattr(transaction, name)(*arguments)
        return transaction.commit_async()

    return start


def failure(result: Any) -> tuple[int, Exception] | None:
    """Which step of a transaction failed and why; None when all were done."""
    if isinstance(result, Exception):
        return 0, result
    for at, step in enumerate(result):
        if isinstance(step, Exception) and not isinstance(step, kazoo_errors.RolledBackError):
            return at, step
    return None


def unexpected(error: Exception) -> OutcomeUnknown | NotAllowed:
    if isinstance(error, kazoo_errors.NoAuthError):
        return NotAllowed(f"ZooKeeper's access rules do not admit this user: {error!r}")
    return OutcomeUnknown(f"ZooKeeper answered {error!r}")
