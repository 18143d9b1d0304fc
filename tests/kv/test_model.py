"""The machine agrees with a naive model of itself, and its log with its bytes, on random logs."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from incumbent.ids import LeaseId, Revision, Term
from incumbent.kv.api import (
    Code,
    Command,
    Compare,
    Condition,
    DeleteRange,
    Is,
    LeaseCheckpoint,
    LeaseExpire,
    LeaseGrant,
    LeaseRevoke,
    Once,
    Operation,
    Put,
    RaiseLevel,
    Range,
    ReportDigest,
    Txn,
    decode,
    encode,
)
from tests.kv.driven import ALL, Driven

KEYS = st.sampled_from([b"a", b"ab", b"b", b"c"])
ENDS = st.one_of(st.none(), KEYS)
LEASES = st.sampled_from([LeaseId(n) for n in (0, 1, 2)])
OPERATIONS: st.SearchStrategy[Operation] = st.one_of(
    st.builds(Put, KEYS, st.binary(max_size=2), LEASES),
    st.builds(DeleteRange, KEYS, ENDS),
    st.builds(Range, KEYS, ENDS, st.integers(0, 2)),
)
TERMS = st.sampled_from([Term(1), Term(2)])
NUMBERS = [Compare.CREATE, Compare.MOD, Compare.VERSION, Compare.LEASE]
CONDITIONS = st.one_of(
    st.builds(Condition, KEYS, st.sampled_from(NUMBERS), st.sampled_from(Is), st.integers(0, 4), ENDS),
    st.builds(Condition, KEYS, st.just(Compare.VALUE), st.sampled_from(Is), st.binary(max_size=1), ENDS),
)
COMMANDS: st.SearchStrategy[Command] = st.one_of(
    st.builds(Put, KEYS, st.binary(max_size=2), LEASES),
    st.builds(DeleteRange, KEYS, ENDS),
    st.builds(
        Txn,
        st.lists(CONDITIONS, max_size=2).map(tuple),
        st.lists(OPERATIONS, max_size=3).map(tuple),
        st.lists(OPERATIONS, max_size=2).map(tuple),
    ),
    st.builds(LeaseGrant, LEASES.filter(bool), st.sampled_from([5, 5, 6])),
    st.builds(LeaseRevoke, LEASES.filter(bool)),
    st.builds(LeaseExpire, LEASES.filter(bool), TERMS),
    st.builds(
        LeaseCheckpoint, st.tuples(st.tuples(LEASES.filter(bool), st.sampled_from([1, 3, 5, 6]))), TERMS
    ),
    st.builds(
        Once,
        LEASES.filter(bool),
        st.integers(0, 3),
        st.integers(0, 2),
        st.builds(Put, KEYS, st.binary(max_size=2), LEASES),
    ),
)


Value = tuple[bytes, int, int, int, int]  # value, create, mod, version, lease


@dataclass
class Model:
    """The same semantics, written as plainly as possible: copy everything, change the copy, keep it or not."""

    revision: int = 1
    keys: dict[bytes, Value] = field(default_factory=dict)
    leases: dict[int, int] = field(default_factory=dict)
    left: dict[int, int] = field(default_factory=dict)  # of leases that were checkpointed
    settled: dict[int, int] = field(default_factory=dict)  # by session
    answers: dict[tuple[int, int], tuple[object, ...]] = field(
        default_factory=dict
    )  # by session and sequence
    wrote: list[tuple[int, bytes, bytes | None]] = field(default_factory=list)  # revision, key, value

    def apply(self, command: Command, term: int) -> tuple[object, ...]:
        """Code, whether the conditions held, and the keys that each operation found."""
        match command:
            case LeaseGrant(lease, ttl_ns):
                same = self.leases.setdefault(lease, ttl_ns) == ttl_ns
                return (Code.OK if same else Code.LEASE_EXISTS), True, []
            case LeaseExpire(_, proposed) if proposed != term:
                return Code.EXPIRE_STALE, True, []
            case LeaseRevoke(lease) | LeaseExpire(lease):
                if lease not in self.leases:
                    return Code.LEASE_NOT_FOUND, True, []
                self.write([DeleteRange(k) for k in sorted(self.keys) if self.keys[k][4] == lease])
                del self.leases[lease]
                self.left.pop(lease, None)
                self.settled.pop(lease, None)
                self.answers = {of: answer for of, answer in self.answers.items() if of[0] != lease}
                return Code.OK, True, []
            case LeaseCheckpoint(left_ns=((lease, left_ns),), term=proposed):
                if proposed != term:
                    return Code.EXPIRE_STALE, True, []
                if lease in self.leases:
                    self.left[lease] = min(left_ns, self.leases[lease])
                return Code.OK, True, []
            case Once():
                return self.once(command, term)
            case LeaseCheckpoint() | ReportDigest() | RaiseLevel():
                raise AssertionError("none of these is drawn")
            case Txn():
                holds = all(self.holds(condition) for condition in command.conditions)
                code, found = self.write(command.then if holds else command.orelse)
                return code, holds, found
            case _:
                code, found = self.write([command])
                return code, True, found

    def once(self, once: Once, term: int) -> tuple[object, ...]:
        if once.session not in self.leases:
            return Code.LEASE_NOT_FOUND, False, []
        if once.sequence <= 0:
            return Code.INVALID, False, []
        settled = self.settled[once.session] = max(self.settled.get(once.session, 0), once.settled)
        if once.sequence <= settled:
            return Code.SETTLED, False, []
        which = (once.session, once.sequence)
        if which not in self.answers:
            self.answers[which] = self.apply(once.command, term)
        return self.answers[which]

    def write(self, operations: Sequence[Operation]) -> tuple[Code, list[list[bytes]]]:
        keys, revision = dict(self.keys), self.revision + 1
        wrote: list[tuple[int, bytes, bytes | None]] = []
        found: list[list[bytes]] = []
        for operation in operations:
            if isinstance(operation, Put):
                if operation.lease and operation.lease not in self.leases:
                    return Code.LEASE_NOT_FOUND, []
                old = keys.get(operation.key, (b"", revision, 0, 0, 0))
                keys[operation.key] = (operation.value, old[1], revision, old[3] + 1, operation.lease)
                wrote.append((revision, operation.key, operation.value))
                found.append([])
                continue
            hit = sorted(k for k in keys if inside(k, operation.key, operation.end))
            if isinstance(operation, DeleteRange):
                for key in hit:
                    del keys[key]
                    wrote.append((revision, key, None))
            elif operation.limit:
                hit = hit[: operation.limit]
            found.append(hit)
        if wrote:
            self.keys, self.revision = keys, revision
            self.wrote += wrote
        return Code.OK, found

    def holds(self, c: Condition) -> bool:
        ops: dict[Is, Callable[[Any, Any], bool]] = {
            Is.EQUAL: operator.eq, Is.NOT_EQUAL: operator.ne, Is.GREATER: operator.gt, Is.LESS: operator.lt
        }  # fmt: skip
        column = [Compare.VALUE, Compare.CREATE, Compare.MOD, Compare.VERSION, Compare.LEASE].index(c.target)
        if c.end is None and c.key not in self.keys:
            return column > 0 and ops[c.op](0, c.operand)
        hit = [value for key, value in self.keys.items() if inside(key, c.key, c.end)]
        return all(ops[c.op](value[column], c.operand) for value in hit)


def inside(key: bytes, start: bytes, end: bytes | None) -> bool:
    return key == start if end is None else start <= key < end


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(COMMANDS, TERMS), max_size=25))
@example(
    [
        (LeaseGrant(LeaseId(1), 5), Term(1)),
        (Once(LeaseId(1), 1, 0, Put(b"a", b"")), Term(1)),
        (Put(b"a", b""), Term(1)),
        (Once(LeaseId(1), 1, 0, Put(b"a", b"")), Term(1)),
    ]
)
def test_it_agrees_with_the_model(log: list[tuple[Command, Term]]) -> None:
    """State, answers and changes; and a second machine that reads the same log from its bytes is the same."""
    kv, replica, model = Driven(), Driven(), Model()
    for command, term in log:
        result = kv.do(command, term)
        found = [[found.key for found in each.kvs] for each in result.results]
        assert (result.code, result.succeeded, found) == model.apply(command, term)
        assert kv.machine.revision == model.revision
        assert result.revision == model.revision or isinstance(command, Once), (
            "a repetition tells the old one"
        )
        assert result.revision <= model.revision
        assert {each.key: msgspec.structs.astuple(each)[1:] for each in kv.all()} == model.keys
        assert dict(kv.machine.leases()) == model.leases | model.left
        assert replica.do(decode(encode(command)), term) == result
    seen = [(change.revision, change.key, change.value) for change in kv.machine.changes(*ALL, Revision(1))]
    assert seen == model.wrote
    assert replica.machine.snapshot() == kv.machine.snapshot()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(COMMANDS, TERMS), max_size=25), st.integers(0, 25))
def test_a_snapshot_stands_for_all_that_was_applied(log: list[tuple[Command, Term]], cut: int) -> None:
    """Whoever begins with a snapshot in the middle answers everything after it as if it had applied all."""
    whole, late = Driven(), Driven()
    for number, (command, term) in enumerate(log):
        if number == cut:
            late.machine.restore(whole.machine.applied, whole.machine.snapshot())
        result = whole.do(command, term)
        if number >= cut:
            assert late.do(command, term) == result
            late.machine.invariants()
            assert late.machine.snapshot() == whole.machine.snapshot()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(COMMANDS, TERMS), max_size=25))
def test_the_history_rebuilds_the_present(log: list[tuple[Command, Term]]) -> None:
    """What a watcher sees from the start on is all there is."""
    kv = Driven()
    for command, term in log:
        kv.do(command, term)
    seen: dict[bytes, bytes] = {}
    for change in kv.machine.changes(*ALL, Revision(1)):
        if change.value is None:
            del seen[change.key]
        else:
            seen[change.key] = change.value
    assert seen == {found.key: found.value for found in kv.all()}


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.binary(max_size=40), COMMANDS.map(encode)), st.integers(0, 39), st.integers(0, 255))
def test_damaged_bytes_are_refused_or_mean_one_command(data: bytes, at: int, byte: int) -> None:
    """P77: whatever one wrong byte does, decode raises its one error or gives a command that round-trips."""
    damaged = data[:at] + bytes([byte]) + data[at + 1 :]
    try:
        command = decode(damaged)
    except msgspec.DecodeError:
        return
    assert decode(encode(command)) == command
