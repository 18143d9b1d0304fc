"""Ends local sessions by reference, for the guardian: opens the directory that the reference names, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

from incumbent.engines.api import Ref
from incumbent.engines.local.boot import this_boot
from incumbent.engines.local.desk import Desk
from incumbent.engines.local.directory import DATABASE
from incumbent.engines.local.holder import Holder
from incumbent.engines.local.reference import Reference
from incumbent.errors import EngineUnavailable
from incumbent.runtime.clock import BoottimeClock

T = TypeVar("T")
BUSY_TIMEOUT_S: Final = 5.0
RETRY_EVERY_S: Final = 0.1


def make_ender() -> LocalEnder:
    return LocalEnder()


class LocalEnder:
    """One directory at a time: the one of the reference that came last."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="incumbent-ender")
        self._desk: Desk | None = None
        self._directory = ""

    async def prepare(self, ref: Ref) -> None:
        reference = Reference.from_bytes(ref)
        if (Path(reference.directory) / DATABASE).exists():
            await self._run(lambda: self._desk_of(reference).run(lambda _: None))

    async def end(self, ref: Ref) -> bool:
        """True = ended now, False = was already over; also when its directory is gone, and its sessions with it."""
        reference = Reference.from_bytes(ref)
        while True:
            if not (Path(reference.directory) / DATABASE).exists():
                return False
            try:
                return await self._run(
                    lambda: self._desk_of(reference).run(lambda store: store.end_session(reference))
                )
            except EngineUnavailable:
                await asyncio.sleep(RETRY_EVERY_S)

    async def close(self) -> None:
        await self._run(self._close)
        self._thread.shutdown(wait=False)

    async def _run(self, act: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, act)

    def _desk_of(self, reference: Reference) -> Desk:
        if self._desk is None or self._directory != reference.directory:
            self._close()
            self._directory = reference.directory
            self._desk = Desk(
                Path(reference.directory),
                now_ns=BoottimeClock().now_ns,
                boot=this_boot(),
                holder=Holder.this_process(),
                busy_timeout_s=BUSY_TIMEOUT_S,
            )
        return self._desk

    def _close(self) -> None:
        if self._desk is not None:
            self._desk.close()
            self._desk = None
