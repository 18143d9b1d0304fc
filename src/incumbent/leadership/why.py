"""PURE. Why there is no leader, or why this one: sentences for people, and stable codes for programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import NamedTuple

from incumbent.leadership.control import Control
from incumbent.leadership.history import NOT_KNOWN, Record, is_open
from incumbent.leadership.preference import Code, Queued, named, obstacle
from incumbent.leadership.roll import leads


class Finding(StrEnum):
    """What can be said about an election. The values are stable."""

    LEADS = "leads"  # somebody leads
    STARTING = "starting"  # somebody is first and has not said yet that it leads
    NO_CANDIDATES = "no_candidates"  # the queue is empty
    NOBODY_MAY = "nobody_may"  # all who stand are drained or not eligible
    PAUSED = "paused"
    NO_PROOF = "no_proof"  # the engine lets the first member not claim: it was restored since that one joined
    DRAINED = "drained"  # a candidate that stands is drained
    INELIGIBLE = "ineligible"  # a candidate that stands says that it is not to lead
    FOREIGN = "foreign"  # another library's candidate, which can be asked for nothing
    NAMED = "named"  # who is to lead next
    NEXT = "next"  # who follows as things are
    LAST = "last"  # how the last leadership ended


class Statement(NamedTuple):
    code: Finding
    text: str


def why(
    queue: Sequence[Queued], token: int | None, control: Control, records: tuple[Record, ...]
) -> tuple[Statement, ...]:
    """The most important first. `token` is the first member's, None when it may not claim."""
    return tuple(_statements(queue, token, control, records))


def _statements(
    queue: Sequence[Queued], token: int | None, control: Control, records: tuple[Record, ...]
) -> Iterator[Statement]:
    leader = leads(queue, token, control, records)
    if leader is not None and token is not None:
        yield from _why_this_one(leader, token, records)
    elif not queue:
        yield Statement(Finding.NO_CANDIDATES, "nobody leads: no candidate stands")
    elif token is None:
        yield Statement(
            Finding.NO_PROOF,
            f"nobody leads: {queue[0].candidate} is first, and the engine was restored since it joined",
        )
    elif control.paused is None:
        yield Statement(
            Finding.NOBODY_MAY, f"nobody leads: {queue[0].candidate} is first, and must not lead for now"
        )
    if control.paused is not None:
        nobody = "nobody leads: " if leader is None and queue and token is not None else ""
        said = ": " + control.paused.why if control.paused.why else ""
        by = f" by {control.paused.by}" if control.paused.by else ""
        stays = "who leads goes on, and nobody follows" if leader else "nobody begins to lead"
        yield Statement(
            Finding.PAUSED, f"{nobody}the election is paused{by}{said}; {stays} until it is resumed"
        )
    for one in queue:
        yield from _about(one, control)
    chosen = named(queue, control.successor, control)
    if chosen is not None:
        yield Statement(Finding.NAMED, f"{chosen.candidate} was named to lead next")
    following = next((q for q in queue if q != leader and obstacle(q, control) is None), None)
    if leader is not None and following is not None and control.paused is None:
        yield Statement(Finding.NEXT, f"{following.candidate} follows when {leader.candidate} ends")
    if leader is None and records and records[-1].reason is not None:
        yield Statement(Finding.LAST, f"the last leader was {_ended(records[-1])}")


def _why_this_one(leader: Queued, token: int, records: tuple[Record, ...]) -> Iterator[Statement]:
    if records and not is_open(records, token):
        yield Statement(
            Finding.STARTING,
            f"{leader.candidate} leads with token {token}, or is about to: "
            "it is first, and has not written down yet that it began",
        )
    else:
        yield Statement(
            Finding.LEADS,
            f"{leader.candidate} leads with token {token}: of those that stand, it joined first",
        )
    before = next((r for r in reversed(records) if r.token < token), None)
    if before is not None:
        yield Statement(Finding.LAST, f"the leader before it was {_ended(before)}")


def _about(one: Queued, control: Control) -> Iterator[Statement]:
    if one.standing is None:
        yield Statement(
            Finding.FOREIGN,
            f"{one.candidate} is another library's candidate: it cannot be asked for anything",
        )
    match obstacle(one, control):
        case Code.DRAINED:
            yield Statement(
                Finding.DRAINED, f"{one.candidate} is drained: it does not lead until it is undrained"
            )
        case Code.INELIGIBLE:
            yield Statement(Finding.INELIGIBLE, f"{one.candidate} says of itself that it is not to lead")
        case _:
            pass


def _ended(record: Record) -> str:
    match record.reason:
        case None:
            how = "which has not written down its end"
        case reason if reason == NOT_KNOWN:
            how = "which was gone before it could say why"
        case reason:
            how = f"which ended: {reason}"
    return f"{record.candidate} (token {record.token}), {how}"
