"""The machine does what docs/reference/kv.md says, compared with a naive model and broken on purpose."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from incumbent.errors import Compacted, InvariantViolated
from incumbent.ids import Index, LeaseId, Revision, Term
from incumbent.kv.api import (
    NO_LEASE,
    Change,
    Code,
    Command,
    Compare,
    Condition,
    DeleteRange,
    Is,
    KeyValue,
    LeaseExpire,
    LeaseGrant,
    LeaseRevoke,
    Operation,
    Put,
    Range,
    Result,
    Txn,
    decode,
    encode,
    prefix_end,
)
from incumbent.kv.machine import Machine

TERM = Term(1)
SEVEN = LeaseId(7)


class Driven:
    """A machine that numbers its log by itself."""

    def __init__(self, machine: Machine | None = None) -> None:
        self.machine = machine or Machine()

    def do(self, command: Command, term: Term = TERM) -> Result:
        result, self.changes = self.machine.apply(Index(self.machine.applied + 1), term, command)
        self.machine.invariants()
        return result

    def get(self, key: bytes) -> KeyValue | None:
        found = self.machine.query(Range(key)).results[0].kvs
        return found[0] if found else None

    def keys(self, start: bytes = b"\0", end: bytes = b"\xff") -> list[bytes]:
        return [kv.key for kv in self.machine.query(Range(start, end)).results[0].kvs]


@pytest.fixture
def kv() -> Driven:
    return Driven()


def test_the_worked_example(kv: Driven) -> None:
    """As it stands in the module's docstring."""
    assert kv.do(Put(b"a", b"x")).revision == 2
    assert kv.do(Put(b"a", b"y")).revision == 3
    assert kv.get(b"a") == KeyValue(b"a", b"y", Revision(2), Revision(3), 2, NO_LEASE)
    assert kv.do(LeaseGrant(SEVEN, 10)).revision == 3
    assert kv.do(Put(b"b", b"z", SEVEN)).revision == 4
    assert kv.do(LeaseRevoke(SEVEN)).revision == 5
    assert kv.changes == [Change(Revision(5), b"b", None, Revision(0))]
    assert kv.do(DeleteRange(b"b")).revision == 5
    assert kv.changes == []


def test_a_key_that_comes_back_is_new(kv: Driven) -> None:
    kv.do(Put(b"a", b"x"))
    kv.do(DeleteRange(b"a"))
    kv.do(Put(b"a", b"x"))
    assert kv.get(b"a") == KeyValue(b"a", b"x", Revision(4), Revision(4), 1, NO_LEASE)


def test_ranges_are_half_open_and_ascending(kv: Driven) -> None:
    for key in (b"b", b"a", b"d", b"c"):
        kv.do(Put(key, b""))
    assert kv.keys(b"a", b"d") == [b"a", b"b", b"c"]
    limited = kv.machine.query(Range(b"a", b"z", limit=2)).results[0].kvs
    assert [found.key for found in limited] == [b"a", b"b"]
    gone = kv.do(DeleteRange(b"b", b"d")).results[0].kvs
    assert [found.key for found in gone] == [b"b", b"c"]
    assert kv.keys() == [b"a", b"d"]


def test_all_changes_of_one_command_share_its_revision(kv: Driven) -> None:
    kv.do(Txn(then=(Put(b"a", b"1"), Put(b"b", b"2"), DeleteRange(b"a"))))
    assert [change.revision for change in kv.changes] == [2, 2, 2]
    assert kv.machine.revision == 2


def test_an_operation_sees_the_ones_before_it(kv: Driven) -> None:
    result = kv.do(Txn(then=(Put(b"a", b"1"), Range(b"a"), DeleteRange(b"a"), Range(b"a"))))
    assert [len(each.kvs) for each in result.results] == [0, 1, 1, 0]
    assert result.results[1].kvs[0].value == b"1"


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        (Condition(b"a", Compare.CREATE, Is.EQUAL, 2), True),
        (Condition(b"a", Compare.CREATE, Is.NOT_EQUAL, 2), False),
        (Condition(b"a", Compare.MOD, Is.GREATER, 2), True),
        (Condition(b"a", Compare.MOD, Is.LESS, 3), False),
        (Condition(b"a", Compare.VERSION, Is.EQUAL, 2), True),
        (Condition(b"a", Compare.VALUE, Is.EQUAL, b"y"), True),
        (Condition(b"a", Compare.VALUE, Is.LESS, b"z"), True),
        (Condition(b"a", Compare.VALUE, Is.GREATER, b"y"), False),
        (Condition(b"a", Compare.VALUE, Is.EQUAL, 1), False),
        (Condition(b"a", Compare.VERSION, Is.EQUAL, b"2"), False),
        (Condition(b"a", Compare.LEASE, Is.EQUAL, 0), True),
        (Condition(b"b", Compare.LEASE, Is.EQUAL, 7), True),
        (Condition(b"none", Compare.CREATE, Is.EQUAL, 0), True),
        (Condition(b"none", Compare.VERSION, Is.GREATER, 0), False),
        (Condition(b"none", Compare.VALUE, Is.NOT_EQUAL, b"y"), False),
        (Condition(b"a", Compare.CREATE, Is.GREATER, 1, end=b"z"), True),
        (Condition(b"a", Compare.CREATE, Is.GREATER, 2, end=b"z"), False),
        (Condition(b"x", Compare.CREATE, Is.GREATER, 99, end=b"z"), True),
    ],
)
def test_conditions(kv: Driven, condition: Condition, holds: bool) -> None:  # noqa: FBT001
    kv.do(Put(b"a", b"x"))
    kv.do(Put(b"a", b"y"))
    kv.do(LeaseGrant(SEVEN, 1))
    kv.do(Put(b"b", b"z", SEVEN))
    txn = Txn((condition,), (Range(b"a"),), (Range(b"b"),))
    result = kv.machine.query(txn)
    assert result.succeeded is holds
    assert result.results[0].kvs[0].key == (b"a" if holds else b"b")
    assert kv.do(txn).succeeded is holds


# --- leases --------------------------------------------------------------------------------------------------------


def test_a_grant_is_idempotent_by_id(kv: Driven) -> None:
    assert kv.do(LeaseGrant(SEVEN, 10)).code is Code.OK
    assert kv.do(LeaseGrant(SEVEN, 10)).code is Code.OK
    assert kv.do(LeaseGrant(SEVEN, 11)).code is Code.LEASE_EXISTS
    assert kv.machine.leases() == [(SEVEN, 10)]


def test_ending_a_lease_deletes_its_keys_in_one_revision(kv: Driven) -> None:
    kv.do(LeaseGrant(SEVEN, 10))
    for key in (b"c", b"a", b"b"):
        kv.do(Put(key, b"", SEVEN))
    kv.do(LeaseRevoke(SEVEN))
    assert [(change.key, change.value) for change in kv.changes] == [(b"a", None), (b"b", None), (b"c", None)]
    assert {change.revision for change in kv.changes} == {kv.machine.revision}
    assert kv.do(LeaseRevoke(SEVEN)).code is Code.LEASE_NOT_FOUND


def test_a_put_moves_its_key_from_lease_to_lease(kv: Driven) -> None:
    kv.do(LeaseGrant(SEVEN, 10))
    kv.do(LeaseGrant(LeaseId(8), 10))
    for key in (b"moved", b"freed", b"kept"):
        kv.do(Put(key, b"", SEVEN))
    kv.do(Put(b"moved", b"", LeaseId(8)))
    kv.do(Put(b"freed", b""))
    kv.do(LeaseRevoke(SEVEN))
    assert kv.keys() == [b"freed", b"moved"]


def test_without_its_lease_a_put_does_nothing_and_nor_does_its_transaction(kv: Driven) -> None:
    before = kv.machine.snapshot()
    assert kv.do(Put(b"a", b"", SEVEN)).code is Code.LEASE_NOT_FOUND
    assert kv.do(Txn(then=(Put(b"b", b""), Put(b"a", b"", SEVEN)))).code is Code.LEASE_NOT_FOUND
    assert kv.machine.snapshot() == before


def test_an_expiry_of_another_term_does_nothing(kv: Driven) -> None:
    """P58: what a deposed leader decided about leases is not carried out under its successor."""
    kv.do(LeaseGrant(SEVEN, 10))
    kv.do(Put(b"a", b"", SEVEN))
    assert kv.do(LeaseExpire(SEVEN, Term(1)), term=Term(2)).code is Code.EXPIRE_STALE
    assert kv.keys() == [b"a"]
    assert kv.do(LeaseExpire(SEVEN, Term(2)), term=Term(2)).code is Code.OK
    assert kv.keys() == []


# --- history -------------------------------------------------------------------------------------------------------


def test_changes_after_a_revision_have_no_gap(kv: Driven) -> None:
    for n in range(5):
        kv.do(Put(b"k%d" % (n % 2), b"%d" % n))
    kv.do(DeleteRange(b"k", b"l"))
    assert [c.revision for c in kv.machine.changes(b"k0", None, Revision(1))] == [2, 4, 6, 7]
    assert [c.revision for c in kv.machine.changes(b"k", b"l", Revision(5))] == [6, 7, 7]
    assert kv.machine.changes(b"k", b"l", kv.machine.revision) == []


@pytest.mark.parametrize("bound", [{"history_changes_max": 3}, {"history_bytes_max": 3 * 12}])
def test_old_changes_are_compacted_and_asking_for_them_says_so(bound: dict[str, int]) -> None:
    kv = Driven(Machine(**bound))
    for n in range(5):
        kv.do(Put(b"ab", b"value%05d" % n))
    assert kv.machine.compacted == 3
    assert [c.revision for c in kv.machine.changes(b"a", b"b", Revision(3))] == [4, 5, 6]
    with pytest.raises(Compacted, match="up to revision 3"):
        kv.machine.changes(b"a", b"b", Revision(2))


# --- against a model -----------------------------------------------------------------------------------------------

KEYS = st.sampled_from([b"a", b"ab", b"b", b"c"])
LEASES = st.sampled_from([LeaseId(n) for n in (0, 1, 2)])
OPERATIONS: st.SearchStrategy[Operation] = st.one_of(
    st.builds(Put, KEYS, st.binary(max_size=2), LEASES),
    st.builds(DeleteRange, KEYS, st.one_of(st.none(), KEYS)),
    st.builds(Range, KEYS, st.one_of(st.none(), KEYS)),
)
TERMS = st.sampled_from([Term(1), Term(2)])
CONDITIONS = st.builds(
    Condition, KEYS, st.sampled_from([Compare.CREATE, Compare.VERSION]), st.sampled_from(Is), st.integers(0, 3),
    st.one_of(st.none(), KEYS),
)  # fmt: skip
COMMANDS: st.SearchStrategy[Command] = st.one_of(
    st.builds(Put, KEYS, st.binary(max_size=2), LEASES),
    st.builds(DeleteRange, KEYS, st.one_of(st.none(), KEYS)),
    st.builds(
        Txn,
        st.lists(CONDITIONS, max_size=2).map(tuple),
        st.lists(OPERATIONS, max_size=3).map(tuple),
        st.lists(OPERATIONS, max_size=2).map(tuple),
    ),
    st.builds(LeaseGrant, LEASES.filter(bool), st.just(5)),
    st.builds(LeaseRevoke, LEASES.filter(bool)),
    st.builds(LeaseExpire, LEASES.filter(bool), TERMS),
)


@dataclass
class Model:
    """The same semantics, written as plainly as possible: copy everything, change the copy, keep it or not."""

    revision: int = 1
    keys: dict[bytes, tuple[bytes, int, int, int, int]] = field(default_factory=dict)
    leases: set[int] = field(default_factory=set)

    def apply(self, command: Command, term: int) -> None:
        match command:
            case LeaseGrant():
                self.leases.add(command.id)
            case LeaseRevoke() | LeaseExpire():
                if isinstance(command, LeaseExpire) and command.term != term:
                    return
                self.write([DeleteRange(key) for key, value in self.keys.items() if value[4] == command.id])
                self.leases.discard(command.id)
            case Txn():
                holds = all(self.holds(condition) for condition in command.conditions)
                self.write(command.then if holds else command.orelse)
            case _:
                self.write([command])

    def write(self, operations: object) -> None:
        keys, revision, wrote = dict(self.keys), self.revision + 1, False
        for operation in operations:  # type: ignore[attr-defined]
            match operation:
                case Put(key, value, lease):
                    if lease and lease not in self.leases:
                        return
                    old = keys.get(key, (b"", revision, 0, 0, 0))
                    keys[key] = (value, old[1], revision, old[3] + 1, lease)
                    wrote = True
                case DeleteRange(key, end):
                    for gone in [k for k in keys if (k == key if end is None else key <= k < end)]:
                        del keys[gone]
                        wrote = True
        if wrote:
            self.keys, self.revision = keys, revision

    def holds(self, c: Condition) -> bool:
        ops: dict[Is, Callable[[int, int], bool]] = {
            Is.EQUAL: int.__eq__, Is.NOT_EQUAL: int.__ne__, Is.GREATER: int.__gt__, Is.LESS: int.__lt__
        }  # fmt: skip
        absent = (b"", 0, 0, 0, 0)
        if c.end is None:
            values = [self.keys.get(c.key, absent)]
        else:
            values = [value for key, value in self.keys.items() if c.key <= key < c.end]
        holds = ops[c.op]
        return all(holds(int(v[1 if c.target is Compare.CREATE else 3]), int(c.operand)) for v in values)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(COMMANDS, TERMS), max_size=25))
def test_it_agrees_with_the_model(log: list[tuple[Command, Term]]) -> None:
    kv, model = Driven(), Model()
    for command, term in log:
        assert decode(encode(command)) == command
        kv.do(command, term)
        model.apply(command, term)
        assert kv.machine.revision == model.revision
        shown = {kv_.key: tuple(kv_)[1:] for kv_ in kv.machine.query(Range(b"", b"\xff")).results[0].kvs}
        assert shown == model.keys
        assert {lease for lease, _ in kv.machine.leases()} == model.leases


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(COMMANDS, TERMS), max_size=25))
def test_the_history_rebuilds_the_present(log: list[tuple[Command, Term]]) -> None:
    """What a watcher sees from the start on is all there is."""
    kv = Driven()
    for command, term in log:
        kv.do(command, term)
    seen: dict[bytes, bytes] = {}
    for change in kv.machine.changes(b"", b"\xff", Revision(1)):
        if change.value is None:
            del seen[change.key]
        else:
            seen[change.key] = change.value
    assert seen == {found.key: found.value for found in kv.machine.query(Range(b"", b"\xff")).results[0].kvs}


# --- bytes and bounds ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x93\xa3put\x01\x02", b"\x92\xa5bogus\x01", b"\xff" * 20])
def test_bytes_that_are_no_command_are_refused(data: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode(data)


@pytest.mark.parametrize(
    ("prefix", "end"), [(b"a", b"b"), (b"a/", b"a0"), (b"a\xff", b"b"), (b"\x00", b"\x01")]
)
def test_the_end_of_a_prefix(prefix: bytes, end: bytes) -> None:
    assert prefix_end(prefix) == end


@pytest.mark.parametrize("prefix", [b"", b"\xff", b"\xff\xff"])
def test_a_prefix_without_an_end(prefix: bytes) -> None:
    with pytest.raises(ValueError, match="no end"):
        prefix_end(prefix)


# --- the invariants can fail ---------------------------------------------------------------------------------------


def _swap_keys(m: Machine) -> None:
    m._sorted.reverse()


def _lower_revision(m: Machine) -> None:
    m.revision = Revision(1)


def _forget_attachment(m: Machine) -> None:
    m._leases[SEVEN].keys.clear()


def _forget_lease(m: Machine) -> None:
    del m._leases[SEVEN]


def _attach_too_much(m: Machine) -> None:
    m._leases[SEVEN].keys[b"a"] = None


def _unput(m: Machine) -> None:
    m._values[b"a"] = m._values[b"a"]._replace(version=0)


def _miscount(m: Machine) -> None:
    m._history_bytes += 1


def _leave_half_applied(m: Machine) -> None:
    m._pending.append(Change(Revision(9), b"x", None, Revision(0)))


def _grow(m: Machine) -> None:
    m._history_changes_max = 1


@pytest.mark.parametrize(
    "harm",
    [
        _swap_keys, _lower_revision, _forget_attachment, _forget_lease, _attach_too_much, _unput, _miscount,
        _leave_half_applied, _grow,
    ],
)  # fmt: skip
def test_a_contradiction_is_noticed(kv: Driven, harm: Callable[[Machine], None]) -> None:
    kv.do(LeaseGrant(SEVEN, 1))
    kv.do(Put(b"a", b"1"))
    kv.do(Put(b"b", b"2", SEVEN))
    harm(kv.machine)
    with pytest.raises(InvariantViolated):
        kv.machine.invariants()


def test_an_entry_is_applied_once_and_in_order(kv: Driven) -> None:
    kv.do(Put(b"a", b"1"))
    with pytest.raises(InvariantViolated):
        kv.machine.apply(Index(1), TERM, Put(b"a", b"2"))


def test_a_query_that_writes_is_a_bug(kv: Driven) -> None:
    with pytest.raises(InvariantViolated):
        kv.machine.query(Txn(then=(Put(b"a", b""),)))
