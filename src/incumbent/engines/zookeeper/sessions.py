"""Sessions: opened once for each request, renewed by attaching and writing, and what is done in their name.

Each has an ephemeral node of its own, named by the request that opened it: a retry finds it there (P3), a renewal is a write to
it.
"""

from __future__ import annotations

import asyncio
import math
from typing import Final

from incumbent.engines.api import Session
from incumbent.engines.zookeeper import visit, wire
from incumbent.engines.zookeeper.attendant import HOST_TIMEOUT_MAX_S, Attendant
from incumbent.engines.zookeeper.reference import Reference
from incumbent.engines.zookeeper.service import NoNode, Service, get, unexpected
from incumbent.engines.zookeeper.visit import Visit
from incumbent.errors import (
    EngineUnavailable,
    IncarnationChanged,
    InvalidInput,
    OutcomeUnknown,
    Overloaded,
    SessionGone,
)

RETRY_PAUSE_S: Final = 0.05
ATTACHED_MAX: Final = 1024
"""Sessions of one engine object."""


class Sessions:
    def __init__(self, service: Service) -> None:
        self._service = service
        self._attendants: dict[int, Attendant] = {}
        self._breaks: dict[int, int] = {}  # by session: how often the history had gone back when it was met

    # --- opening --------------------------------------------------------------------------------------------------

    async def open(self, ttl: float, request_id: str, release_delay: float) -> Session:
        """Raises InvalidInput when ZooKeeper does not grant the TTL exactly, EngineUnavailable, OutcomeUnknown."""
        service = self._service
        service.check_open()
        node = service.tree.session(request_id)
        deadline_s = service.deadline_s()
        while True:
            if service.now_s() >= deadline_s:
                raise EngineUnavailable("the session's node changes faster than it can be read")
            (found,) = await service.fresh(get(node), deadline_s=deadline_s)
            if isinstance(found, NoNode):
                made = await self._make(node, ttl, release_delay, deadline_s)
                if made is None:
                    continue  # another attempt of this request has made it meanwhile
                return Session(made.to_bytes(), ttl)
            if isinstance(found, Exception):
                raise unexpected(found)
            reference = Reference.from_bytes(found[0])
            if (reference.ttl, reference.release_delay) != (ttl, release_delay):
                raise InvalidInput("request_id", "opened a session with another ttl", "use a fresh one")
            try:
                await self.renew(reference)
            except SessionGone:
                continue
            except IncarnationChanged:
                await self.end(reference)
                continue
            return Session(reference.to_bytes(), ttl)

    async def _make(self, node: str, ttl: float, release_delay: float, deadline_s: float) -> Reference | None:
        service = self._service
        if len(self._attendants) >= ATTACHED_MAX:
            raise Overloaded(f"{ATTACHED_MAX} sessions are open on one engine object: share them")
        timeout_ms = math.ceil(round((ttl + release_delay) * 1000, 6))
        first = await self._first_visit(timeout_ms, deadline_s)
        granted = first.attached
        try:
            if granted.timeout_ms != timeout_ms:
                await first.ask(wire.Request(wire.CLOSE))
                raise InvalidInput(
                    "ttl",
                    f"and release_delay make {timeout_ms} ms, and ZooKeeper grants {granted.timeout_ms} ms",
                    "stay within its bounds, by default 2 to 20 ticks of 2 s: incumbent doctor shows them",
                )
            place = service.place
            reference = Reference(
                place.root,
                node,
                granted.session,
                granted.password,
                ttl,
                release_delay,
                timeout_ms,
                place.hosts,
                None if place.tls is None else (place.tls.ca, place.tls.certificate, place.tls.key),
            )
            asked_after = service.history.newest
            create = wire.create(node, reference.to_bytes(), sequential=False, owned=place.login is not None)
            try:
                async with asyncio.timeout(max(0.0, deadline_s - service.now_s())):
                    (answer,) = await first.ask(create)
            except TimeoutError as error:
                raise OutcomeUnknown("the server did not answer in time") from error
            if isinstance(answer, OutcomeUnknown):
                raise answer
            if answer.error == wire.NODE_EXISTS:
                await first.ask(wire.Request(wire.CLOSE))
                first.close()
                return None
            refused = visit.refusal(answer)
            if refused is not None:
                raise refused
            if answer.error != wire.OK:
                raise OutcomeUnknown("the nodes of incumbent are gone")
        except BaseException:
            first.close()
            raise
        service.history.committed(asked_after, answer.zxid)
        self.attend(reference).keep(first)
        return reference

    async def _first_visit(self, timeout_ms: int, deadline_s: float) -> Visit:
        service, trouble = self._service, None
        while True:
            for address in service.place.hosts:
                try:
                    async with asyncio.timeout(HOST_TIMEOUT_MAX_S):
                        return await visit.pay(service.place, address, timeout_ms, 0, wire.NOBODY)
                except (EngineUnavailable, TimeoutError, SessionGone) as error:
                    trouble = error
            if service.now_s() >= deadline_s:
                raise EngineUnavailable(f"no server answered: {trouble}")
            await asyncio.sleep(RETRY_PAUSE_S)

    # --- living ---------------------------------------------------------------------------------------------------

    async def renew(self, reference: Reference) -> None:
        """Raises SessionGone, IncarnationChanged, EngineUnavailable, OutcomeUnknown."""
        attendant = self.attend(reference)
        asked_after = self._service.history.newest
        try:
            (answer,) = await attendant.do(wire.set_data(reference.node, reference.to_bytes()), anew=True)
        except SessionGone:
            await self.forget(reference.session)
            raise
        if answer.error == wire.NO_NODE:
            await self.forget(reference.session)
            raise SessionGone("the session has ended")
        self._service.history.committed(asked_after, answer.zxid)
        if self._breaks[reference.session] != self._service.history.breaks:
            raise IncarnationChanged("ZooKeeper's history went back under this session: open another")

    async def end(self, reference: Reference) -> bool:
        """Raises EngineUnavailable, OutcomeUnknown."""
        service = self._service
        deadline_s, unknown, trouble = service.deadline_s(), None, None
        hosts = list(service.place.hosts)
        await self.forget(reference.session)
        while True:
            for address in hosts:
                service.check_open()
                try:
                    async with asyncio.timeout(HOST_TIMEOUT_MAX_S):
                        ended = await visit.end_by(
                            service.place,
                            address,
                            reference.timeout_ms,
                            reference.session,
                            reference.password,
                        )
                    return ended or unknown is not None
                except (OutcomeUnknown, TimeoutError) as error:
                    unknown = error
                except EngineUnavailable as error:
                    trouble = error
            if service.now_s() >= deadline_s:
                if unknown is not None:
                    raise OutcomeUnknown(f"no server answered: {unknown}")
                raise EngineUnavailable(f"no server was reached: {trouble}")
            await asyncio.sleep(RETRY_PAUSE_S)

    # --- keeping --------------------------------------------------------------------------------------------------

    def attend(self, reference: Reference) -> Attendant:
        attendant = self._attendants.get(reference.session)
        if attendant is None:
            attendant = Attendant(self._service.place, reference)
            self._attendants[reference.session] = attendant
            self._breaks[reference.session] = self._service.history.breaks
        return attendant

    def attending(self, session: int) -> Attendant | None:
        """None: this engine object does not hold that session."""
        return self._attendants.get(session)

    async def forget(self, session: int) -> None:
        attendant = self._attendants.pop(session, None)
        self._breaks.pop(session, None)
        if attendant is not None:
            await attendant.close()

    async def close(self) -> None:
        for session in list(self._attendants):
            await self.forget(session)
