"""Ends a cluster's sessions by reference, for the guardian: asks the voters that the reference names, as an outsider.

There is no voter in this process, so it knows no leader: it asks whichever voter it reaches and follows the hints.
"""

from __future__ import annotations

import asyncio
from typing import Final

from incumbent.engines.api import Ref
from incumbent.engines.cluster.layout import INCARNATION_KEY
from incumbent.engines.cluster.reference import Reference
from incumbent.errors import EngineUnavailable, OutcomeUnknown, Overloaded
from incumbent.kv.api import Code, LeaseRevoke, Range
from incumbent.runtime.client import ClusterClient
from incumbent.runtime.tls import Tls, TlsFiles

ATTEMPT_TIMEOUT_S: Final = 2.0
"""One attempt over all voters. The cluster may be electing: the process that died may have been its leader."""
RETRY_PAUSE_S: Final = 0.05
PREPARE_TIMEOUT_S: Final = 5.0


def make_ender() -> ClusterEnder:
    return ClusterEnder()


class ClusterEnder:
    """One cluster at a time: the one of the reference that came last."""

    def __init__(self) -> None:
        self._client: ClusterClient | None = None
        self._place: object = None

    async def prepare(self, ref: Ref) -> None:
        """Finds the leader and stays connected to it. Raises EngineUnavailable when there is none yet."""
        client = await self._client_of(Reference.from_bytes(ref))
        await client.read(Range(INCARNATION_KEY), timeout=PREPARE_TIMEOUT_S)

    async def end(self, ref: Ref) -> bool:
        """Asks until there is an answer; the caller bounds it. True also when an attempt's answer was lost and the next
        one found the session over."""
        reference = Reference.from_bytes(ref)
        client = await self._client_of(reference)
        asked_before = False
        while True:
            try:
                result = await client.submit(LeaseRevoke(reference.lease), timeout=ATTEMPT_TIMEOUT_S)
                return result.code is Code.OK or asked_before
            except OutcomeUnknown:
                asked_before = True
            except (EngineUnavailable, Overloaded):
                pass
            await asyncio.sleep(RETRY_PAUSE_S)

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def _client_of(self, reference: Reference) -> ClusterClient:
        place = (reference.cluster, reference.voters, reference.tls)
        if self._client is None or self._place != place:
            await self.close()
            files = None if reference.tls is None else TlsFiles.of(*reference.tls)
            tls = None if files is None else Tls(files)
            self._client = ClusterClient(reference.voters, reference.cluster, tls=tls)
            self._place = place
        return self._client
