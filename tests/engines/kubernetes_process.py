"""A real process that leads on Kubernetes, for tests.

    python -m tests.engines.kubernetes_process hold URL GROUP TTL GUARDED

Prints one JSON line with the session's reference and the token, then renews until it is killed.

    python -m tests.engines.kubernetes_process lead URL GROUP TTL

Campaigns for ever and prints its history, as `incumbent check` reads it.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import sys

import incumbent
from incumbent import LeadershipLost, TermEvent
from incumbent.engines.api import Claimed
from incumbent.engines.kubernetes import connect
from incumbent.guardian.supervisor import Guardian

KINDS = {"lost": "ended", "released": "ended"}


async def hold(url: str, group: str, ttl_s: float, guarded: str) -> None:
    engine = await connect(url)
    session = await engine.open_session(ttl_s, secrets.token_hex(16))
    if guarded:
        guardian = await Guardian.start()
        await guardian.watch("kubernetes", session.ref, 0.0)
        await asyncio.sleep(0.3)  # let it prepare
    member = await engine.join(session, group, secrets.token_hex(16), b"")
    answer = await engine.claim(member)
    token = answer.token if isinstance(answer, Claimed) else None
    print(json.dumps({"ref": session.ref.hex(), "token": token}), flush=True)
    while True:
        await asyncio.sleep(ttl_s / 4)
        await engine.renew(session)


async def lead(url: str, group: str, ttl_s: float) -> None:
    async with incumbent.connect(url, ttl=ttl_s, guardian=False) as cluster:
        election = cluster.election(group, fenced=True, listener=tell)
        while True:
            try:
                async with election.campaign() as term:
                    # One who leaves gives the others a turn.
                    await asyncio.sleep(ttl_s * (0.3 + secrets.randbelow(3)))
                    term.check()
            except LeadershipLost:
                pass


def tell(event: TermEvent) -> None:
    fields = {
        "event": KINDS.get(event.kind, str(event.kind)),
        "time_ns": event.time_ns,
        "election": event.election,
        "candidate": event.candidate,
        "process": str(event.pid),
        "token": event.token,
    }
    if event.kind in ("elected", "extended"):
        fields["deadline_ns"] = event.deadline_ns
    if event.reason is not None:
        fields["reason"] = str(event.reason)
    print(json.dumps(fields), flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "hold":
        asyncio.run(hold(sys.argv[2], sys.argv[3], float(sys.argv[4]), sys.argv[5]))
    else:
        asyncio.run(lead(sys.argv[2], sys.argv[3], float(sys.argv[4])))
