"""A real process with an embedded voter, for tests: connects, then obeys one JSON command per line of stdin.

python -m tests.engines.cluster_process URL
"""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
from typing import Any

from incumbent.engines.api import Claimed, Session
from incumbent.engines.cluster import connect
from incumbent.engines.cluster.engine import ClusterEngine
from incumbent.engines.cluster.voter_link import VoterLink
from incumbent.guardian.supervisor import Guardian
from incumbent.ids import name_of


class Node:
    def __init__(self, engine: ClusterEngine) -> None:
        self._engine = engine
        self._renewing: asyncio.Task[None] | None = None
        self._guardian: Guardian | None = None

    async def obey(self, verb: str, arguments: list[Any]) -> object:
        return await getattr(self, f"do_{verb}")(*arguments)

    async def do_leader(self) -> str | None:
        """As this voter knows it."""
        link = self._engine._link
        assert isinstance(link, VoterLink)
        leader = link.voter.driver.leadership.leader
        return None if leader is None else name_of(leader)

    async def do_hold(self, group: str, ttl: float, release_delay: float, guarded: str) -> dict[str, object]:
        """Lead `group`, and renew until it is over."""
        session = await self._engine.open_session(ttl, secrets.token_hex(16), release_delay=release_delay)
        helper: int | None = None
        if guarded:
            self._guardian = await Guardian.start()
            await self._guardian.watch("cluster", session.ref, release_delay)
            helper = self._guardian.helper_pid
        member = await self._engine.join(session, group, secrets.token_hex(16), b"")
        answer = await self._engine.claim(member)
        self._renewing = asyncio.create_task(self._renew(session))
        token = answer.token if isinstance(answer, Claimed) else None
        return {"ref": session.ref.hex(), "token": token, "helper": helper}

    async def do_close(self) -> None:
        if self._renewing is not None:
            self._renewing.cancel()
        if self._guardian is not None:
            await self._guardian.close()
        await self._engine.close()

    async def _renew(self, session: Session) -> None:
        while True:
            await asyncio.sleep(session.ttl / 4)
            await self._engine.renew(session)


async def run(url: str) -> None:
    engine = await connect(url)
    assert isinstance(engine, ClusterEngine)
    node = Node(engine)
    print(json.dumps("connected"), flush=True)
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        verb, *arguments = json.loads(line)
        print(json.dumps(await node.obey(verb, arguments)), flush=True)


if __name__ == "__main__":
    asyncio.run(run(sys.argv[1]))
