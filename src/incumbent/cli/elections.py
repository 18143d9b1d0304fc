"""``incumbent VERB [URL] ELECTION``: look at one election, and operate it, on any engine."""

from __future__ import annotations

import argparse
import asyncio
import getpass
import json
import os
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import msgspec

from incumbent.errors import InvalidInput
from incumbent.leadership.connect import connect
from incumbent.leadership.control import Control
from incumbent.leadership.election import Election
from incumbent.leadership.history import Record
from incumbent.leadership.outcome import Done, Outcome
from incumbent.leadership.roll import UNKNOWN, Candidate, Leader, Sighting

URL_VARIABLE: Final = "INCUMBENT_URL"
EXIT_NOT_SO: Final = 1
EXIT_UNKNOWN: Final = 2
TIMEOUT_S: Final = 5.0


class Answer(NamedTuple):
    """What a command gives: as data, for people, and its exit code."""

    data: dict[str, Any]
    lines: list[str]
    code: int = 0


@dataclass(frozen=True, slots=True)
class Command:
    """One command. `run` gets the election and what was said on the command line."""

    name: str
    help: str
    run: Callable[[Election, argparse.Namespace], Awaitable[Answer]]
    add: Callable[[argparse.ArgumentParser], object] = lambda _: None


# --- looking ----------------------------------------------------------------------------------------------------------


async def _status(election: Election, _: argparse.Namespace) -> Answer:
    sighting = await election.leader()
    if sighting is UNKNOWN:
        return _leader(sighting)
    candidates = await election.candidates()
    control = await election.operations.control()
    leader = _leader(sighting)
    data = leader.data | {"candidates": [_candidate(c) for c in candidates], "control": _control(control)}
    return Answer(data, [*leader.lines, *_said(control), *map(_line, candidates)])


async def _who_leads(election: Election, _: argparse.Namespace) -> Answer:
    return _leader(await election.leader())


async def _who_stands(election: Election, _: argparse.Namespace) -> Answer:
    candidates = await election.candidates()
    return Answer({"candidates": [_candidate(c) for c in candidates]}, list(map(_line, candidates)))


async def _history(election: Election, _: argparse.Namespace) -> Answer:
    records = await election.operations.history()
    return Answer(
        {"history": [msgspec.to_builtins(r) | _token(r.token) for r in records]}, list(map(_record, records))
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


# --- what there is ----------------------------------------------------------------------------------------------------


def _with_candidate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("candidate", metavar="CANDIDATE", help="its name")


def _with_force(parser: argparse.ArgumentParser) -> None:
    _with_candidate(parser)
    parser.add_argument("--force", action="store_true", help="remove it at once, also when it leads")


def _with_why(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--why", default="", metavar="TEXT", help="for others to read")


def _with_successor(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--to", default=None, metavar="CANDIDATE", help="to whom (the most preferred)")
    parser.add_argument(
        "--warm", type=_seconds, default=10.0, metavar="S", help="seconds to warm up in (default: 10)"
    )
    parser.add_argument(
        "--drain",
        type=_seconds,
        default=5.0,
        metavar="S",
        help="seconds for the leader's work to end (default: 5)",
    )


COMMANDS: Final = (
    Command("status", "who leads an election, who stands, what operators said", _status),
    Command("leader", "who leads an election", _who_leads),
    Command("candidates", "who stands in an election, in order", _who_stands),
    Command("history", "who led an election, and why it ended", _history),
    Command("why", "why an election has no leader, or why this one", _why),
    Command("pause", "nobody begins to lead, until resumed; who leads goes on", _pause, _with_why),
    Command("resume", "lift a pause", _resume),
    Command("drain", "a candidate does not lead until undrained", _drain, _with_candidate),
    Command("undrain", "a drained candidate may lead again", _undrain, _with_candidate),
    Command("anoint", "a candidate leads next, and now", _anoint, _with_candidate),
    Command("evict", "a candidate leaves the queue", _evict, _with_force),
    Command("resign", "whoever leads ends its term", _resign),
    Command("handover", "whoever leads hands over in good order", _handover, _with_successor),
)


def add_commands(commands: Any) -> None:
    """All of them, to the program's own."""
    for command in COMMANDS:
        parser = commands.add_parser(command.name, help=command.help)
        parser.add_argument(
            "url", nargs="?", default=None, metavar="URL", help=f"the engine (default: {URL_VARIABLE})"
        )
        parser.add_argument("election", metavar="ELECTION", help="its name")
        command.add(parser)
        parser.add_argument(
            "--timeout",
            type=_seconds,
            default=TIMEOUT_S,
            metavar="S",
            help=f"give up when the engine does not answer for so many seconds (default: {TIMEOUT_S:g})",
        )
        parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
        parser.set_defaults(run=lambda said, command=command: _run(command, said))


def _run(command: Command, said: argparse.Namespace) -> int:
    url = said.url or os.environ.get(URL_VARIABLE)
    if not url:
        raise InvalidInput("URL", "is missing", f"give it before the election, or in {URL_VARIABLE}")
    answer = asyncio.run(_ask(url, command, said))
    if said.json:
        print(json.dumps({"election": said.election} | answer.data))
    else:
        print("\n".join(answer.lines) or "none")
    return answer.code


async def _ask(url: str, command: Command, said: argparse.Namespace) -> Answer:
    async with connect(url, ttl=said.timeout, guardian=False) as cluster:
        return await command.run(cluster.election(said.election), said)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds; give 0 to 3600")
    return seconds


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


def _record(record: Record) -> str:
    ended = "leads" if record.ended_ms is None else f"{_time(record.ended_ms)} {record.reason}"
    gap = "" if record.gap_ms is None else f"  after {record.gap_ms} ms without a leader"
    return f"{record.token}  {record.candidate}  {_time(record.began_ms)} to {ended}{gap}"


def _time(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _outcome(outcome: Outcome) -> Answer:
    unknown = outcome.code is Done.NOT_YET
    code = 0 if outcome.ok else EXIT_UNKNOWN if unknown else EXIT_NOT_SO
    about = f" {outcome.candidate}" if outcome.candidate else ""
    return Answer(asdict(outcome) | {"ok": outcome.ok}, [f"{outcome.code}{about}"], code)
