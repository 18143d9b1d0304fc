"""Why things happened: a bounded ring for `status`, and one log line each for operators, at a bounded rate."""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Iterable
from typing import Final

from incumbent.consensus.api import Note
from incumbent.ports import Clock

logger: Final = logging.getLogger("incumbent")

NOTES_KEPT_MAX: Final = 256
NOTES_LOGGED_PER_SECOND_MAX: Final = 20
_SECOND_NS: Final = 1_000_000_000


class Notes:
    """The notes of one voter, newest last. Every one is counted; what the log leaves out, it says."""

    def __init__(self, node: str, clock: Clock) -> None:
        self.counts: Counter[str] = Counter()
        self._node = node
        self._clock = clock
        self._kept: deque[Note] = deque(maxlen=NOTES_KEPT_MAX)
        self._second = 0
        self._logged = 0
        self._left_out = 0

    def recent(self) -> tuple[Note, ...]:
        return tuple(self._kept)

    def add(self, notes: Iterable[Note]) -> None:
        for note in notes:
            self._kept.append(note)
            self.counts[note.code] += 1
            self._log(note)

    def _log(self, note: Note) -> None:
        second = self._clock.now_ns() // _SECOND_NS
        if second != self._second:
            if self._left_out:
                logger.info("node=%s notes_left_out=%d", self._node, self._left_out)
            self._second, self._logged, self._left_out = second, 0, 0
        if self._logged >= NOTES_LOGGED_PER_SECOND_MAX:
            self._left_out += 1
            return
        self._logged += 1
        logger.info("node=%s note=%s%s", self._node, note.code, _Facts(note))


class _Facts:
    """Rendered only if some handler wants the line."""

    def __init__(self, note: Note) -> None:
        self._note = note

    def __str__(self) -> str:
        return "".join(f" {name}={value!r}" for name, value in self._note.facts.items())
