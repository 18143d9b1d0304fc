"""Ends sessions on Kubernetes by reference, for the guardian: a connection of its own, and three steps (`ending`)."""

from __future__ import annotations

import asyncio
from typing import Final

from incumbent.engines.api import Ref
from incumbent.engines.kubernetes.access import Place, open_access
from incumbent.engines.kubernetes.client import Conflict, NotThere, Server
from incumbent.engines.kubernetes.ending import end_session
from incumbent.engines.kubernetes.reference import Reference
from incumbent.errors import EngineUnavailable, OutcomeUnknown, Overloaded

ATTEMPT_TIMEOUT_S: Final = 3.0
RETRY_PAUSE_S: Final = 0.05


def make_ender() -> KubernetesEnder:
    return KubernetesEnder()


class KubernetesEnder:
    """One API server at a time: the one of the reference that came last."""

    def __init__(self) -> None:
        self._server: Server | None = None
        self._place: Place | None = None

    async def prepare(self, ref: Ref) -> None:
        """Connects. Raises EngineUnavailable, InvalidInput."""
        await (await self._server_of(Reference.from_bytes(ref))).warm_up()

    async def end(self, ref: Ref) -> bool:
        """Asks until there is an answer; the caller bounds it. True also when an attempt's answer was lost and the next
        one found the session over."""
        reference = Reference.from_bytes(ref)
        server = await self._server_of(reference)
        asked_before = False
        while True:
            leases = server.until(asyncio.get_running_loop().time() + ATTEMPT_TIMEOUT_S)
            try:
                return await end_session(leases, reference.name, reference.uid) or asked_before
            except OutcomeUnknown:
                asked_before = True
            except (EngineUnavailable, Overloaded, Conflict, NotThere):
                pass
            await asyncio.sleep(RETRY_PAUSE_S)

    async def close(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            await server.close()

    async def _server_of(self, reference: Reference) -> Server:
        if self._server is None or self._place != reference.place:
            await self.close()
            self._server, self._place = Server(open_access(reference.place)), reference.place
        return self._server
