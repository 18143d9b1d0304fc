"""``incumbent VERB [URL] ELECTION``: look at one election, and operate it, on any engine."""

from __future__ import annotations

import argparse
import asyncio
import getpass
import json
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

from incumbent.cli.options import find_url
from incumbent.errors import InvalidInput
from incumbent.leadership.connect import connect
from incumbent.leadership.control import Control
from incumbent.leadership.election import Election
from incumbent.leadership.history import NOT_KNOWN, Record
from incumbent.leadership.outcome import Done, Outcome
from incumbent.leadership.roll import UNKNOWN, Candidate, Leader, Sighting

EXIT_NOT_SO: Final = 1
EXIT_UNKNOWN: Final = 2


WORDS: Final[Mapping[Done, str]] = {
    Done.ALREADY: "it was so before",
    Done.NO_LEADER: "nobody leads",
    Done.NO_CANDIDATE: "nobody of that name stands who could",
    Done.UNABLE: "it is drained, or says of itself that it is not to lead",
    Done.FOREIGN: "a candidate of another library is in the way, and cannot be asked",
    Done.PAUSED: "the election is paused, so nobody could follow",
    Done.NOT_READY: "it was not warm in time, or its warm-up failed, or others did not make room",
    Done.GONE: "it has gone meanwhile",
    Done.BUSY: "another hand-over is going on",
    Done.TERM_OVER: "the term was over before it could be handed over",
    Done.NOT_YET: "asked, and not obeyed in time; it may still come",
}
"""Why what was asked for is not so, or was not done."""


class Answer(NamedTuple):
    """What a command gives: as data, for people, and its exit code."""

    data: dict[str, Any]
    lines: list[str]
    code: int = 0


# --- looking ----------------------------------------------------------------------------------------------------------


async def _status(election: Election, _: argparse.Namespace) -> Answer:
    sighting = await election.leader()
    if sighting is UNKNOWN:
        return _leader(sighting)
    present = await election.operations.present()
    leader = _leader(present.leader)
    data = leader.data | {
        "candidates": [_candidate(c) for c in present.candidates],
        "control": _control(present.control),
    }
    who = list(map(_line, present.candidates)) or ["no candidate stands"]
    return Answer(data, [*leader.lines, *_said(present.control), *who])


async def _who_leads(election: Election, _: argparse.Namespace) -> Answer:
    return _leader(await election.leader())


async def _who_stands(election: Election, _: argparse.Namespace) -> Answer:
    candidates = await election.candidates()
    return Answer({"candidates": [_candidate(c) for c in candidates]}, list(map(_line, candidates)))


async def _history(election: Election, _: argparse.Namespace) -> Answer:
    records = await election.operations.history()
    sighting = await election.leader()
    leads = sighting.token if isinstance(sighting, Leader) else None
    return Answer(
        {"history": [msgspec.to_builtins(r) | _token(r.token) for r in records]},
        [_record(record, leads=record.token == leads) for record in records],
    )


async def _why(election: Election, _: argparse.Namespace) -> Answer:
    statements = await election.operations.why()
    return Answer(
        {"why": [{"code": s.code, "text": s.text} for s in statements]}, [s.text for s in statements]
    )


# --- operating --------------------------------------------------------------------------------------------------------


async def _pause(election: Election, said: argparse.Namespace) -> Answer:
    return _outcome(await election.operations.pause(by=_user(), why=said.why))


async def _resume(election: Election, _: argparse.Namespace) -> Answer:
    return _outcome(await election.operations.resume())


async def _drain(election: Election, said: argparse.Namespace) -> Answer:
    return _outcome(await election.operations.drain(said.candidate))


async def _undrain(election: Election, said: argparse.Namespace) -> Answer:
    return _outcome(await election.operations.undrain(said.candidate))


async def _anoint(election: Election, said: argparse.Namespace) -> Answer:
    return _outcome(await election.operations.anoint(said.candidate))


async def _evict(election: Election, said: argparse.Namespace) -> Answer:
    return _outcome(await election.operations.evict(said.candidate, force=said.force))


async def _resign(election: Election, _: argparse.Namespace) -> Answer:
    return _outcome(await election.operations.resign())


async def _handover(election: Election, said: argparse.Namespace) -> Answer:
    return _outcome(await election.operations.handover(to=said.to, warm_s=said.warm, drain_s=said.drain))


Verb: TypeAlias = Callable[[Election, argparse.Namespace], Awaitable[Answer]]
VERBS: Final[Mapping[str, Verb]] = {
    "status": _status,
    "leader": _who_leads,
    "candidates": _who_stands,
    "history": _history,
    "why": _why,
    "pause": _pause,
    "resume": _resume,
    "drain": _drain,
    "undrain": _undrain,
    "anoint": _anoint,
    "evict": _evict,
    "resign": _resign,
    "handover": _handover,
}


def operate(said: argparse.Namespace) -> int:
    """Look, or do it, and print what came of it. Raises IncumbentError."""
    try:
        url = find_url(said.url)
    except InvalidInput:
        if "://" in said.election:  # it is what was said as the only argument
            raise InvalidInput("ELECTION", "is missing", "give its name after the URL") from None
        raise
    answer = asyncio.run(_ask(url, said))
    if said.json:
        print(json.dumps({"election": said.election} | answer.data))
    else:
        print("\n".join(answer.lines) or "none")
    return answer.code


async def _ask(url: str, said: argparse.Namespace) -> Answer:
    async with connect(url, ttl=said.timeout, guardian=False) as cluster:
        return await VERBS[said.verb](cluster.election(said.election), said)


def _user() -> str:
    try:
        return f"{getpass.getuser()}@{os.uname().nodename}"
    except (KeyError, OSError):  # a uid without a name
        return f"{os.getuid()}@{os.uname().nodename}"


# --- how it looks -----------------------------------------------------------------------------------------------------


def _token(token: int) -> dict[str, Any]:
    """As a number, and as text for readers whose numbers are doubles."""
    return {"token": token, "token_text": str(token)}


def _leader(sighting: Sighting) -> Answer:
    match sighting:
        case Leader(candidate, token, value):
            shown = value.decode(errors="replace")
            data = {"leader": candidate, "value": shown} | _token(token)
            return Answer(data, [f"{candidate} leads with token {token}" + (f": {shown}" if shown else "")])
        case None:
            return Answer({"leader": None}, ["nobody leads"], EXIT_NOT_SO)
        case _:
            return Answer(
                {"leader": None, "unknown": True}, ["unknown: the engine does not answer"], EXIT_UNKNOWN
            )


def _candidate(one: Candidate) -> dict[str, Any]:
    return asdict(one) | {"value": one.value.decode(errors="replace")}


def _line(one: Candidate) -> str:
    facts = [
        "leads" if one.leads else "",
        f"priority {one.priority}" if one.priority else "",
        "" if one.eligible else "not eligible",
        "drained" if one.drained else "",
        "" if one.ours else "of another library",
        *(f"{key}={value}" for key, value in sorted(one.tags.items())),
    ]
    return f"{one.position:3}  {one.candidate}  {', '.join(fact for fact in facts if fact)}".rstrip()


def _control(control: Control) -> dict[str, Any]:
    paused = None if control.paused is None else msgspec.to_builtins(control.paused)
    successor = None if control.successor is None else control.successor.candidate
    return {"paused": paused, "drained": list(control.drained), "successor": successor}


def _said(control: Control) -> list[str]:
    paused = control.paused
    return [
        *(
            [f"paused by {paused.by or 'somebody'} {_time(paused.at_ms)} {paused.why}".rstrip()]
            if paused
            else []
        ),
        *([f"{control.successor.candidate} was named to lead next"] if control.successor else []),
        *([f"drained: {', '.join(control.drained)}"] if control.drained else []),
    ]


def _record(record: Record, *, leads: bool) -> str:
    """The record says that a leader began and ended; whether it still leads, only the engine does."""
    if record.ended_ms is None:
        ended = "now" if leads else "an end that is not written down"
    else:
        at_the_latest = "at the latest, " if record.reason == NOT_KNOWN else ""
        ended = f"{_time(record.ended_ms)}  {at_the_latest}{record.reason}"
    gap = "" if record.gap_ms is None else f"  after {record.gap_ms} ms without a leader"
    return f"{record.token}  {record.candidate}  {_time(record.began_ms)} to {ended}{gap}"


def _time(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _outcome(outcome: Outcome) -> Answer:
    unknown = outcome.code is Done.NOT_YET
    code = 0 if outcome.ok else EXIT_UNKNOWN if unknown else EXIT_NOT_SO
    about = f" {outcome.candidate}" if outcome.candidate else ""
    words = "" if outcome.code is Done.DONE else f": {WORDS[outcome.code]}"
    return Answer(asdict(outcome) | {"ok": outcome.ok}, [f"{outcome.code}{about}{words}"], code)
