"""Following an election without standing in it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from incumbent.errors import EngineError
from incumbent.leadership.following import renewed_watch
from incumbent.leadership.office import Office
from incumbent.leadership.roll import UNKNOWN, Leader, Sighting, in_doubt, leader_of
from incumbent.leadership.scene import Scene
from incumbent.leadership.scene import look as look_once
from incumbent.leadership.watch import Watch
from incumbent.leadership.world import TRANSIENT, Backoff, log


async def observe(office: Office, election: str) -> AsyncGenerator[Sighting, None]:
    """Yield who leads: first as of now, then after each change, the latest only (P26).

    A Leader led at the revision that was read (P36), and tokens never fall (P37). UNKNOWN when the engine did not
    answer for a TTL, or shows a lower token than before, as a restored one does. It goes on from there by itself.
    """
    last: list[Sighting] = []  # the one that was yielded last
    token_max = 0
    backoff = Backoff(office.world.rng)
    watch: Watch | None = None
    try:
        while True:
            scene = await _look(office, election)
            sighting: Sighting = (
                UNKNOWN if scene is None else leader_of(scene.roster, scene.control, scene.records)
            )
            if isinstance(sighting, Leader):
                if sighting.token < token_max:
                    log.error("%s: token %d after %d", election, sighting.token, token_max)
                    sighting = UNKNOWN
                else:
                    token_max = sighting.token
            if last != [sighting]:
                last = [sighting]
                yield sighting
            if scene is None:
                await backoff.pause()
                continue
            watch = await renewed_watch(watch, office, election, scene.roster.cursor, backoff)
            # Bounded, because engines differ in what they announce, and because silence is not contact.
            await watch.wait(office.ttl)
    finally:
        if watch is not None:
            watch.close()


async def look(office: Office, election: str) -> Sighting:
    """Who leads now; UNKNOWN when the engine does not answer within a TTL."""
    scene = await _look(office, election)
    return UNKNOWN if scene is None else leader_of(scene.roster, scene.control, scene.records)


async def _look(office: Office, election: str) -> Scene | None:
    """The election, asked for during at most a TTL. None when no answer came."""
    office.check_open()
    backoff = Backoff(office.world.rng, max_s=office.ttl / 4)
    try:
        async with asyncio.timeout(office.ttl):
            while True:
                try:
                    scene = await look_once(office.engine, election)
                    if in_doubt(scene.queue, scene.control):
                        scene = await look_once(office.engine, election, history=True)
                    return scene
                except TRANSIENT as error:
                    log.info("%s: who leads is not known: %r", election, error)
                await backoff.pause()
    except TimeoutError:
        return None
    except EngineError as error:
        log.warning("%s: who leads is not known: %r", election, error)
        return None
