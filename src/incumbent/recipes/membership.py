"""Membership: who is here, with something that each says of itself. All of a roster, where an election is its first.

    async with membership.join("10.0.0.7:8000"):
        async for news in membership.watch():
            ...

What a watcher is given is computed from consecutive rosters, each of which is the group at one revision. So nobody is ever
reported who was not there at that revision, and who came and went between two looks is not reported at all.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass

from incumbent.engines.api import Roster
from incumbent.errors import InvalidInput
from incumbent.leadership.connect import Cluster, office_of
from incumbent.leadership.looking import answer_in_time, looks
from incumbent.leadership.roll import UNKNOWN, Unknown
from incumbent.leadership.standing import member_value, read_member
from incumbent.recipes.stay import Stay


@dataclass(frozen=True, slots=True)
class Peer:
    """A member, as others see it."""

    id: str  # of this stay: who joins again, as after a lost session, has another
    name: str
    metadata: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """What happened between two rosters. Whoever applies `joined`, `left` and `changed` to what it had has `members`."""

    members: tuple[Peer, ...]  # all, in the order in which they joined
    joined: tuple[Peer, ...] = ()
    left: tuple[Peer, ...] = ()
    changed: tuple[Peer, ...] = ()  # as they are now; they said something else of themselves before


class Membership:
    """The members of the group called `name`. Costs nothing until it is asked for.

    - `member`: the name under which this process joins; by default unique per process start.
    """

    def __init__(self, cluster: Cluster, name: str, *, member: str | None = None) -> None:
        self._office = office_of(cluster)
        as_election = cluster.election(f"membership/{name}", candidate=member)  # which checks the names
        self._group, self.member = as_election.name, as_election.candidate
        self.name = name
        self._stay: Stay | None = None

    @asynccontextmanager
    async def join(self, metadata: bytes | str = b"") -> AsyncGenerator[None, None]:
        """``async with membership.join("10.0.0.7:8000"):`` is a member while the block runs. It waits for the engine first.

        A session that is lost ends the stay, and a new one begins as soon as the engine can be reached: others then see that
        this member left and that it joined. The block is not cancelled for that: membership says who is here, and is no right
        to do anything.

        One stay of this cluster object in the group at a time; another waits for it to end. Raises InvalidInput for metadata
        too large, EngineUnavailable when the cluster object is closed meanwhile.
        """
        self._office.check_open()
        stay = Stay(self._office, self._group, member_value(self.member, _encoded(metadata)))
        try:
            await stay.begin()
            self._stay = stay
            yield
        finally:
            if self._stay is stay:
                self._stay = None
            await stay.end()

    async def update(self, metadata: bytes | str) -> None:
        """Say something else from now on; the place in the order stays. When it returns, the others can see it; after
        a lost session that is in the next stay.

        Raises InvalidInput for metadata too large, and outside of the block of `join`; MemberGone when the block ends meanwhile.
        """
        value = member_value(self.member, _encoded(metadata))
        if self._stay is None:
            raise InvalidInput("metadata", "is of nobody: this object did not join", "call it while joined")
        await self._stay.say(value)

    async def members(self) -> tuple[Peer, ...] | Unknown:
        """All members now, in the order in which they joined. UNKNOWN when the engine does not answer within a TTL."""
        roster = await answer_in_time(self._office, self._group, self._roster)
        return UNKNOWN if roster is None else _peers(roster)

    async def watch(self) -> AsyncGenerator[News | Unknown, None]:
        """Yields News: first all who are there, as joined, then what changed, each time that something did. UNKNOWN when the
        engine did not answer for a TTL, and then News again, of what changed since those before.

        Changes that follow faster than they are read are merged. Ends with EngineUnavailable when the cluster object is closed.
        """
        before: tuple[Peer, ...] = ()
        told: News | Unknown | None = None
        rosters = looks(self._office, self._group, self._roster, lambda roster: roster.cursor)
        async with aclosing(rosters):
            async for roster in rosters:
                if roster is None:
                    if told is not UNKNOWN:
                        told = UNKNOWN
                        yield told
                    continue
                now = _peers(roster)
                if told is None or told is UNKNOWN or now != before:
                    told, before = news_between(before, now), now
                    yield told

    async def _roster(self) -> Roster:
        return await self._office.engine.roster(self._group)


def news_between(before: tuple[Peer, ...], now: tuple[Peer, ...]) -> News:
    """What happened between two rosters. Pure."""
    then, here = {peer.id: peer for peer in before}, {peer.id: peer for peer in now}
    return News(
        members=now,
        joined=tuple(peer for peer in now if peer.id not in then),
        left=tuple(peer for peer in before if peer.id not in here),
        changed=tuple(peer for peer in now if peer.id in then and then[peer.id] != peer),
    )


def _peers(roster: Roster) -> tuple[Peer, ...]:
    peers = []
    for entry in roster.members:
        name, _, metadata = read_member(entry)
        # The session's id alone would be the same when it leaves and joins again.
        peers.append(Peer(f"{entry.order}-{entry.id}", name, metadata))
    return tuple(peers)


def _encoded(metadata: bytes | str) -> bytes:
    return metadata.encode() if isinstance(metadata, str) else metadata
