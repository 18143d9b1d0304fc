"""One contender in a process of its own, which does what it is told: ours on any engine, or an engine's own recipe.

    python -m bench.rivals.contenders RECIPE URL TTL ELECTION

Reads lines: `acquire` prints the moment at which it led, `release` the moment right before it let go, and `turns SECONDS`
acquires and lets go for so long and prints how often. Moments are seconds of the host's monotonic clock. Whoever leads or
holds a session renews it all the while, as its library does.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Final, Protocol
from urllib.parse import parse_qs, urlsplit

import incumbent

RENEWALS: Final = 3
"""In a TTL."""


class Contender(Protocol):
    async def acquire(self) -> None: ...

    async def release(self) -> None: ...


class Blocking(Protocol):
    def acquire(self) -> None: ...

    def release(self) -> None: ...


class Plain:
    """A recipe that blocks. Nothing else runs in its loop: it renews in a thread."""

    def __init__(self, recipe: Blocking) -> None:
        self._recipe = recipe

    async def acquire(self) -> None:
        self._recipe.acquire()

    async def release(self) -> None:
        self._recipe.release()


def now_s() -> float:
    return time.clock_gettime(time.CLOCK_MONOTONIC)


# --- ours ------------------------------------------------------------------------------------------------------------


class Ours:
    def __init__(self, election: incumbent.Election) -> None:
        self._election = election
        self._term = AsyncExitStack()

    async def acquire(self) -> None:
        await self._term.enter_async_context(self._election.campaign())

    async def release(self) -> None:
        await self._term.aclose()


async def ours(url: str, ttl_s: float, election: str, stack: AsyncExitStack, *, guardian: bool) -> Contender:
    cluster = await stack.enter_async_context(incumbent.connect(url, ttl=ttl_s, guardian=guardian))
    return Ours(cluster.election(election, fenced=True))


# --- etcd: the recipe of its clients, over grpcio -----------------------------------------------------------------------


class EtcdRecipe:
    """Put under a lease if it is not there, look who is first, watch the one right before; delete."""

    def __init__(self, url: str, ttl_s: float, election: str) -> None:
        from bench.rivals.etcd import Client

        host, port = urlsplit(url).netloc.split(",")[0].split(":")
        self._client = Client((host, int(port)))
        self._prefix = f"recipe/{election}/".encode()
        self._ttl_s = ttl_s
        self._lease = 0

    async def acquire(self) -> None:
        if not self._lease:
            self._lease = await self._client.lease(round(self._ttl_s))
            self._key = b"%x" % self._lease
            self._keeping = asyncio.create_task(self._keep())
        await self._client.campaign(self._prefix, self._key, self._lease)

    async def release(self) -> None:
        await self._client.resign(self._prefix, self._key)

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(self._ttl_s / RENEWALS)
            await self._client.keep_alive(self._lease)


# --- ZooKeeper: kazoo's Election ----------------------------------------------------------------------------------------


class KazooElection:
    def __init__(self, url: str, ttl_s: float, election: str) -> None:
        from kazoo.client import KazooClient

        client = KazooClient(urlsplit(url).netloc, timeout=ttl_s)
        client.start()
        self._lock = client.Election(f"/recipe/{election}", "x").lock  # what its `run` holds while it leads

    def acquire(self) -> None:
        self._lock.acquire()

    def release(self) -> None:
        self._lock.release()


class KazooWrite:
    """No contender: one write that a quorum has."""

    def __init__(self, url: str, ttl_s: float, election: str) -> None:
        from kazoo.client import KazooClient

        self._client = KazooClient(urlsplit(url).netloc, timeout=ttl_s)
        self._client.start()
        self._path = f"/write/{election}"
        self._client.ensure_path(self._path)

    def acquire(self) -> None:
        self._client.set(self._path, b"")

    def release(self) -> None:
        pass


# --- PostgreSQL: a row with a lease, and the advisory lock ---------------------------------------------------------------


class LeaseRow:
    """A row that names the holder and when its lease ends, renewed by a second connection; who waits is notified."""

    TAKE = """
        INSERT INTO lease_row VALUES (%(election)s, %(me)s, now() + %(ttl)s * interval '1 s')
        ON CONFLICT (election) DO UPDATE SET holder = excluded.holder, ends = excluded.ends WHERE lease_row.ends < now()
        RETURNING 1
    """
    MAKE = "CREATE TABLE IF NOT EXISTS lease_row (election text PRIMARY KEY, holder text, ends timestamptz)"
    RENEW = "UPDATE lease_row SET ends = now() + %(ttl)s * interval '1 s' WHERE election = %(election)s AND holder = %(me)s"
    LEFT = "SELECT extract(epoch FROM ends - now()) FROM lease_row WHERE election = %(election)s"
    GIVE = """
        WITH gone AS (DELETE FROM lease_row WHERE election = %(election)s AND holder = %(me)s RETURNING 1)
        SELECT pg_notify('lease_row', %(election)s) FROM gone
    """

    def __init__(self, url: str, ttl_s: float, election: str) -> None:
        import psycopg

        self._calls = psycopg.connect(url, autocommit=True)
        self._beats = psycopg.connect(url, autocommit=True)
        self._given = {"election": election, "me": str(id(self)) + str(now_s()), "ttl": ttl_s}
        self._calls.execute("SELECT pg_advisory_lock(1)")  # or two would make the table at once
        self._calls.execute(self.MAKE)
        self._calls.execute("SELECT pg_advisory_unlock(1)")
        self._calls.execute("LISTEN lease_row")
        every(ttl_s / RENEWALS, lambda: self._beats.execute(self.RENEW, self._given))

    def acquire(self) -> None:
        while not self._calls.execute(self.TAKE, self._given).fetchone():
            row = self._calls.execute(self.LEFT, self._given).fetchone()
            for _ in self._calls.notifies(timeout=max(0.001, float(row[0])) if row else 0, stop_after=1):
                pass

    def release(self) -> None:
        self._calls.execute(self.GIVE, self._given)


class AdvisoryLock:
    """Held by a connection, so it has no TTL."""

    def __init__(self, url: str, _: float, election: str) -> None:
        import psycopg

        self._connection = psycopg.connect(url, autocommit=True)
        self._name = {"name": election}

    def acquire(self) -> None:
        self._connection.execute("SELECT pg_advisory_lock(hashtext(%(name)s))", self._name)

    def release(self) -> None:
        self._connection.execute("SELECT pg_advisory_unlock(hashtext(%(name)s))", self._name)


# --- Redis: redis-py's Lock ---------------------------------------------------------------------------------------------


class RedisLock:
    """As it comes, and renewed."""

    def __init__(self, url: str, ttl_s: float, election: str) -> None:
        from redis import Redis
        from redis.exceptions import LockError

        client = Redis.from_url(url.partition("?")[0])
        self._lock = client.lock(f"recipe:{election}", timeout=ttl_s, thread_local=False)
        self._error = LockError
        every(ttl_s / RENEWALS, self._renew)

    def acquire(self) -> None:
        self._lock.acquire()

    def release(self) -> None:
        self._lock.release()

    def _renew(self) -> None:
        try:
            if self._lock.local.token is not None:
                self._lock.reacquire()
        except self._error:
            pass  # released meanwhile


# --- Kubernetes: client-go's rules ----------------------------------------------------------------------------------------


class ClientGo:
    """It looks and renews every 2/15 of the lease's duration, which is client-go's default of 2 s in 15."""

    def __init__(self, url: str, ttl_s: float, election: str) -> None:
        from tests.engines.go_candidate import GoCandidate

        from incumbent.engines.kubernetes.access import Place, open_access
        from incumbent.engines.kubernetes.client import Server

        place = Place(parse_qs(urlsplit(url).query)["kubeconfig"][0], "", "default")
        name = f"recipe-{election}"
        self._go = GoCandidate(Server(open_access(place)), name, str(now_s()), now_s, round(ttl_s))
        self._every_s = ttl_s * 2 / 15
        self._renewing: asyncio.Task[None] | None = None

    async def acquire(self) -> None:
        while not await self._go.step():  # noqa: ASYNC110 - as client-go does: it looks
            await asyncio.sleep(self._every_s)
        self._renewing = asyncio.create_task(self._renew())

    async def release(self) -> None:
        assert self._renewing is not None
        self._renewing.cancel()
        await self._go.release()

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(self._every_s)
            await self._go.step()


BLOCKING: Final[dict[str, Callable[[str, float, str], Blocking]]] = {
    "kazoo Election": KazooElection,
    "one quorum write": KazooWrite,
    "lease row": LeaseRow,
    "advisory lock": AdvisoryLock,
    "redis-py Lock": RedisLock,
}
WAITING: Final[dict[str, Callable[[str, float, str], Contender]]] = {
    "etcd recipe": EtcdRecipe,
    "client-go's rules": ClientGo,
}


def every(seconds: float, act: Callable[[], object]) -> None:
    def run() -> None:
        while True:
            time.sleep(seconds)
            act()

    threading.Thread(target=run, daemon=True).start()


# --- what it is told ----------------------------------------------------------------------------------------------------


def say(what: float) -> None:
    print(what, flush=True)


async def obey(contender: Contender) -> None:
    say(0)
    while line := await asyncio.to_thread(sys.stdin.readline):
        match line.split():
            case ["acquire"]:
                await contender.acquire()
                say(now_s())
            case ["release"]:
                began_s = now_s()
                await contender.release()
                say(began_s)
            case ["turns", seconds]:
                turns, began_s = 0, now_s()
                while now_s() < began_s + float(seconds):
                    await contender.acquire()
                    await contender.release()
                    turns += 1
                say(turns / (now_s() - began_s))


async def main(recipe: str, url: str, ttl_s: float, election: str) -> None:
    async with AsyncExitStack() as stack:
        if recipe in BLOCKING:
            contender: Contender = Plain(BLOCKING[recipe](url, ttl_s, election))
        elif recipe in WAITING:
            contender = WAITING[recipe](url, ttl_s, election)
        else:
            contender = await ours(url, ttl_s, election, stack, guardian=recipe == "guarded")
        await obey(contender)


if __name__ == "__main__":
    recipe, url, ttl, election = sys.argv[1:]
    asyncio.run(main(recipe, url, float(ttl), election))
