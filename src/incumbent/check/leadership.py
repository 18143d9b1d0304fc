"""The judge of elections: did leaderships overlap, did tokens always rise, did anything act outside its term? PURE.

A *leadership* is one token of one process. It believes in itself from ELECTED until the earliest of: its ENDED, its
process's KILLED, and the last deadline that it recorded (a stopped process cannot record that it stopped believing, and past
its deadline it must not believe, whatever it records).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise
from typing import Final

from incumbent.check.history import Event, Kind


class Verdict(StrEnum):
    OK = "ok"
    VIOLATED = "violated"
    UNKNOWN = "unknown"  # there is nothing to judge, or lines are missing; never taken for ok


class Fault(StrEnum):
    OVERLAP = "overlap"  # two leaderships of one election believed in themselves at one time
    TOKEN_NOT_RISING = "token_not_rising"  # noqa: S105 - a later leadership has no higher token
    TOKEN_TWICE = "token_twice"  # noqa: S105 - two leaderships have one token
    ACTED_OUTSIDE_TERM = "acted_outside_term"  # a check passed outside the leadership's belief
    ACCEPTED_STALE = "accepted_stale"  # a resource accepted a lower token after a higher one
    ACCEPTED_FROM_NOBODY = "accepted_from_nobody"  # a resource accepted a token that nobody was elected with
    REFUSED_WRONGLY = (
        "refused_wrongly"  # a resource refused a token that is not below the highest it says it saw
    )


@dataclass(frozen=True, slots=True)
class Finding:
    fault: Fault
    election: str
    explanation: str
    lines: tuple[int, ...]  # of the history: the events that show it


@dataclass(frozen=True, slots=True)
class Leadership:
    election: str
    candidate: str
    process: str
    token: int
    start_ns: int
    end_ns: int
    line: int


@dataclass(frozen=True, slots=True)
class Judgement:
    verdict: Verdict
    findings: tuple[Finding, ...]
    leaderships: tuple[Leadership, ...]  # in order of their start
    accepted: int
    refused: int
    gaps: tuple[str, ...] = ()  # what the history must have held and does not: without it nobody can say ok

    @property
    def overlaps(self) -> int:
        return sum(finding.fault is Fault.OVERLAP for finding in self.findings)

    @property
    def tokens(self) -> Mapping[str, Sequence[int]]:
        """Per election, the tokens in the order in which they were led with."""
        tokens: dict[str, list[int]] = defaultdict(list)
        for leadership in self.leaderships:
            tokens[leadership.election].append(leadership.token)
        return tokens


def judge(events: Sequence[Event]) -> Judgement:
    """Judge a history; `events` in order of time, as `history.parse` gives them."""
    leaderships = _leaderships(events)
    findings: list[Finding] = []
    for election in sorted({event.election for event in events if event.election}):
        mine = [leadership for leadership in leaderships if leadership.election == election]
        its_events = [event for event in events if event.election == election]
        findings += _overlaps(mine)
        findings += _tokens(mine)
        findings += _acts(mine, its_events)
        findings += _resource(mine, its_events)
    gaps = _gaps(leaderships, events)
    verdict = Verdict.VIOLATED if findings else Verdict.UNKNOWN if gaps else Verdict.OK
    count = {kind: sum(event.kind is kind for event in events) for kind in (Kind.ACCEPTED, Kind.REFUSED)}
    return Judgement(
        verdict, tuple(findings), tuple(leaderships), count[Kind.ACCEPTED], count[Kind.REFUSED], tuple(gaps)
    )


@dataclass(slots=True)
class _Open:
    """A leadership while the history is being read."""

    elected: Event
    deadline_ns: int
    ends: list[int] = field(default_factory=list)

    def close(self) -> Leadership:
        event = self.elected
        end_ns = max(min([self.deadline_ns, *self.ends]), event.time_ns)
        return Leadership(
            event.election, event.candidate, event.process, event.token, event.time_ns, end_ns, event.line
        )


_Key = tuple[str, str, int]  # election, process, token


def _leaderships(events: Sequence[Event]) -> list[Leadership]:
    begun: list[_Open] = []
    latest: dict[_Key, _Open] = {}
    for event in events:
        key = (event.election, event.process, event.token)
        if event.kind is Kind.ELECTED:
            latest[key] = _Open(event, event.deadline_ns)
            begun.append(latest[key])
        elif event.kind is Kind.EXTENDED and key in latest:
            latest[key].deadline_ns = max(latest[key].deadline_ns, event.deadline_ns)
        elif event.kind is Kind.ENDED and key in latest:
            latest[key].ends.append(event.time_ns)
        elif event.kind is Kind.KILLED:
            for open_ in begun:
                if open_.elected.process == event.process:
                    open_.ends.append(event.time_ns)
    return [open_.close() for open_ in begun]


def _gaps(leaderships: Sequence[Leadership], events: Sequence[Event]) -> list[str]:
    """Traces of leaderships whose beginning is not in the history: a file was forgotten, or lines were lost."""
    if not leaderships:
        return ["no leadership is in this history"]
    begun = {(leadership.election, leadership.process, leadership.token) for leadership in leaderships}
    tokens = {(leadership.election, leadership.token) for leadership in leaderships}
    gaps: list[str] = []
    for event in events:
        if event.kind in (Kind.EXTENDED, Kind.JEOPARDY, Kind.ENDED):
            if (event.election, event.process, event.token) not in begun:
                gaps.append(f"line {event.line}: token {event.token} is {event.kind} and was never elected")
        elif event.kind is Kind.REFUSED and (event.election, event.highest) not in tokens:
            gaps.append(
                f"line {event.line}: the resource had seen token {event.highest}, and nobody was elected with it"
            )
    return gaps


def _overlaps(leaderships: Sequence[Leadership]) -> list[Finding]:
    findings: list[Finding] = []
    longest: Leadership | None = None  # of those begun so far, the one that believes longest
    for leadership in leaderships:
        if longest is not None and leadership.start_ns < longest.end_ns:
            by_ms = (min(longest.end_ns, leadership.end_ns) - leadership.start_ns) / 1e6
            findings.append(
                Finding(
                    Fault.OVERLAP,
                    leadership.election,
                    f"{_who(longest)} believed in itself for {by_ms:.3f} ms more when {_who(leadership)} was elected",
                    (longest.line, leadership.line),
                )
            )
        if longest is None or leadership.end_ns > longest.end_ns:
            longest = leadership
    return findings


def _tokens(leaderships: Sequence[Leadership]) -> list[Finding]:
    findings: list[Finding] = []
    for before, after in pairwise(leaderships):
        if after.token == before.token:
            fault = Fault.TOKEN_TWICE
        elif after.token < before.token:
            fault = Fault.TOKEN_NOT_RISING
        else:
            continue
        findings.append(
            Finding(
                fault, after.election, f"{_who(after)} came after {_who(before)}", (before.line, after.line)
            )
        )
    return findings


def _acts(leaderships: Sequence[Leadership], events: Sequence[Event]) -> list[Finding]:
    by_key: dict[_Key, list[Leadership]] = defaultdict(list)
    for leadership in leaderships:
        by_key[leadership.election, leadership.process, leadership.token].append(leadership)
    findings: list[Finding] = []
    for event in events:
        if event.kind is not Kind.ACTING:
            continue
        its = by_key[event.election, event.process, event.token]
        if not any(leadership.start_ns <= event.time_ns <= leadership.end_ns for leadership in its):
            lines = (*(leadership.line for leadership in its), event.line)
            what = f"{event.candidate} passed its check with token {event.token}"
            where = "outside its term" if its else "and was never elected with it"
            findings.append(Finding(Fault.ACTED_OUTSIDE_TERM, event.election, f"{what} {where}", lines))
    return findings


def _resource(leaderships: Sequence[Leadership], events: Sequence[Event]) -> list[Finding]:
    led_with: Final = Counter(leadership.token for leadership in leaderships)
    findings: list[Finding] = []
    highest: Event | None = None
    for event in events:
        # An equal token is refused when it is another holder's: then two have it, which is a fault by itself, but not the resource's.
        rightly = event.token < event.highest or (event.token == event.highest and led_with[event.token] > 1)
        if event.kind is Kind.REFUSED and not rightly:
            what = f"token {event.token} was refused though the highest seen is {event.highest}"
            findings.append(Finding(Fault.REFUSED_WRONGLY, event.election, what, (event.line,)))
        if event.kind is not Kind.ACCEPTED:
            continue
        if event.token not in led_with:
            what = f"token {event.token} was accepted and nobody was elected with it"
            findings.append(Finding(Fault.ACCEPTED_FROM_NOBODY, event.election, what, (event.line,)))
        if highest is not None and event.token < highest.token:
            what = f"token {event.token} was accepted after {highest.token}"
            findings.append(Finding(Fault.ACCEPTED_STALE, event.election, what, (highest.line, event.line)))
        if highest is None or event.token > highest.token:
            highest = event
    return findings


def _who(leadership: Leadership) -> str:
    return f"{leadership.candidate} (token {leadership.token}, process {leadership.process})"
