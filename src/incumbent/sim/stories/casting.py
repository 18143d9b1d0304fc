"""Who is on stage: how a cluster is set up, and what one sees of a node."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Final, TypeVar

from incumbent.consensus.api import Entry, Membership, Record, ReplicaLimits, Timing
from incumbent.consensus.raft.messages import HardState, decode_hard_state, encode_hard_state
from incumbent.errors import InvalidInput
from incumbent.ids import Index, NodeId, Term
from incumbent.sim.stories import words
from incumbent.sim.stories.actor import Actor, Terms
from incumbent.sim.stories.arguments import Arguments, duration_ns, number, pairs
from incumbent.sim.stories.stage import Stage

T = TypeVar("T", ReplicaLimits, Timing)
SECTIONS: Final = ("learners", "witnesses", "logs", "terms", "priorities", "limits", "timing")


def cluster(stage: Stage, arguments: Arguments) -> None:
    if stage.terms is not None:
        raise InvalidInput("command", "there is a cluster already", "a story has one")
    found = arguments.sections("voters", SECTIONS)
    members = [frozenset(map(NodeId, found.get(group, ()))) for group in ("voters", "learners", "witnesses")]
    membership = Membership(members[0], learners=members[1], witnesses=members[2])
    fault = membership.faults()
    if fault is not None:
        raise InvalidInput("command", fault, "name the voters first")
    logs, terms, priorities = (_of_nodes(name, found, membership) for name in ("logs", "terms", "priorities"))
    limits = _with(ReplicaLimits(), {n: number(v) for n, v in pairs(found.get("limits", ())).items()})
    timing = _with(Timing(), {f"{n}_ns": duration_ns(v) for n, v in pairs(found.get("timing", ())).items()})
    stage.terms = Terms(membership, timing, limits)
    for name in found["voters"] + found.get("learners", []):
        actor = stage.add(name, priority=number(priorities.get(name, "0")))
        _fill(actor, logs.get(name), terms.get(name))
        _start(stage, actor)


def _of_nodes(section: str, found: Mapping[str, list[str]], membership: Membership) -> dict[str, str]:
    values = pairs(found.get(section, ()))
    strangers = sorted(values.keys() - membership.everyone)
    if strangers:
        raise InvalidInput("command", f"{section} of {strangers[0]!r}, who is no member", "name members")
    return values


def _with(defaults: T, values: dict[str, int]) -> T:
    present = {field.name: getattr(defaults, field.name) for field in fields(defaults)}
    unknown = sorted(values.keys() - present.keys())
    if unknown:
        names = ", ".join(name.removesuffix("_ns") for name in present)
        raise InvalidInput("command", f"there is no {unknown[0].removesuffix('_ns')!r}", f"one of {names}")
    return type(defaults)(**(present | values))


def _fill(actor: Actor, log: str | None, term: str | None) -> None:
    """A disk that some earlier life left behind."""
    terms = [number(text) for text in log.split(",")] if log else []
    entries = [Entry(Index(at), Term(of), b"old") for at, of in enumerate(terms, start=1)]
    last = number(term) if term else max(terms, default=0)
    actor.disk.apply(Record(hard_state=encode_hard_state(HardState(Term(last))), entries=entries))


def join(stage: Stage, arguments: Arguments) -> None:
    name = arguments.take("a node")
    arguments.end()
    if name in stage.actors:
        raise InvalidInput("command", f"{name} is there already", "give the new node a name of its own")
    _start(stage, stage.add(name))


def _start(stage: Stage, actor: Actor) -> None:
    """A fresh follower has nothing to tell."""
    actor.start(stage.now_ns)
    actor.duties(stage.send)


def of_actor(actor: Actor) -> str:
    """One node in one line."""
    if actor.raft is None:
        return f"{actor.me}: down; on disk: {_of_disk(actor)}"
    state, status = actor.raft.state, actor.raft.status()
    role = f"{status.role.value} in {status.term}"
    if status.serving:
        role += ", serving"
    elif status.leader not in (None, actor.me):
        role += f" of {status.leader}"
    parts = [role, _of_log(state.log.between(1, status.last_index), status.first_index)]
    parts.append(f"commit {status.commit}")
    if status.applied != status.commit:
        parts.append(f"applied {status.applied}")
    if actor.outstanding is not None:
        parts.append(f"durable to {state.log.stable}")
    if status.membership != actor.terms.membership:
        parts.append(words.of_membership(status.membership))
    return f"{actor.me}: {'; '.join(parts)}"


def _of_disk(actor: Actor) -> str:
    hard = decode_hard_state(actor.disk.hard_state)
    entries = [actor.disk.entries[index] for index in sorted(actor.disk.entries)]
    return f"term {hard.term} vote {hard.vote or '-'}; {_of_log(entries, actor.disk.first_index)}"


def _of_log(entries: Iterable[Entry], first: int) -> str:
    """The terms of the entries, one after another."""
    terms = " ".join(str(entry.term) for entry in entries)
    begin = f"log from {first}" if first > 1 else "log"
    return f"{begin}: {terms or 'empty'}"
