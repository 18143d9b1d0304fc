"""PURE. What became of a verb: stable codes, for programs and for the command line."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Done(StrEnum):
    """What became of a verb. The values are stable."""

    DONE = "done"
    ALREADY = "already"  # it was so before
    NO_LEADER = "no_leader"
    NO_CANDIDATE = "no_candidate"  # nobody of that name stands, or nobody at all who could
    UNABLE = "unable"  # the candidate is drained, or says that it is not to lead
    FOREIGN = "foreign"  # another library's candidate is in the way, and cannot be asked
    PAUSED = "paused"  # nobody could follow
    NOT_READY = (
        "not_ready"  # the successor was not warm in time, or its warm-up failed, or others did not make room
    )
    GONE = "gone"  # the successor has gone meanwhile
    BUSY = "busy"  # another hand-over is going on
    TERM_OVER = "term_over"  # the leader's term was over before it could be handed over
    NOT_YET = "not_yet"  # asked, and not obeyed in time; it may still come


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a verb."""

    code: Done
    candidate: str = ""  # whom it was about; after a hand-over, who leads

    @property
    def ok(self) -> bool:
        """It is so now."""
        return self.code in (Done.DONE, Done.ALREADY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Handover:
    """What became of a hand-over. Unless it is `ok`, leadership stayed where it was, as far as this hand-over goes."""

    code: Done
    successor: str = ""
    leaderless_s: float | None = None
    """From the end of this term to the moment when this process saw that the successor had begun, on one clock: nobody led for at
    most so long. None: not handed over, or its beginning was not seen."""

    @property
    def ok(self) -> bool:
        return self.code is Done.DONE
