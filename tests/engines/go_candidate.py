"""A candidate that plays by client-go's rules, step by step, on a clock of the test's own.

Facts from k8s.io/client-go/tools/leaderelection: it creates the Lease when there is none; it counts leaseDurationSeconds from when
it saw the record change; it updates under the version that it read; it lets go by writing an empty holder and one second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from incumbent.engines.kubernetes.client import Conflict, Exists, Leases, Server
from incumbent.engines.kubernetes.leases import micro_time, new_lease


@dataclass
class GoCandidate:
    server: Server
    name: str
    identity: str
    now_s: Callable[[], float]
    duration_s: int = 15
    lease: dict[str, Any] | None = None
    _record: dict[str, Any] | None = None
    _seen_s: float = field(default=0.0)

    async def step(self) -> bool:
        """One turn of its loop: try to acquire or to renew. Returns whether it leads now."""
        leases = self._leases()
        self.lease = await leases.find(self.name)
        now = micro_time()
        mine = {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": self.duration_s,
            "acquireTime": now,
            "renewTime": now,
            "leaseTransitions": 0,
        }
        if self.lease is None:
            try:
                self.lease = await leases.create(new_lease(self.name, {}, {}, mine))
            except Exists:
                return False
            return True
        record = self.lease["spec"]
        if record != self._record:
            self._record, self._seen_s = record, self.now_s()
        leads = record.get("holderIdentity") == self.identity
        if (
            record.get("holderIdentity")
            and not leads
            and self.now_s() < self._seen_s + (record["leaseDurationSeconds"])
        ):
            return False
        mine["leaseTransitions"] = (record.get("leaseTransitions") or 0) + (not leads)
        if leads:
            mine["acquireTime"] = record["acquireTime"]
        return await self._update(mine)

    async def release(self) -> bool:
        now = micro_time()
        assert self.lease is not None
        return await self._update(
            {
                "holderIdentity": "",
                "leaseDurationSeconds": 1,
                "acquireTime": now,
                "renewTime": now,
                "leaseTransitions": self.lease["spec"]["leaseTransitions"],
            }
        )

    async def _update(self, spec: dict[str, Any]) -> bool:
        assert self.lease is not None
        try:
            self.lease = await self._leases().update({**self.lease, "spec": spec})
        except Conflict:
            return False
        self._record, self._seen_s = self.lease["spec"], self.now_s()
        return True

    def _leases(self) -> Leases:
        return self.server.until(asyncio.get_running_loop().time() + 5.0)
