"""Clients of every sink: one that does the right thing, and those that do the wrong thing on purpose.

``python -m tests.fencing.wrong_client MODE PLACES``. Each campaigns on ``local://``, writes under its token, and says so. The wrong
ones then lose their lease in their way, wait until the successor has written, and go on writing with the old token as if nothing had
happened. Says on standard output, as JSON lines, what it did and what came of it.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import incumbent
from incumbent.cli.demo.recorder import Recorder, TermRecorder
from incumbent.errors import EngineUnavailable, LeadershipLost, StaleToken
from tests.fencing.sinks import ELECTION, Places, Write, opened

TTL_S = 0.5
POLL_S = 0.005
TRIES_MAX = 200
LATE_WRITES = 3


def say(**fields: Any) -> None:
    os.write(1, json.dumps(fields).encode() + b"\n")


def nothing() -> None:
    """What a right client does in the middle of a write."""


class Client:
    def __init__(self, places: Places, sinks: dict[str, Write]) -> None:
        self._sinks = sinks
        self._go_on = Path(places.directory) / "go-on"

    def may_go_on(self) -> bool:
        return self._go_on.exists()

    def write_all(self, token: int, text: str, meanwhile: Any = nothing) -> None:
        """To every sink, each in a thread of its own, and say how it went."""
        threads = [
            threading.Thread(target=self._write, args=(kind, token, text, meanwhile)) for kind in self._sinks
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _write(self, kind: str, token: int, text: str, meanwhile: Any) -> None:
        for _ in range(TRIES_MAX):
            try:
                self._sinks[kind](token, text, meanwhile)
            except EngineUnavailable:  # somebody is inside: certainly not done
                time.sleep(POLL_S)
                continue
            except StaleToken as stale:
                say(sink=kind, token=token, text=text, highest=stale.highest)
            else:
                say(sink=kind, token=token, text=text, highest=None)
            return
        say(sink=kind, token=token, text=text, error="never had")

    def write_late(self, token: int) -> None:
        for number in range(LATE_WRITES):
            self.write_all(token, f"late-{number}")
        say(done=True)

    def wait(self) -> None:
        while not self.may_go_on():
            time.sleep(POLL_S)


async def right(client: Client, term: Any) -> None:
    await asyncio.to_thread(client.write_all, term.token, "successor")
    say(wrote=term.token)
    await asyncio.to_thread(sys.stdin.readline)
    term.check()
    await asyncio.to_thread(client.write_all, term.token, "again")
    say(done=True)


async def sleeps(client: Client, term: Any) -> None:
    """In the middle of each write, past its lease, on the event loop; then writes on."""
    client.write_all(term.token, "first")
    say(wrote=term.token)
    client.write_all(term.token, "slow", lambda: time.sleep(2 * TTL_S))
    client.wait()
    client.write_late(term.token)


async def blocks(client: Client, term: Any) -> None:
    """The loop, so that nothing renews the lease and nobody can cancel this; then writes, having asked nobody."""
    client.write_all(term.token, "first")
    say(wrote=term.token)
    client.wait()
    client.write_late(term.token)


async def swallows(client: Client, term: Any) -> None:
    """Its cancellation, as often as it comes. It is stopped past its lease from outside."""
    client.write_all(term.token, "first")
    say(wrote=term.token)
    cancelled = 0
    while not client.may_go_on() or not cancelled:
        try:
            await asyncio.sleep(POLL_S)
        except asyncio.CancelledError:
            cancelled += 1
    client.write_late(term.token)


async def stopped(client: Client, term: Any) -> None:
    """At whatever instruction the stop from outside finds it, while it writes and writes."""
    client.write_all(term.token, "first")
    say(wrote=term.token)
    while not client.may_go_on():
        client.write_all(term.token, "busy")
    client.write_late(term.token)


async def forks(client: Client, term: Any) -> None:
    """The child inherits the token, and writes on when its parent has been killed."""
    client.write_all(term.token, "first")
    child = os.fork()
    if child == 0:
        with suppress(BaseException):
            client.wait()
            _as_the_child(term.token)
        os._exit(0)
    say(child=child)
    say(wrote=term.token)
    await asyncio.sleep(60)


def _as_the_child(token: int) -> None:
    places = Places(**json.loads(sys.argv[2]))
    with opened(places) as sinks:  # of its own: connections do not survive a fork
        Client(places, sinks).write_late(token)


MODES = {f.__name__: f for f in (right, sleeps, blocks, swallows, stopped, forks)}


async def main(mode: str, places: Places) -> None:
    recorder = Recorder(Path(places.directory) / f"{mode}.history")
    with ExitStack() as stack:
        async with incumbent.connect(f"local://{places.directory}/engine", ttl=TTL_S) as cluster:
            listener = TermRecorder(recorder)
            election = cluster.election(ELECTION, candidate=mode, fenced=True, listener=listener)
            with suppress(LeadershipLost):
                async with election.campaign() as term:
                    say(elected=term.token)
                    sinks = await asyncio.to_thread(stack.enter_context, opened(places))
                    await MODES[mode](Client(places, sinks), term)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Places(**json.loads(sys.argv[2]))))
