"""The replicated machine: MVCC keys, leases, transactions, and the changes that watches follow. PURE.

A worked example, starting at revision 1 (an empty machine):

    put a=x            revision 2    a: create 2, mod 2, version 1
    put a=y            revision 3    a: create 2, mod 3, version 2
    grant lease 7      revision 3    nothing that a watch could see changed
    put b=z, lease 7   revision 4    b: create 4, mod 4, version 1, lease 7
    checkpoint 7       revision 4    what is left of the lease is remembered
    revoke lease 7     revision 5    b is gone: one Change(5, b, None)
    delete b           revision 5    it did not exist: nothing changed
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, assert_never

from incumbent.errors import Compacted, Unsupported, invariant
from incumbent.ids import Index, LeaseId, Revision, Term
from incumbent.kv.api import (
    FIRST_LEVEL,
    LEVEL,
    NO_LEASE,
    Change,
    Code,
    Command,
    Compare,
    Condition,
    DeleteRange,
    Is,
    KeyValue,
    LeaseCheckpoint,
    LeaseExpire,
    LeaseGrant,
    LeaseRevoke,
    Once,
    Operation,
    OperationResult,
    Put,
    Query,
    RaiseLevel,
    Range,
    ReportDigest,
    Result,
    Txn,
)
from incumbent.kv.digest import Item, StateDigest, answer_content, lease_content
from incumbent.kv.state import Frozen, Loaded, SavedLease, load

HISTORY_CHANGES_MAX: Final = 100_000
HISTORY_BYTES_MAX: Final = 64 * 1024 * 1024
"""Changes kept for watches, by count and by the bytes of their keys and values; older ones are compacted."""
ANSWERS_MAX: Final = 1024
"""Answers kept for one session's commands; beyond that the oldest count as settled."""
FIRST_REVISION: Final = Revision(1)
NOTHING_FOUND: Final = OperationResult()


class Outcome(NamedTuple):
    """What one command did: the answer, and what watches see."""

    result: Result
    changes: Sequence[Change]


@dataclass(slots=True)
class Lease:
    ttl_ns: int
    keys: dict[bytes, None] = field(
        default_factory=dict
    )  # exactly the keys that name this lease; in put order
    left_ns: int = 0  # at the last checkpoint, below ttl_ns; 0 = none since the last renewal in the log
    settled: int = 0  # never decreases; sequence numbers up to here are forgotten
    answers: dict[int, Result] = field(default_factory=dict)  # by sequence, all above `settled`


class Machine:
    """Deterministic: the same commands in the same order give the same state and answers on every node."""

    def __init__(
        self, *, history_changes_max: int = HISTORY_CHANGES_MAX, history_bytes_max: int = HISTORY_BYTES_MAX
    ) -> None:
        self.revision = FIRST_REVISION  # never decreases; one more per command that changes a key
        self.level = FIRST_LEVEL  # never decreases; commands above it are not proposed
        self.applied = Index(0)  # the log index of the newest command applied
        self.compacted = FIRST_REVISION  # changes at or below this revision may be missing from the history
        self._values: dict[bytes, KeyValue] = {}
        self._sorted: list[bytes] = []  # exactly the keys of _values, ascending
        self._leases: dict[LeaseId, Lease] = {}
        self._history: deque[Change] = deque()  # ascending by revision
        self._history_bytes = 0  # of all keys and values in _history
        self._history_changes_max = history_changes_max
        self._history_bytes_max = history_bytes_max
        self._pending: list[Change] = []  # of the command being applied
        self._digest = StateDigest(self._content)

    # --- commands ----------------------------------------------------------------------------------------------------

    def apply(self, index: Index, term: Term, command: Command) -> Outcome:
        """Apply the log entry at `index`, which the leader of `term` proposed."""
        if isinstance(command, Once):
            return self._once(command, index, term)
        self._advance(index)
        match command:
            case Put() | DeleteRange():
                code, succeeded, results = self._branch((command,), succeeded=True)
            case Txn():
                succeeded = all(self._holds(condition) for condition in command.conditions)
                code, succeeded, results = self._branch(
                    command.then if succeeded else command.orelse, succeeded=succeeded
                )
            case LeaseGrant():
                code, succeeded, results = self._grant(command), True, ()
            case LeaseRevoke(id=lease):
                code, succeeded, results = self._end(lease), True, ()
            case LeaseExpire(id=lease, term=proposed):
                # An expiry that a leader of an earlier term decided is no longer its to decide (etcd #15247; P58).
                code, succeeded, results = (
                    (self._end(lease) if proposed == term else Code.EXPIRE_STALE),
                    True,
                    (),
                )
            case LeaseCheckpoint(left_ns=left, term=proposed):
                code, succeeded, results = self._checkpoint(left, own=proposed == term), True, ()
            case ReportDigest():
                code, succeeded, results = Code.OK, True, ()
            case RaiseLevel(level):
                self._raise_level(level)
                code, succeeded, results = Code.OK, True, ()
            case _:
                assert_never(command)
        changes, self._pending = self._pending, []
        if changes:
            self.revision = changes[-1].revision
            self._remember(changes)
        return Outcome(Result(code, self.revision, succeeded, results), changes)

    def _once(self, once: Once, index: Index, term: Term) -> Outcome:
        session = self._leases.get(once.session)
        if session is None or once.sequence <= 0:
            self.skip(index)
            code = Code.LEASE_NOT_FOUND if session is None else Code.INVALID
            return Outcome(Result(code, self.revision, succeeded=False), ())
        self._settle(once.session, once.settled)
        known = session.answers.get(once.sequence)
        if known is not None or once.sequence <= session.settled:
            self.skip(index)
            return Outcome(known or Result(Code.SETTLED, self.revision, succeeded=False), ())
        outcome = self.apply(index, term, once.command)
        session.answers[once.sequence] = outcome.result
        self._digest.touch((once.session, once.sequence))
        if len(session.answers) > ANSWERS_MAX:
            self._settle(once.session, min(session.answers))
        return outcome

    def _settle(self, lease: LeaseId, settled: int) -> None:
        session = self._leases[lease]
        if settled > session.settled:
            session.settled = settled
            self._digest.touch(lease)
            for sequence in [s for s in session.answers if s <= settled]:
                del session.answers[sequence]
                self._digest.touch((lease, sequence))

    def skip(self, index: Index) -> None:
        """An entry without a command (a leader's no-op) was applied."""
        self._advance(index)

    def _advance(self, index: Index) -> None:
        if index <= self.applied:
            invariant(False, "entries are applied once and in order", index=index, applied=self.applied)
        self.applied = index

    def query(self, query: Query) -> Result:
        """Answer from the present state, changing nothing. INVALID when the query would write in either branch: it may
        come from anybody, so it is no reason to stop."""
        if isinstance(query, Range):
            return Result(Code.OK, self.revision, True, (self._range(query),))
        then = [operation for operation in query.then if isinstance(operation, Range)]
        orelse = [operation for operation in query.orelse if isinstance(operation, Range)]
        if (len(then), len(orelse)) != (len(query.then), len(query.orelse)):
            return Result(Code.INVALID, self.revision, succeeded=False)
        succeeded = all(self._holds(condition) for condition in query.conditions)
        found = tuple(self._range(operation) for operation in (then if succeeded else orelse))
        return Result(Code.OK, self.revision, succeeded, found)

    def about_to_delete(self, command: Command) -> Sequence[tuple[bytes, bytes | None]]:
        """The ranges of keys that the command would delete if it were applied now."""
        match command:
            case DeleteRange():
                return ((command.key, command.end),)
            case Txn():
                deletes = tuple((one.key, one.end) for one in command.then if isinstance(one, DeleteRange))
                return deletes if deletes and all(map(self._holds, command.conditions)) else ()
            case LeaseRevoke() if (held := self._leases.get(command.id)) is not None:
                return tuple((key, None) for key in held.keys)
            case _:
                return ()

    def _branch(
        self, operations: Sequence[Operation], *, succeeded: bool
    ) -> tuple[Code, bool, tuple[OperationResult, ...]]:
        """All of them or, when a lease is gone, none."""
        for operation in operations:
            if isinstance(operation, Put) and operation.lease and operation.lease not in self._leases:
                return Code.LEASE_NOT_FOUND, succeeded, ()
        return Code.OK, succeeded, tuple([self._do(operation) for operation in operations])

    def _do(self, operation: Operation) -> OperationResult:
        match operation:
            case Put():
                self._put(operation)
                return NOTHING_FOUND
            case DeleteRange(key, end):
                gone = tuple(self._values[k] for k in self._keys(key, end))
                for found in gone:
                    self._delete(found.key)
                return OperationResult(gone)
            case Range():
                return self._range(operation)
            case _:
                assert_never(operation)

    # --- keys --------------------------------------------------------------------------------------------------------

    @property
    def _next_revision(self) -> Revision:
        """The revision of everything that the command being applied changes."""
        return Revision(self.revision + 1)

    def _put(self, put: Put) -> None:
        revision, old = self._next_revision, self._values.get(put.key)
        if old is None:
            insort(self._sorted, put.key)
            new = KeyValue(put.key, put.value, revision, revision, 1, put.lease)
        else:
            self._detach(old)
            new = KeyValue(put.key, put.value, old.create_revision, revision, old.version + 1, put.lease)
        self._values[put.key] = new
        self._digest.touch(put.key, len(put.value))
        if put.lease != NO_LEASE:
            self._leases[put.lease].keys[put.key] = None
        self._pending.append(Change(revision, put.key, put.value, new.create_revision))

    def _delete(self, key: bytes) -> None:
        self._detach(self._values.pop(key))
        self._digest.touch(key)
        del self._sorted[bisect_left(self._sorted, key)]
        self._pending.append(Change(self._next_revision, key, None, Revision(0)))

    def _detach(self, value: KeyValue) -> None:
        if value.lease != NO_LEASE:
            del self._leases[value.lease].keys[value.key]

    def _keys(self, key: bytes, end: bytes | None) -> Sequence[bytes]:
        if end is None:
            return (key,) if key in self._values else ()
        return self._sorted[bisect_left(self._sorted, key) : bisect_left(self._sorted, end)]

    def _range(self, query: Range) -> OperationResult:
        keys = self._keys(query.key, query.end)
        return OperationResult(
            tuple(self._values[key] for key in (keys[: query.limit] if query.limit else keys))
        )

    def _holds(self, condition: Condition) -> bool:
        if condition.end is None:
            return _compares(self._values.get(condition.key), condition)
        return all(
            _compares(self._values[key], condition) for key in self._keys(condition.key, condition.end)
        )

    # --- leases ------------------------------------------------------------------------------------------------------

    def leases(self) -> Sequence[tuple[LeaseId, int]]:
        """Every live lease in the order in which they were granted, with the nanoseconds that a leader who takes over
        must give it: its ttl, or what the last checkpoint left."""
        return [(lease, held.left_ns or held.ttl_ns) for lease, held in self._leases.items()]

    @property
    def lease_count(self) -> int:
        return len(self._leases)

    def lease_ttl_ns(self, lease: LeaseId) -> int | None:
        """The ttl of a live lease; None when there is none of that id."""
        held = self._leases.get(lease)
        return None if held is None else held.ttl_ns

    def _grant(self, grant: LeaseGrant) -> Code:
        if grant.id == NO_LEASE or grant.ttl_ns <= 0:
            return Code.INVALID
        held = self._leases.get(grant.id)
        if held is None:
            self._leases[grant.id] = Lease(grant.ttl_ns)
            self._digest.touch(grant.id)
            return Code.OK
        return Code.OK if held.ttl_ns == grant.ttl_ns else Code.LEASE_EXISTS

    def _checkpoint(self, left: Sequence[tuple[LeaseId, int]], *, own: bool) -> Code:
        if not own:
            return Code.EXPIRE_STALE
        for lease, left_ns in left:
            held = self._leases.get(lease)
            if held is not None and left_ns > 0:
                held.left_ns = left_ns if left_ns < held.ttl_ns else 0
                self._digest.touch(lease)
        return Code.OK

    def _end(self, lease: LeaseId) -> Code:
        held = self._leases.get(lease)
        if held is None:
            return Code.LEASE_NOT_FOUND
        for key in sorted(held.keys):
            self._delete(key)
        del self._leases[lease]
        self._digest.touch(lease)
        for sequence in held.answers:
            self._digest.touch((lease, sequence))
        return Code.OK

    # --- history -----------------------------------------------------------------------------------------------------

    def changes(self, key: bytes, end: bytes | None, after: Revision) -> Sequence[Change]:
        """Every change of the range after that revision, in order.

        Raises Compacted when some of them are no longer kept.
        """
        if after < self.compacted:
            raise Compacted(
                f"changes up to revision {self.compacted} are compacted; asked for those after {after}"
            )
        found: list[Change] = []
        for change in reversed(self._history):
            if change.revision <= after:
                break
            if change.key == key if end is None else key <= change.key < end:
                found.append(change)
        found.reverse()
        return found

    def _remember(self, changes: Sequence[Change]) -> None:
        for change in changes:
            self._history.append(change)
            self._history_bytes += _bytes_of(change)
        while len(self._history) > self._history_changes_max or self._history_bytes > self._history_bytes_max:
            oldest = self._history.popleft()
            self._history_bytes -= _bytes_of(oldest)
            self.compacted = oldest.revision

    # -----------------------------------------------------------------------------------------------------------------

    def digest(self) -> bytes:
        """Of everything that `freeze` has: equal on all nodes that applied the same log. Costs what changed since the last one."""
        return self._digest.value(self.revision, self.level)

    def _content(self, item: Item) -> KeyValue | tuple[object, ...] | None:
        """An item of the state as it is now."""
        if isinstance(item, bytes):
            return self._values.get(item)
        lease, sequence = item if isinstance(item, tuple) else (item, None)
        held = self._leases.get(lease)
        if held is None:
            return None
        if sequence is None:
            return lease_content(lease, held.ttl_ns, held.left_ns, held.settled)
        answer = held.answers.get(sequence)
        return None if answer is None else answer_content(lease, sequence, answer)

    def freeze(self) -> Frozen:
        """The whole state but for the history, canonical: equal on all nodes that applied the same log. Iterating over it gives
        its bytes in blocks; values are shared, not copied."""
        leases = [
            SavedLease(lease, held.ttl_ns, held.left_ns, held.settled, tuple(sorted(held.answers.items())))
            for lease, held in self._leases.items()
        ]
        values = list(map(self._values.__getitem__, self._sorted))
        return Frozen(self.revision, leases, values, self.level)

    def snapshot(self) -> bytes:
        """The bytes of `freeze()`, all at once."""
        return b"".join(self.freeze())

    def _raise_level(self, level: int) -> None:
        """Raises Unsupported, and changes nothing then, when there may be commands from here on that this release cannot read."""
        if level > LEVEL:
            raise Unsupported(
                f"the cluster's log may hold commands of level {level}, and this release reads up to {LEVEL}: "
                "every member had said that it reads them, so do not go back: upgrade this node"
            )
        self.level = max(self.level, level)

    def raise_revision(self, revision: Revision) -> None:
        """From now on revisions are above this one, as if so much had happened. Nothing changes when they are already."""
        self.revision = self.compacted = max(self.revision, revision)
        self._history.clear()
        self._history_bytes = 0

    def restore(self, index: Index, state: bytes) -> None:
        """Become what `snapshot` described, as of log index `index`. Empty bytes (a witness has no state) leave everything as it
        is but for the index.

        Raises msgspec.DecodeError, and changes nothing then, on anything that is no snapshot of a machine; Unsupported when it
        is one of a later release.
        """
        self.adopt(index, load([state] if state else []))

    def adopt(self, index: Index, loaded: Loaded | None) -> None:
        """Become what was loaded, as of log index `index`. The history begins here."""
        if loaded is not None:
            self._raise_level(loaded.level)
            self._leases = {
                one.id: Lease(one.ttl_ns, loaded.keys[one.id], one.left_ns, one.settled, dict(one.answers))
                for one in loaded.leases.values()
            }
            self.revision = self.compacted = loaded.revision
            self._values, self._sorted = loaded.values, loaded.sorted
            self._digest.begin(loaded.hashes)
            self._history.clear()
            self._history_bytes = 0
        self.applied = index

    def invariants(self) -> None:
        """Raises InvariantViolated when the state contradicts itself."""
        invariant(self._sorted == sorted(self._values), "the sorted keys are the keys")
        invariant(NO_LEASE not in self._leases, "no lease has the id that means none")
        for lease, held in self._leases.items():
            invariant(0 <= held.left_ns < held.ttl_ns, "a checkpoint is below the ttl", lease=lease)
            invariant(len(held.answers) <= ANSWERS_MAX, "a session's answers are bounded", lease=lease)
            invariant(all(s > held.settled for s in held.answers), "settled is forgotten", lease=lease)
        for key, value in self._values.items():
            invariant(
                value.create_revision <= value.mod_revision <= self.revision, "create <= mod <= now", key=key
            )
            invariant(value.version >= 1, "a key that exists was put", key=key)
            if value.lease != NO_LEASE:
                invariant(value.lease in self._leases, "a key's lease lives", key=key)
                invariant(key in self._leases[value.lease].keys, "a lease knows its keys", key=key)
        attached = sum(len(held.keys) for held in self._leases.values())
        named = sum(value.lease != NO_LEASE for value in self._values.values())
        invariant(
            attached == named, "a lease holds no key that does not name it", attached=attached, named=named
        )
        revisions = [change.revision for change in self._history]
        invariant(revisions == sorted(revisions), "the history rises")
        invariant(
            not revisions or self.compacted <= revisions[0] <= revisions[-1] <= self.revision,
            "the history lies between what is compacted and now",
            compacted=self.compacted,
            revision=self.revision,
        )
        invariant(len(self._history) <= self._history_changes_max, "the history is bounded by count")
        invariant(self._history_bytes <= self._history_bytes_max, "the history is bounded by bytes")
        invariant(
            self._history_bytes == sum(map(_bytes_of, self._history)), "the history's bytes are counted"
        )
        invariant(not self._pending, "nothing is half applied")


def _bytes_of(change: Change) -> int:
    return len(change.key) + len(change.value or b"")


def _compares(value: KeyValue | None, condition: Condition) -> bool:
    operand = condition.operand
    if condition.target is Compare.VALUE:
        return value is not None and isinstance(operand, bytes) and _is(condition.op, value.value, operand)
    if not isinstance(operand, int):
        return False
    match condition.target:
        case Compare.CREATE:
            actual = value.create_revision if value else 0
        case Compare.MOD:
            actual = value.mod_revision if value else 0
        case Compare.VERSION:
            actual = value.version if value else 0
        case Compare.LEASE:
            actual = value.lease if value else 0
        case _:
            assert_never(condition.target)
    return _is(condition.op, actual, operand)


def _is(op: Is, left: int | bytes, right: int | bytes) -> bool:
    match op:
        case Is.EQUAL:
            return left == right
        case Is.NOT_EQUAL:
            return left != right
        case Is.GREATER:
            return left > right  # type: ignore[operator]  # both are ints or both are bytes
        case Is.LESS:
            return left < right  # type: ignore[operator]
        case _:
            assert_never(op)
