"""Reading cells, and writing several in one transaction."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from incumbent.engines.api import Cell, CellWrite, Claimed
from incumbent.engines.zookeeper import cells
from incumbent.engines.zookeeper.cells import Stored, Trace
from incumbent.engines.zookeeper.members import check_first
from incumbent.engines.zookeeper.service import (
    NodeExists,
    NoNode,
    Op,
    Service,
    children,
    commit,
    failure,
    get,
    unexpected,
)
from incumbent.errors import EngineUnavailable, IncumbentError, NotFirst, OutcomeUnknown, VersionConflict

GUARDS: Final = 2
"""Steps of a guarded transaction before those of the cells: the member, the incarnation."""


async def read_cell(service: Service, group: str, name: str) -> Cell:
    deadline_s = service.deadline_s()
    path = service.tree.cell(group, name)
    while True:
        (found,) = await service.fresh(get(path), deadline_s=deadline_s)
        cell = inline(found)
        if cell is not None:
            return cell
        stored = _stored(found)
        (value,) = await service.read(get(f"{path}/{stored.apart_name}"), deadline_s=deadline_s)
        if not isinstance(value, Exception):
            return Cell(value[0], stored.version)
        if not isinstance(value, NoNode):
            raise unexpected(value)
        if service.now_s() >= deadline_s:  # overwritten while it was read, again and again
            raise EngineUnavailable("the cell is written faster than it can be read")


def inline(found: Any) -> Cell | None:
    """The cell that was read; None when its value lies apart."""
    stored = _stored(found)
    return None if stored.apart else Cell(stored.value, stored.version)


@dataclass(frozen=True, slots=True)
class CellStep:
    service: Service
    group: str
    writes: Sequence[CellWrite]
    claimed: Claimed | None
    writer: bytes  # random, this step's own

    async def do(self) -> tuple[Cell, ...]:
        """At most once. Raises NotFirst, VersionConflict, EngineUnavailable, OutcomeUnknown."""
        deadline_s = self.service.deadline_s()
        fresh = False  # the first look may be at a server that is behind: enough to succeed, not to refuse
        while True:
            incarnation = -1
            if self.claimed is not None:
                incarnation = await check_first(self.service, self.claimed, deadline_s)
            before = await self._look(fresh=fresh, deadline_s=deadline_s)
            if not all(stored.fits(write) for stored, write in zip(before, self.writes, strict=True)):
                if fresh:
                    raise self._conflict()
                fresh = True
                continue
            if any(stored.counter is None for stored in before):
                await self._make_nodes(deadline_s)
                continue
            done = await self._try(before, incarnation, deadline_s)
            if done is not None:
                return done
            fresh = True
            if self.service.now_s() >= deadline_s:
                raise EngineUnavailable("the cells are written faster than this step can be")

    async def _try(
        self, before: list[Stored], incarnation: int, deadline_s: float
    ) -> tuple[Cell, ...] | None:
        """None: not done, and worth another look. Raises NotFirst, OutcomeUnknown."""
        await self._put_apart(before, deadline_s)
        try:
            (result,) = await self.service.write(
                commit(*self._transaction(before, incarnation)), deadline_s=deadline_s
            )
        except OutcomeUnknown as error:
            return await self._settle(before, error)
        failed = failure(result)
        if failed is None:
            at = GUARDS if self.claimed is not None else 0
            version = max(stat.mzxid for stat in result[at : at + len(self.writes)])
            return tuple(cells.written(write, version) for write in self.writes)
        step, why = failed
        await self._take_back(deadline_s)
        if self.claimed is not None and step == 0 and isinstance(why, NoNode):
            raise NotFirst(f"member {self.claimed.member.id} has left, was removed, or its session ended")
        return None

    def _transaction(self, before: list[Stored], incarnation: int) -> list[tuple[Any, ...]]:
        tree = self.service.tree
        steps = list[tuple[Any, ...]]()
        if self.claimed is not None:
            member = self.claimed.member
            steps += [
                ("check", tree.member(self.group, member.id), -1),
                ("check", tree.incarnation, incarnation),
            ]
        for write, stored in zip(self.writes, before, strict=True):
            data = cells.encode(write.value, self.writer)
            steps.append(("set_data", self._path(write), data, stored.counter))
        steps.append(("set_data", tree.bell(self.group), b"", -1))
        for write, stored in zip(self.writes, before, strict=True):
            if cells.lies_apart(write.value):  # nobody has swept it away meanwhile
                steps.append(("check", f"{self._path(write)}/{self.writer.hex()}", -1))
            if stored.apart:
                steps.append(("delete", f"{self._path(write)}/{stored.apart_name}"))
        return steps

    async def _settle(self, before: list[Stored], lost: OutcomeUnknown) -> tuple[Cell, ...] | None:
        """After an answer that was lost. What is asked behind it is done behind it, so what it is by then it stays."""
        try:
            now = await self._look(fresh=True, deadline_s=self.service.deadline_s())
        except (EngineUnavailable, OutcomeUnknown) as error:
            raise lost from error
        match cells.trace(self.writer, before, now):
            case Trace.DONE:
                version = max(stored.version for stored in now if stored.writer == self.writer)
                return tuple(cells.written(write, version) for write in self.writes)
            case Trace.NOT_DONE:
                return None
            case Trace.LOST:
                raise lost

    async def _look(self, *, fresh: bool, deadline_s: float) -> list[Stored]:
        ops = [get(self._path(write)) for write in self.writes]
        ask = self.service.fresh if fresh else self.service.read
        return [_stored(found) for found in await ask(*ops, deadline_s=deadline_s)]

    async def _make_nodes(self, deadline_s: float) -> None:
        await self.service.make(
            self.service.tree.bell(self.group), *map(self._path, self.writes), deadline_s=deadline_s
        )

    async def _put_apart(self, before: list[Stored], deadline_s: float) -> None:
        """Large values, before the transaction that names them; and away with those that no transaction named: any that is
        older than the cell as it was read belongs to a writer whose comparison has failed, or will."""
        ops = list[Op]()
        for write, stored in zip(self.writes, before, strict=True):
            if cells.lies_apart(write.value):
                await self._sweep(write, stored, deadline_s)
                ops.append(_creation(f"{self._path(write)}/{self.writer.hex()}", write.value or b""))
        for op in ops:  # one by one: together they could be more than a server reads at once
            (result,) = await self._write_or_unavailable(op, deadline_s)
            if isinstance(result, Exception) and not isinstance(result, NodeExists):
                raise unexpected(result)

    async def _sweep(self, write: CellWrite, stored: Stored, deadline_s: float) -> None:
        path = self._path(write)
        (found,) = await self.service.read(children(path), deadline_s=deadline_s)
        if isinstance(found, Exception):
            raise unexpected(found)
        for name in found[0]:
            if name in (stored.apart_name, self.writer.hex()):
                continue
            (node,) = await self.service.read(get(f"{path}/{name}"), deadline_s=deadline_s)
            if not isinstance(node, Exception) and node[1].czxid < stored.version:
                await self._write_or_unavailable(commit(("delete", f"{path}/{name}")), deadline_s)

    async def _take_back(self, deadline_s: float) -> None:
        """Large values of a transaction that was refused. What stays is swept away by the next writer."""
        for write in self.writes:
            if cells.lies_apart(write.value):
                with contextlib.suppress(IncumbentError):
                    path = f"{self._path(write)}/{self.writer.hex()}"
                    await self.service.write(commit(("delete", path)), deadline_s=deadline_s)

    async def _write_or_unavailable(self, op: Op, deadline_s: float) -> list[Any]:
        """What may be done twice, and does nothing by itself."""
        try:
            return await self.service.write(op, deadline_s=deadline_s)
        except OutcomeUnknown as error:
            raise EngineUnavailable(str(error)) from error

    def _path(self, write: CellWrite) -> str:
        return self.service.tree.cell(self.group, write.name)

    def _conflict(self) -> VersionConflict:
        named = ", ".join(repr(w.name[:40]) for w in self.writes if w.expected_version is not None)
        return VersionConflict(f"not all of the cells {named} have the version that was expected")


def _creation(path: str, value: bytes) -> Op:
    return lambda client: client.create_async(path, value)


def _stored(found: Any) -> Stored:
    if isinstance(found, NoNode):
        return Stored()
    if isinstance(found, Exception):
        raise unexpected(found)
    data, stat = found
    return Stored.of(data, stat.version, stat.mzxid)
