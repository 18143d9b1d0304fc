"""Following an election without standing in it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from incumbent.leadership.looking import answer_in_time, looks
from incumbent.leadership.office import Office
from incumbent.leadership.roll import UNKNOWN, Leader, Sighting, in_doubt, leader_of
from incumbent.leadership.scene import Scene
from incumbent.leadership.scene import look as look_once
from incumbent.leadership.world import log


async def observe(office: Office, election: str) -> AsyncGenerator[Sighting, None]:
    """Yield who leads: first as of now, then after each change, the latest only (P26).

    A Leader led at the revision that was read (P36), and tokens never fall (P37). UNKNOWN when the engine did not
    answer for a TTL, or shows a lower token than before, as a restored one does. It goes on from there by itself.
    """
    last: list[Sighting] = []  # the one that was yielded last
    token_max = 0
    scenes = looks(office, election, lambda: _scene(office, election), lambda scene: scene.roster.cursor)
    async with aclosing(scenes):
        async for scene in scenes:
            sighting = _sighting(scene)
            if isinstance(sighting, Leader):
                if sighting.token < token_max:
                    log.error("%s: token %d after %d", election, sighting.token, token_max)
                    sighting = UNKNOWN
                else:
                    token_max = sighting.token
            if last != [sighting]:
                last = [sighting]
                yield sighting


async def look(office: Office, election: str) -> Sighting:
    """Who leads now; UNKNOWN when the engine does not answer within a TTL."""
    return _sighting(await answer_in_time(office, election, lambda: _scene(office, election)))


def _sighting(scene: Scene | None) -> Sighting:
    return UNKNOWN if scene is None else leader_of(scene.roster, scene.control, scene.records)


async def _scene(office: Office, election: str) -> Scene:
    scene = await look_once(office.engine, election)
    if in_doubt(scene.queue, scene.control):
        scene = await look_once(office.engine, election, history=True)
    return scene
