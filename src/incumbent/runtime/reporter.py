"""Tells the cluster the digests that this voter takes."""

from __future__ import annotations

import asyncio
from typing import Final

from incumbent.errors import IncumbentError
from incumbent.kv.api import ReportDigest
from incumbent.runtime.client import ClusterClient
from incumbent.runtime.notes import logger

REPORT_TIMEOUT_S: Final = 10.0


class Reporter:
    """Through whoever leads, one at a time and best effort: the next digest is not far."""

    def __init__(self) -> None:
        self.client: ClusterClient | None = None
        """Of the voter; closed with this."""
        self._telling: asyncio.Task[None] | None = None

    def report(self, report: ReportDigest) -> None:
        if self.client is not None and (self._telling is None or self._telling.done()):
            self._telling = asyncio.create_task(
                self._tell(self.client, report), name="incumbent reports a digest"
            )

    async def close(self) -> None:
        if self._telling is not None:
            self._telling.cancel()
        if self.client is not None:
            await self.client.close()

    async def _tell(self, client: ClusterClient, report: ReportDigest) -> None:
        try:
            await client.submit(report, timeout=REPORT_TIMEOUT_S)
        except IncumbentError as error:
            logger.info("node=%s did not report its digest at %d: %s", report.voter, report.index, error)
