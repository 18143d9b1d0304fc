"""An etcd asked in the machine's data model: transactions, leases, and renewals that a quorum stands behind."""

from __future__ import annotations

import asyncio
from typing import Final

from incumbent.engines.etcd.gateway import ATTEMPT_S, Gateway
from incumbent.engines.etcd.wire import (
    Json,
    Meaning,
    Refusal,
    granted_of,
    header_of,
    meaning,
    result_of,
    seconds_of,
    transaction,
)
from incumbent.errors import EngineUnavailable, OutcomeUnknown
from incumbent.ids import LeaseId, Revision
from incumbent.kv.api import Code, Result, Txn

TXN: Final = "/v3/kv/txn"
RENEWALS_MAX: Final = 4
"""Attempts at one renewal. The first after a change of leader is not believed, the next one is."""


class Store:
    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def submit(self, command: Txn, *, timeout: float) -> Result:
        """Raises EngineUnavailable or Overloaded (certainly not done), OutcomeUnknown. A lease that is gone is a Result."""
        try:
            return result_of(await self._gateway.ask(TXN, transaction(command), timeout_s=timeout))
        except Refusal as refusal:
            if meaning(refusal) is not Meaning.LEASE_NOT_FOUND:
                raise OutcomeUnknown(refusal.words) from refusal
            return Result(Code.LEASE_NOT_FOUND, Revision(0), succeeded=False)

    async def read(self, query: Txn, *, timeout: float) -> Result:
        """Linearizable. Raises EngineUnavailable."""
        return result_of(await self._gateway.read(TXN, transaction(query), timeout_s=timeout))

    async def grant(self, lease: LeaseId, ttl_s: int, *, timeout: float) -> int | None:
        """Returns the seconds that this etcd gave; None when there is a lease of that id already. Raises as `submit`."""
        try:
            told = await self._gateway.ask(
                "/v3/lease/grant", {"ID": str(lease), "TTL": str(ttl_s)}, timeout_s=timeout
            )
        except Refusal as refusal:
            if meaning(refusal) is not Meaning.LEASE_EXISTS:
                raise OutcomeUnknown(refusal.words) from refusal
            return None
        return seconds_of(told)

    async def granted(self, lease: LeaseId, *, timeout: float) -> int:
        """The seconds that a lease was given; 0: there is none. Raises EngineUnavailable."""
        told = await self._gateway.read(
            "/v3/lease/timetolive", {"ID": str(lease)}, timeout_s=timeout, linearizable=False
        )
        return granted_of(told)

    async def revoke(self, lease: LeaseId, *, timeout: float) -> bool:
        """False: it was over. Raises as `submit`."""
        try:
            await self._gateway.ask("/v3/lease/revoke", {"ID": str(lease)}, timeout_s=timeout)
        except Refusal as refusal:
            if meaning(refusal) is not Meaning.LEASE_NOT_FOUND:
                raise OutcomeUnknown(refusal.words) from refusal
            return False
        return True

    async def renew(self, lease: LeaseId, proof: Txn, *, timeout: float) -> Result:
        """Extend a lease, and return what `proof` reads after it at the same member.

        An etcd's leader extends a lease by itself, without asking a quorum, and one that was deposed may still say yes (always,
        before 3.4.20 and 3.5.3; later ones ask first). So a renewal counts only when the member that passed it on was in one
        Raft term before and after it, and a linearizable read that began after it finds that term too: whoever led that term was
        the leader then. A newer leader's term would show in the read, since a leader commits an entry of its own before it
        confirms any read.

        Raises EngineUnavailable when none counted; it may have been extended all the same, which harms nobody.
        """
        deadline = _now_s() + timeout
        trouble = "it is not known whether a quorum stands behind the renewal"
        for _ in range(RENEWALS_MAX):
            left_s = deadline - _now_s()
            if left_s <= 0:
                break
            try:
                result, counts = await self._renew_once(lease, proof, min(ATTEMPT_S, left_s))
            except (EngineUnavailable, OutcomeUnknown) as error:
                trouble = str(error)
                continue
            except Refusal as refusal:
                trouble = refusal.words
                continue
            if counts or not result.results[0].kvs:
                return result
        raise EngineUnavailable(trouble)

    async def _renew_once(self, lease: LeaseId, proof: Txn, timeout_s: float) -> tuple[Result, bool]:
        endpoint = self._gateway.endpoint
        terms = dict(self._gateway.sight.terms)  # what the members had been in before
        renewed = await self._gateway.ask_at(
            endpoint, "/v3/lease/keepalive", {"ID": str(lease)}, timeout_s=timeout_s, linearizable=False
        )
        told = await self._gateway.ask_at(endpoint, TXN, transaction(proof), timeout_s=timeout_s)
        return result_of(told), _extended(renewed) and _one_term(terms, renewed, told)


def _extended(renewed: Json) -> bool:
    """A new leader that has yet to apply the grant says no too: what the proof finds decides."""
    return seconds_of(renewed) > 0


def _one_term(before: dict[int, int], renewed: Json, told: Json) -> bool:
    first, last = header_of(renewed), header_of(told)
    return before.get(first.member) == first.term == last.term


def _now_s() -> float:
    """Only for giving up: no lease is measured by it."""
    return asyncio.get_running_loop().time()
