"""What the machine is asked and what it answers. PURE.

The data model is etcd's: every key has a create, a mod and a version number; the machine has one revision that rises
by one with each command that changes something. All changes of one command share its revision. Deleting a key that
does not exist changes nothing. Commands are log entries: `encode` and `decode` fix their bytes.

A key range is (key, end): end None = exactly `key`; otherwise all keys k with key <= k < end. `prefix_end` gives the
end of everything that starts with a prefix.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum, StrEnum
from typing import Final

import msgspec

from incumbent.ids import Index, LeaseId, NodeId, Revision, Term

NO_LEASE = LeaseId(0)
FIRST_LEVEL: Final = 1
LEVEL: Final = 1
"""Up to which level this release reads commands. One that releases before it cannot read gets a level above all others."""
LEVELS: Final[Mapping[type, int]] = {}
"""Of commands above the first level; a command with a new field is another kind of command. See ADR 20."""
GROUP_PREFIX = b"group\0"
"""A key that begins so belongs to the group whose name follows, up to the next NUL. The machine does not care; rules of access do."""


# Without cycles, and many: the garbage collector need not walk through them (tuples with names it never leaves out).
class KeyValue(msgspec.Struct, frozen=True, array_like=True, gc=False):
    key: bytes
    value: bytes
    create_revision: Revision
    mod_revision: Revision
    version: int  # 1 after the create, one more with each put
    lease: LeaseId  # NO_LEASE when none


class Change(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One key as one revision left it. value None = deleted."""

    revision: Revision
    key: bytes
    value: bytes | None
    create_revision: Revision  # 0 when deleted


class Compare(StrEnum):
    CREATE = "create"
    MOD = "mod"
    VERSION = "version"
    VALUE = "value"
    LEASE = "lease"


class Is(StrEnum):
    EQUAL = "="
    NOT_EQUAL = "!="
    GREATER = ">"
    LESS = "<"


class _Logged(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A field that this version does not know is refused: skipping it would let replicas of two versions diverge in
    silence. Fields that are missing at the end take their defaults, so older logs stay readable."""


class Condition(_Logged, frozen=True):
    """Holds when EVERY key in the range compares so. A single key that does not exist compares as create, mod, version
    and lease 0 (and fails every VALUE comparison); an empty range holds."""

    key: bytes
    target: Compare
    op: Is
    operand: int | bytes  # bytes only for VALUE
    end: bytes | None = None


class Put(_Logged, frozen=True, tag="put"):
    """Needs a live lease when `lease` is set; else the command is answered LEASE_NOT_FOUND and changes nothing."""

    key: bytes
    value: bytes
    lease: LeaseId = NO_LEASE


class DeleteRange(_Logged, frozen=True, tag="del"):
    key: bytes
    end: bytes | None = None


class Range(_Logged, frozen=True, tag="get"):
    """Keys in ascending order, values included. `limit` 0 = all."""

    key: bytes
    end: bytes | None = None
    limit: int = 0


Operation = Put | DeleteRange | Range


class Txn(_Logged, frozen=True, tag="txn"):
    """If all `conditions` hold then `then` else `orelse`, in one revision. All or nothing: when one operation cannot be
    done (a lease is gone), none is. An operation sees what the ones before it in the same Txn did."""

    conditions: tuple[Condition, ...] = ()
    then: tuple[Operation, ...] = ()
    orelse: tuple[Operation, ...] = ()


class LeaseGrant(_Logged, frozen=True, tag="grant"):
    """Idempotent: granting an id again with the same ttl answers OK and changes nothing; with another ttl: LEASE_EXISTS.
    The id is chosen by the client, so a retry after a lost answer finds its own lease, with some of its time gone: renew
    it before counting on it. An id is never used again once its lease has ended: an expiry may still be on its way. INVALID
    without an id or with a ttl that is not positive."""

    id: LeaseId
    ttl_ns: int


class LeaseRevoke(_Logged, frozen=True, tag="revoke"):
    """End a lease and delete every key attached to it, in one revision. LEASE_NOT_FOUND when already over."""

    id: LeaseId


class LeaseExpire(_Logged, frozen=True, tag="expire"):
    """As LeaseRevoke, by the leader of `term` because the lease ran out. Does nothing (EXPIRE_STALE) when applied under
    another term: a stalled ex-leader cannot expire other people's leases (P58)."""

    id: LeaseId
    term: Term


class LeaseCheckpoint(_Logged, frozen=True, tag="checkpoint"):
    """What was left of these leases when the leader of `term` looked, in nanoseconds. A leader that takes over gives them
    so much and not a full ttl; so leader changes in quick succession keep no dead holder alive (P59). The whole ttl undoes
    it: that is the first renewal after a checkpoint. Leases that ended meanwhile are passed over. EXPIRE_STALE under
    another term."""

    left_ns: tuple[tuple[LeaseId, int], ...]
    term: Term


class Once(_Logged, frozen=True, tag="once"):
    """Apply `command` once, however often it comes: a repetition is answered as the first time.

    `sequence` names the command within its session: positive, and higher than any before. Answers up to `settled` have
    arrived and are forgotten; a command that comes again after that is answered SETTLED and does nothing. The memory ends
    with the session's lease: LEASE_NOT_FOUND then, and nothing is done.
    """

    session: LeaseId
    sequence: int
    settled: int
    command: Put | DeleteRange | Txn


class ReportDigest(_Logged, frozen=True, tag="digest"):
    """`voter`, having applied the entry at `index`, has a state with this digest. Changes nothing: nodes compare it with their own."""

    voter: NodeId
    index: Index
    digest: bytes


class RaiseLevel(_Logged, frozen=True, tag="level"):
    """From here on the log may hold commands up to this level: every member has said that it reads them. Never lowers anything."""

    level: int


Command = (
    Put
    | DeleteRange
    | Txn
    | LeaseGrant
    | LeaseRevoke
    | LeaseExpire
    | LeaseCheckpoint
    | Once
    | ReportDigest
    | RaiseLevel
)
Query = Range | Txn  # a Txn as a query must not hold Put or DeleteRange: INVALID


class Code(IntEnum):
    OK = 0
    LEASE_NOT_FOUND = 1
    LEASE_EXISTS = 2
    EXPIRE_STALE = 3
    INVALID = 4  # it makes no sense, now or ever: nothing was done
    SETTLED = 5  # a Once that was answered long ago: nothing was done now


class OperationResult(msgspec.Struct, frozen=True, array_like=True):
    """What one operation of a Txn (or the one operation of a plain command) did."""

    kvs: tuple[KeyValue, ...] = ()  # Range: the keys found. DeleteRange: the keys as they were. Put: empty


class Result(msgspec.Struct, frozen=True, array_like=True):
    """The machine's answer to a command or a query. `revision` is the machine's after it."""

    code: Code
    revision: Revision
    succeeded: bool = True  # Txn: whether the conditions held, so which branch `results` belongs to
    results: tuple[OperationResult, ...] = ()


def level_of(command: Command) -> int:
    """Who reads commands up to this level can read this one."""
    return LEVELS.get(type(command.command if isinstance(command, Once) else command), FIRST_LEVEL)


def prefix_end(prefix: bytes) -> bytes | None:
    """The `end` of the range of all keys that start with `prefix` (which must not be empty or all 0xff)."""
    stem = prefix.rstrip(b"\xff")
    if not stem:
        raise ValueError("a prefix of nothing but 0xff bytes has no end")
    return stem[:-1] + bytes([stem[-1] + 1])


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Command)


def encode(command: Command) -> bytes:
    """The bytes of a command as they stand in the log."""
    return _encoder.encode(command)


def decode(data: bytes) -> Command:
    """The command that `encode` wrote. Raises msgspec.DecodeError on anything else."""
    try:
        command: Command = _decoder.decode(data)
    except (UnicodeDecodeError, RecursionError) as error:  # msgspec lets these through untranslated
        raise msgspec.DecodeError(str(error)) from error
    return command
