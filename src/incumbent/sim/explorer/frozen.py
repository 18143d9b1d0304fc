"""What a voter is, as a number: equal for voters between which nothing that can happen later tells a difference.

Everything counts, field by field, so that a field that is added to the core counts without anybody thinking of it. Time is
not left out of the number but taken out of the voter: `forget_time` sets it to the same moment everywhere.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from hashlib import blake2b
from random import Random
from typing import Any, Final

import msgspec

from incumbent.consensus.api import Envelope, Message, ReplicaLimits, Timing
from incumbent.consensus.log import Log
from incumbent.consensus.raft.replica import Raft
from incumbent.consensus.raft.state import State
from incumbent.sim.predicates import saved_vote

NOW_NS: Final = 1_000_000_000_000
LATER_NS: Final = NOW_NS + 1

STATE_FIXED: Final[Mapping[str, object]] = {
    "now_ns": NOW_NS,
    "heard_ns": None,  # nobody is held back by what it heard a moment ago
    "election_ns": LATER_NS,  # a step of the explorer lets a deadline pass
    "heartbeat_ns": LATER_NS,
    "quorum_check_ns": LATER_NS,
    "preemption_ns": LATER_NS,
    "written_ns": NOW_NS,  # no disk stalls
    "rank": 0,  # orders campaigns in time, and goes by names
}
PROGRESS_FIXED: Final[Mapping[str, object]] = {"heard_ns": NOW_NS, "sent_ns": 0, "rank": 0}
MESSAGE_FIXED: Final[Mapping[str, object]] = {"rank": 0}
"""Fields that are about time only, and what they always are here."""

PLAIN: Final = (type(None), bool, int, bytes)
THE_SAME: Final = (Random, Timing, ReplicaLimits)
"""Nothing of these types differs from world to world."""


def forget_time(raft: Raft) -> None:
    """It is always the same moment, and notes are for people."""
    state: State = raft.state
    for name, value in STATE_FIXED.items():
        setattr(state, name, value)
    for progress in state.progress.values():
        for name, value in PROGRESS_FIXED.items():
            setattr(progress, name, value)
    state.out.notes = []


def timeless(message: Message) -> Message:
    fixed = {name: value for name, value in MESSAGE_FIXED.items() if name in message.__struct_fields__}
    return msgspec.structs.replace(message, **fixed) if fixed else message


def digest(value: object, names: Mapping[str, str]) -> bytes:
    """Of all that `value` holds, with the voters called as `names` says."""
    return blake2b(repr(_frozen(value, names)).encode(), digest_size=16).digest()


def _frozen(value: Any, names: Mapping[str, str]) -> object:
    """Plain values in an order that does not depend on what the voters are called."""
    if isinstance(value, PLAIN):
        return value
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, str):
        return names.get(value, value)
    if isinstance(value, Mapping):
        return _unordered(((_frozen(k, names), _frozen(v, names)) for k, v in value.items()))
    if isinstance(value, frozenset | set):
        return _unordered(_frozen(each, names) for each in value)
    if isinstance(value, list | tuple | deque):
        if value and isinstance(value[0], Envelope):
            return _frozen(_by_receiver(value), names)
        return tuple([_frozen(each, names) for each in value])
    if isinstance(value, THE_SAME):
        return None
    return (type(value).__name__, *(_field(name, getattr(value, name), names) for name in field_names(value)))


def _field(name: str, value: object, names: Mapping[str, str]) -> object:
    if name == "notes":
        return None  # for people
    if name == "hard_state" and (value is None or isinstance(value, bytes)):
        return _frozen(saved_vote(value), names)  # there is a name in these bytes
    return _frozen(value, names)


def field_names(value: object) -> tuple[str, ...]:
    if is_dataclass(value):
        return tuple(field.name for field in fields(value))
    if isinstance(value, msgspec.Struct):
        return value.__struct_fields__
    if isinstance(value, Log | Raft):
        return tuple(vars(value))
    raise TypeError(f"the explorer cannot tell one {type(value).__name__} from another")


def _unordered(values: Iterable[object]) -> tuple[object, ...]:
    return tuple(sorted(values, key=repr))


def _by_receiver(envelopes: Iterable[Envelope]) -> dict[str, list[Message]]:
    """The order of messages matters on each link only."""
    found: dict[str, list[Message]] = {}
    for to, message in envelopes:
        found.setdefault(to, []).append(message)
    return found
