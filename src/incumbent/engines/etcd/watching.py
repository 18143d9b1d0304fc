"""Watches: one stream each, and per endpoint a pulse that tells when nothing will come from it any more.

A stream says nothing while nothing changes, so silence is no sign: the member behind it may be stopped, cut off, or another one
than it was. The pulse is a linearizable read at that very endpoint, as long as it is watched; when it fails, the streams end.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from typing import Final

import msgspec

from incumbent.engines.etcd import wire
from incumbent.engines.etcd.access import Address, show
from incumbent.engines.etcd.gateway import Gateway, refusal_of
from incumbent.engines.etcd.store import TXN
from incumbent.engines.etcd.wire import Json, Meaning, Refusal, header_of, meaning
from incumbent.engines.http import LOST, Connection, Head
from incumbent.errors import EngineError, OutcomeUnknown, WatchLost
from incumbent.ids import Revision
from incumbent.kv.api import Range, Txn

STREAMS_MAX: Final = 1000
"""Each has a connection. Who wants more is told that the watch is lost, and asks by and by."""
PULSE_S: Final = 1.0
PULSE_TIMEOUT_S: Final = 2.0
"""A watch whose member serves no more ends after at most PULSE_S + PULSE_TIMEOUT_S (P38)."""
LINE_BYTES_MAX: Final = 16 << 20
"""etcd cuts answers into pieces of about 2 MB when it is asked to; in base64 they are longer."""


class _Stream:
    def __init__(self) -> None:
        self.connection: Connection | None = None
        self.why = "etcd ended it"

    def lose(self, why: str) -> None:
        self.why = why
        if self.connection is not None:
            self.connection.close()


class Watches:
    def __init__(self, gateway: Gateway, probe: Range) -> None:
        self._gateway = gateway
        self._probe = wire.transaction(Txn(then=(probe,)))
        self._streams: defaultdict[Address, set[_Stream]] = defaultdict(set)
        self._pulses: dict[Address, asyncio.Task[None]] = {}

    async def watch(
        self, ranges: Sequence[Range], after: Revision, *, only_deletions: bool = False
    ) -> AsyncIterator[None]:
        """Wake-ups for changes in any of `ranges` after a revision. Raises WatchLost."""
        if self._gateway.closed:
            raise WatchLost("this engine is closed")
        if sum(map(len, self._streams.values())) >= STREAMS_MAX:
            raise WatchLost(f"{STREAMS_MAX} watches are open, and no more are kept")
        endpoint, stream = self._gateway.endpoint, _Stream()
        body = wire.watch(list(ranges), after, only_deletions=only_deletions)
        self._streams[endpoint].add(stream)
        self._keep_pulse(endpoint)
        try:
            async with self._gateway.stream(endpoint, "/v3/watch", body) as (stream.connection, head):
                async for answers in _lines(stream.connection, head):
                    news = [
                        self._has_news(told) for told in answers
                    ]  # all of them: the last may say that it is over
                    if any(news):
                        yield
        except (*LOST, OutcomeUnknown, EngineError) as error:
            if isinstance(error, WatchLost):
                raise
            raise WatchLost(f"{show(endpoint)}: {stream.why} ({error})") from error
        finally:
            self._streams[endpoint].discard(stream)
        raise WatchLost(f"{show(endpoint)}: {stream.why}")

    async def close(self) -> None:
        for pulse in self._pulses.values():
            pulse.cancel()
        await asyncio.gather(*self._pulses.values(), return_exceptions=True)
        for endpoint in self._streams:
            self._lose(endpoint, "this engine is closed")

    def _has_news(self, told: Json) -> bool:
        """Raises WatchLost when etcd says that this watch is over."""
        if "error" in told:
            self._over(refusal_of(told))
        result = told.get("result")
        if not isinstance(result, dict):
            raise WatchLost("an answer is none of an etcd's")
        # A member that lags says lower revisions than others did, and is no other etcd for that.
        self._gateway.sight.see(self._gateway.sight.mark(), header_of(result), linearizable=False)
        if result.get("canceled"):
            compacted = result.get("compact_revision")
            if compacted is not None:
                raise WatchLost(f"what came up to revision {compacted} is compacted")
            self._over(Refusal(0, str(result.get("cancel_reason", "cancelled"))))
        return bool(result.get("events"))

    def _over(self, refusal: Refusal) -> None:
        if meaning(refusal) is Meaning.TOKEN_BAD:
            self._gateway.forget()
        raise WatchLost(refusal.words or f"etcd ended it with code {refusal.code}")

    # --- the pulse ------------------------------------------------------------------------------------------------

    def _keep_pulse(self, endpoint: Address) -> None:
        pulse = self._pulses.get(endpoint)
        if pulse is None or pulse.done():
            self._pulses[endpoint] = asyncio.create_task(self._pulse(endpoint), name="incumbent-etcd-pulse")

    async def _pulse(self, endpoint: Address) -> None:
        while self._streams[endpoint]:
            await asyncio.sleep(PULSE_S)
            try:
                await self._gateway.ask_at(endpoint, TXN, self._probe, timeout_s=PULSE_TIMEOUT_S)
            except (EngineError, OutcomeUnknown, Refusal) as error:
                self._lose(endpoint, f"its member does not serve: {error}")

    def _lose(self, endpoint: Address, why: str) -> None:
        for stream in self._streams[endpoint]:
            stream.lose(why)


async def _lines(connection: Connection, head: Head) -> AsyncIterator[list[Json]]:
    """The answers of a stream, as many at once as have arrived. Raises WatchLost when it makes no sense."""
    rest = bytearray()
    async for data in connection.parts(head):
        rest += data
        *lines, last = rest.split(b"\n")
        rest = bytearray(last)
        if len(rest) > LINE_BYTES_MAX:
            raise WatchLost(f"an answer has more than {LINE_BYTES_MAX} bytes")
        try:
            answers = [msgspec.json.decode(line, type=dict) for line in lines if line]
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise WatchLost(f"an answer cannot be read: {error}") from error
        if answers:
            yield answers
