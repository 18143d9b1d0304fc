"""How messages, records, notes and members are put into words: a short text, always the same for the same thing.

An entry is shown as ``index/term``, with what it holds behind it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from incumbent.consensus.api import Committed, Entry, Leadership, Membership, Note, Record, Role
from incumbent.consensus.raft.messages import (
    Append,
    AppendReply,
    Heartbeat,
    HeartbeatReply,
    InstallSnapshot,
    InstallSnapshotReply,
    PreVote,
    PreVoteReply,
    RaftMessage,
    TimeoutNow,
    Vote,
    VoteReply,
    decode_hard_state,
    decode_membership,
)

MS: Final = 1_000_000
KINDS: Final[dict[str, type[RaftMessage]]] = {
    re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower(): kind
    for kind in (
        PreVote, PreVoteReply, Vote, VoteReply, Append, AppendReply, Heartbeat, HeartbeatReply, InstallSnapshot,
        InstallSnapshotReply, TimeoutNow,
    )
}  # fmt: skip
"""Messages by the names that stories give them."""
NAMES: Final = {kind: name for name, kind in KINDS.items()}


def of_message(message: RaftMessage) -> str:
    """Without what only bookkeeping is for: sequence numbers, checksums, ranks, times of sending."""
    facts: list[str] = [str(message.term)]
    match message:
        case PreVote() | Vote():
            facts.append(f"last {message.last_index}/{message.last_term}")
            if isinstance(message, Vote) and message.handed_over:
                facts.append("handed over")
        case PreVoteReply() | VoteReply():
            facts.append("yes" if message.granted else "no")
        case Append():
            entries = of_entries(message.entries) or "nothing"
            facts.append(
                f"after {message.prev_index}/{message.prev_term}: {entries}, commit {message.commit}"
            )
        case AppendReply() if message.accepted:
            facts.append(f"has {message.index}")
        case AppendReply():
            facts.append(f"no {message.refused_prev}, try {message.index}")
        case Heartbeat():
            facts.append(f"commit {message.commit}")
            if message.round:
                facts.append(f"round {message.round}")
        case HeartbeatReply():
            if message.round:
                facts.append(f"round {message.round}")
        case InstallSnapshot():
            end = message.offset + len(message.chunk)
            facts.append(
                f"{message.index}/{message.index_term} bytes {message.offset}..{end} of {message.size}"
            )
        case InstallSnapshotReply():
            facts.append(f"{message.index} has {message.offset} bytes")
        case TimeoutNow():
            pass
    return f"{NAMES[type(message)]}({' '.join(facts)})"


def of_entries(entries: Iterable[Entry]) -> str:
    return " ".join(f"{entry.index}/{entry.term}{_content(entry)}" for entry in entries)


def _content(entry: Entry) -> str:
    if entry.tag:
        return f"[{of_membership(decode_membership(entry.tag))}]"
    return "" if entry.data is None else of_data(entry.data)


def of_data(data: bytes) -> str:
    return '"' + data.decode() + '"'


def of_membership(membership: Membership) -> str:
    groups = {
        "voters": membership.voters,
        "outgoing": membership.outgoing,
        "learners": membership.learners,
        "learners next": membership.learners_next,
        "witnesses": membership.witnesses,
    }
    return ", ".join(f"{name} {of_names(members)}" for name, members in groups.items() if members)


def of_names(names: Iterable[str]) -> str:
    return " ".join(sorted(names))


def of_record(record: Record) -> str:
    """What a record makes durable, in the order in which storage does it."""
    parts = [f"piece {p.offset}..{p.offset + len(p.data)} of {p.index}/{p.term}" for p in record.pieces]
    if record.snapshot is not None:
        parts.append(f"snapshot {record.snapshot.index}/{record.snapshot.term}")
    if record.truncate_from is not None:
        parts.append(f"cut from {record.truncate_from}")
    if record.hard_state is not None:
        hard = decode_hard_state(record.hard_state)
        parts.append(f"term {hard.term} vote {hard.vote or '-'}")
    if record.entries:
        parts.append(of_entries(record.entries))
    return ", ".join(parts)


def of_committed(committed: Sequence[Committed]) -> str:
    return " ".join(f"{c.index}" + ("" if c.data is None else of_data(c.data)) for c in committed)


def of_leadership(leadership: Leadership) -> str:
    text = f"{leadership.role.value} in {leadership.term}"
    if leadership.serving:
        return f"{text}, serving"
    if leadership.role is Role.FOLLOWER and leadership.leader is not None:
        return f"{text} of {leadership.leader}"
    return text


def of_note(note: Note) -> str:
    """Without the term, which the messages around it show."""
    facts = [f"{name}={_fact(value)}" for name, value in note.facts.items() if name != "term"]
    return " ".join([note.code, *facts])


def _fact(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, list):
        return ",".join(str(item) for item in value) or "-"
    text = str(value)
    return f'"{text}"' if " " in text else text


def of_moment(since_start_ns: int) -> str:
    return f"{since_start_ns / MS:.3f}".rstrip("0").rstrip(".") + " ms"
