"""PURE. Who should lead, as far as the candidates can choose: lead, wait, or make room.

Rules of the place (DESIGN: preference never skips anyone):

- The first member of the queue may lead and nobody else. So preference has one act: to *yield*, which is to leave and to join
  again behind. Tokens rise because nothing is ever put in front.
- Who may not lead for now (paused, drained, not eligible) yields only to somebody behind it who may. Where nobody may, all stay
  where they are: nobody leads, and nobody runs in circles.
- A candidate yields to a strictly higher priority only, so equals never change places.
- A leader yields for priority only after it has led for `preempt_delay`, so at most one pre-emption happens in each (P43).

What is known comes in: the queue at one revision, what operators said, and times. What is to be done comes out, with a code that
people and programs can read. Acting on it is `waiting` and `duties`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple

import msgspec

from incumbent.engines.api import Roster
from incumbent.errors import InvalidInput
from incumbent.leadership.control import Control, Successor
from incumbent.leadership.outcome import Done
from incumbent.leadership.standing import PRIORITY_MAX, Standing, read_member
from incumbent.leadership.tenure import NS_PER_S, Reason

YIELDS_MAX: Final = 3
"""So often in a row the first of the queue yields to a higher priority. Then it leads: a preference must not leave an election
without a leader, however strangely the preferred one behaves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preference:
    """What one candidate wants to be preferred by. The defaults prefer nobody.

    - `priority`: the higher leads, among those that may.
    - `eligible`: asked before each election, on the event loop, must not block. False: not to lead for now. Who leads already goes on.
    - `preempt_delay`: seconds that this candidate leads at least before it makes room for a higher priority; None: until it ends by
      itself. Give all candidates the same.
    - `stickiness`: a higher priority must be higher by more than this to pre-empt.
    - `warm_up`: awaited when this candidate is to take over, before the leader stops. An error or a time-out keeps the leader.
    - `tags`: for people and programs that look at the candidates: zone, version, weight.
    """

    priority: int = 0
    eligible: Callable[[], bool] | None = None
    preempt_delay: float | None = None
    stickiness: int = 0
    warm_up: Callable[[], Awaitable[object]] | None = None
    tags: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not -PRIORITY_MAX <= self.priority <= PRIORITY_MAX:
            raise InvalidInput("priority", f"is {self.priority}", f"at most {PRIORITY_MAX} either way")
        if self.stickiness < 0:
            raise InvalidInput("stickiness", f"is {self.stickiness}", "0 or more")
        if self.preempt_delay is not None and not 0 < self.preempt_delay < float("inf"):
            raise InvalidInput("preempt_delay", f"is {self.preempt_delay}", "more than 0 seconds, or None")
        try:
            msgspec.convert(dict(self.tags), dict[str, str])
        except msgspec.ValidationError as error:
            raise InvalidInput("tags", f"are not texts: {error}", "give texts by texts") from error


class Code(StrEnum):
    """Why a candidate leads, waits or yields. The values are stable."""

    FIRST = "first"  # it is first, and nothing is against it
    BEHIND = "behind"  # somebody is in front
    PAUSED = "paused"  # nobody begins to lead until an operator says `resume`
    DRAINED = "drained"  # an operator drained this candidate
    INELIGIBLE = "ineligible"  # it says of itself that it is not to lead
    OTHER_NAMED = "other_named"  # another one was named to lead next
    LESS_PREFERRED = "less_preferred"  # one that may lead has a higher priority


class Queued(NamedTuple):
    """A member, read."""

    id: str
    order: int
    candidate: str
    standing: Standing | None  # None: a foreign candidate, which nobody can ask anything
    value: bytes

    @property
    def priority(self) -> int:
        return 0 if self.standing is None else self.standing.priority


class Lead(NamedTuple):
    code: Code = Code.FIRST


class Wait(NamedTuple):
    code: Code
    at_ns: int | None = None  # look again by then, even if nothing changes


class Yield(NamedTuple):
    code: Code
    to: str  # the candidate for which room is made


REASONS: Final[Mapping[Code, Reason]] = {
    Code.DRAINED: Reason.DRAINED,
    Code.OTHER_NAMED: Reason.HANDED_OVER,
    Code.LESS_PREFERRED: Reason.PREEMPTED,
}
"""Why the term of a leader that yields is over."""


def queue_of(roster: Roster) -> tuple[Queued, ...]:
    return tuple(Queued(entry.id, entry.order, *read_member(entry)) for entry in roster.members)


def obstacle(one: Queued, control: Control) -> Code | None:
    """What is against this candidate's leading, were it first. Of a foreign one nothing is known."""
    if one.standing is None:
        return None
    if one.candidate in control.drained:
        return Code.DRAINED
    return None if one.standing.eligible else Code.INELIGIBLE


def named(queue: Sequence[Queued], successor: Successor | None, control: Control) -> Queued | None:
    """The member that is to lead next: that very one, as long as it stands and may lead."""
    if successor is None:
        return None
    found = next((q for q in queue if (q.id, q.order) == (successor.id, successor.order)), None)
    return None if found is None or obstacle(found, control) else found


def may_begin(
    queue: Sequence[Queued], me: Queued, control: Control, *, yielded: int = 0
) -> Lead | Wait | Yield:
    """I am first and do not lead yet. `yielded`: how often in a row I made room for a higher priority already."""
    if control.paused is not None:
        return Wait(Code.PAUSED)
    able = [q for q in queue if q != me and obstacle(q, control) is None]
    mine = obstacle(me, control)
    if mine is not None:
        return Yield(mine, able[0].candidate) if able else Wait(mine)
    chosen = named(queue, control.successor, control)
    if chosen is not None:
        return Lead() if chosen == me else Yield(Code.OTHER_NAMED, chosen.candidate)
    best = max(able, key=lambda q: q.priority, default=me)
    if best.priority > me.priority and yielded < YIELDS_MAX:
        return Yield(Code.LESS_PREFERRED, best.candidate)
    return Lead()


def may_stay(queue: Sequence[Queued], me: Queued, control: Control) -> Wait | Yield:
    """I wait and somebody is in front: do I make room for one behind me, so that it is there when the leader goes?"""
    if control.paused is not None:
        return Wait(Code.BEHIND)
    behind = [q for q in queue if q.order > me.order and obstacle(q, control) is None]
    chosen = named(queue, control.successor, control)
    if chosen is not None:
        return Yield(Code.OTHER_NAMED, chosen.candidate) if chosen in behind else Wait(Code.BEHIND)
    if behind and obstacle(me, control) is None:
        best = max(behind, key=lambda q: q.priority)
        if best.priority > me.priority:
            return Yield(Code.LESS_PREFERRED, best.candidate)
    return Wait(Code.BEHIND)


def may_go_on(
    queue: Sequence[Queued],
    me: Queued,
    control: Control,
    preference: Preference,
    *,
    elected_ns: int,
    now_ns: int,
) -> Lead | Wait | Yield:
    """I lead: do I make room? A Wait says when to look again. A pause keeps whoever leads: nobody could follow."""
    if control.paused is not None:
        return Lead()
    able = [q for q in queue if q != me and obstacle(q, control) is None]
    if me.candidate in control.drained:
        # Also when nobody follows: who is drained is about to be taken away.
        return Yield(Code.DRAINED, able[0].candidate if able else "")
    chosen = named(queue, control.successor, control)
    if (
        chosen is not None
        and chosen != me
        and control.successor is not None
        and not control.successor.handover
    ):
        return Yield(Code.OTHER_NAMED, chosen.candidate)
    # A foreign candidate said nothing, so nobody stops for it.
    best = max((q for q in able if q.standing is not None), key=lambda q: q.priority, default=me)
    if preference.preempt_delay is None or best.priority <= me.priority + preference.stickiness:
        return Lead()
    due_ns = elected_ns + round(preference.preempt_delay * NS_PER_S)
    return (
        Yield(Code.LESS_PREFERRED, best.candidate) if now_ns >= due_ns else Wait(Code.LESS_PREFERRED, due_ns)
    )


def successor_of(queue: Sequence[Queued], me: Queued, control: Control, to: str | None) -> Queued | Done:
    """To whom I, who lead, can hand over: the first of that name, or of the highest priority. Else why to nobody."""
    if control.paused is not None:
        return Done.PAUSED
    others = [q for q in queue if q != me and to in (None, q.candidate)]
    able = [q for q in others if obstacle(q, control) is None]
    if not able:
        return Done.UNABLE if others else Done.NO_CANDIDATE
    chosen = max(able, key=lambda q: q.priority)
    between = [q for q in queue if me.order < q.order < chosen.order]
    return Done.FOREIGN if any(q.standing is None for q in between) else chosen
