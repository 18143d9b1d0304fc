"""What this process has seen of sessions' counters, and since when: the only thing by which silence is measured.

A session may be ended by who saw its counter stand still for ttl + release_delay. The time runs from when the *answer* came:
the renewal that set the counter was before that, and its holder counts from before it asked. The holder's duration counts,
not the observer's (P15), and who sees a session for the first time waits for all of it, however old it may be (P17).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

SIGHTINGS_MAX: Final = 16_384
"""More are forgotten, oldest first; whoever needs them looks again and waits again."""


@dataclass(frozen=True, slots=True)
class Server:
    """One run of one server. What was seen in another one proves nothing: renewals may be missing since."""

    uuid: str
    timeline: int
    started: str


@dataclass(frozen=True, slots=True)
class Sighting:
    session: bytes
    beats: int
    server: Server
    ends_ns: int


class Sightings:
    """In the time of one clock."""

    def __init__(self) -> None:
        self._seen: dict[bytes, Sighting] = {}
        self._earliest_ns = 0  # nothing is due before

    def see(self, session: bytes, beats: int, server: Server, lasts_ns: int, now_ns: int) -> int:
        """It had this counter in an answer that came at `now_ns` or before. Returns when it ends if that does not change."""
        before = self._seen.get(session)
        if before is not None and before.server == server and before.beats >= beats:  # answers may come late
            return before.ends_ns
        if len(self._seen) >= SIGHTINGS_MAX and before is None:
            del self._seen[next(iter(self._seen))]
        self._seen[session] = Sighting(session, beats, server, now_ns + lasts_ns)
        self._earliest_ns = min(self._earliest_ns, now_ns + lasts_ns)
        return now_ns + lasts_ns

    def beats(self, session: bytes) -> int:
        """The counter as last seen; 0 = not seen."""
        seen = self._seen.get(session)
        return 0 if seen is None else seen.beats

    def server(self, session: bytes) -> Server | None:
        seen = self._seen.get(session)
        return None if seen is None else seen.server

    def ends_ns(self, session: bytes, default: int) -> int:
        """When it ends if its counter does not change."""
        seen = self._seen.get(session)
        return default if seen is None else seen.ends_ns

    def forget(self, session: bytes) -> None:
        self._seen.pop(session, None)

    def due(self, now_ns: int) -> list[Sighting]:
        """Those that have stood still for long enough, if they still do."""
        if now_ns < self._earliest_ns:
            return []
        self._earliest_ns = self.next_ns or now_ns
        return [seen for seen in self._seen.values() if seen.ends_ns <= now_ns]

    @property
    def next_ns(self) -> int | None:
        """When the next one is due; None = nothing was seen."""
        return min((seen.ends_ns for seen in self._seen.values()), default=None)
