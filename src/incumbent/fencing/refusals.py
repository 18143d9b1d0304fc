"""What a fence refused: each refusal is evidence that a leader was still acting when its term was over."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from incumbent.errors import StaleToken
from incumbent.fencing.rule import Seen
from incumbent.runtime.clock import BoottimeClock

logger = logging.getLogger(__name__)

REFUSALS_KEPT_MAX: Final = 64


@dataclass(frozen=True, slots=True)
class Refusal:
    """One write that came too late. `holder` and `highest_holder` are "" where they are not known."""

    name: str
    token: int
    highest: int
    holder: str
    highest_holder: str
    time_ns: int  # of this host's clock that counts suspend

    def event(self) -> dict[str, object]:
        """One line of a history, as `incumbent check` reads it. Tokens are text: JSON readers with doubles lose bits."""
        return {
            "event": "refused",
            "time_ns": self.time_ns,
            "election": self.name,
            "token": str(self.token),
            "highest": str(self.highest),
        }


OnRefused = Callable[[Refusal], None]


class Refusals:
    """The refusals that one fence object saw; the fence itself counts those of every process. From any thread."""

    def __init__(self, name: str, on_refused: OnRefused | None) -> None:
        self._name = name
        self._on_refused = on_refused
        self._clock = BoottimeClock()
        self._lock = threading.Lock()
        self._latest: deque[Refusal] = deque(maxlen=REFUSALS_KEPT_MAX)
        self._count = 0

    @property
    def count(self) -> int:
        return self._count

    @property
    def latest(self) -> Sequence[Refusal]:
        """The last ones, oldest first: at most REFUSALS_KEPT_MAX."""
        with self._lock:
            return tuple(self._latest)

    def refuse(self, token: int, holder: str, seen: Seen) -> StaleToken:
        """Note a refusal and tell who asked to be told. Gives the error to raise."""
        refusal = Refusal(self._name, token, seen.token, holder, seen.holder, self._clock.now_ns())
        with self._lock:
            self._count += 1
            self._latest.append(refusal)
        if self._on_refused is not None:
            try:
                self._on_refused(refusal)
            except Exception:  # a listener's own trouble never makes a refusal anything else
                logger.exception("on_refused of the fence %r failed", self._name)
        return StaleToken(self._name, token, seen.token, holder, seen.holder)
