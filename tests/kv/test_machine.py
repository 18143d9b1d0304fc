"""The machine does what docs/reference/kv.md says, and its invariants can fail."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from incumbent.errors import Compacted, InvariantViolated
from incumbent.ids import Index, LeaseId, Revision, Term
from incumbent.kv.api import (
    NO_LEASE,
    Change,
    Code,
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
from tests.kv.driven import TERM, Driven

SEVEN = LeaseId(7)


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


@pytest.mark.parametrize("grant", [LeaseGrant(NO_LEASE, 10), LeaseGrant(SEVEN, 0), LeaseGrant(SEVEN, -1)])
def test_a_grant_without_an_id_or_a_time_is_invalid(kv: Driven, grant: LeaseGrant) -> None:
    assert kv.do(grant).code is Code.INVALID
    assert kv.machine.leases() == []


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


# --- bytes and bounds ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\xc1", b"\x93\xa3put\x01\x02", b"\x92\xa5bogus\x01", b"\xff" * 20,
        encode(Put(b"k", b"v")) + b"\x00",
        b"\x94\xaa\x97ut\xc4\x01k3\x01v\xd8",  # text that is not UTF-8
        b"\x93\xa3del\xc4\x01k" + b"\x91" * 100_000,  # nested without end
        b"\x94\xa3del\xc4\x01k\xc0" + b"\x91" * 100_000,  # the same where a later version's field would be
        b"\x94\xa3del\xc4\x01k\xc0\x01",  # a field of a later version: skipping it would diverge in silence
    ],
    ids=range(10),
)  # fmt: skip
def test_bytes_that_are_no_command_are_refused(data: bytes) -> None:
    """P77: and always with the one error that callers know."""
    with pytest.raises(msgspec.DecodeError):
        decode(data)


def test_an_older_version_s_command_takes_the_defaults() -> None:
    assert decode(b"\x93\xa3put\xc4\x01k\xc4\x01v") == Put(b"k", b"v", NO_LEASE)


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


def _grant_none(m: Machine) -> None:
    m._leases[NO_LEASE] = m._leases[SEVEN]


def _unput(m: Machine) -> None:
    m._values[b"a"] = msgspec.structs.replace(m._values[b"a"], version=0)


def _swap_history(m: Machine) -> None:
    m._history.reverse()


def _compact_too_much(m: Machine) -> None:
    m.compacted = m.revision


def _miscount(m: Machine) -> None:
    m._history_bytes += 1


def _leave_half_applied(m: Machine) -> None:
    m._pending.append(Change(Revision(9), b"x", None, Revision(0)))


def _grow(m: Machine) -> None:
    m._history_changes_max = 1


def _swell(m: Machine) -> None:
    m._history_bytes_max = 1


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (_swap_keys, "the sorted keys are the keys"),
        (_lower_revision, "create <= mod <= now"),
        (_forget_attachment, "a lease knows its keys"),
        (_forget_lease, "a key's lease lives"),
        (_attach_too_much, "no key that does not name it"),
        (_grant_none, "the id that means none"),
        (_unput, "a key that exists was put"),
        (_swap_history, "the history rises"),
        (_compact_too_much, "between what is compacted and now"),
        (_miscount, "bytes are counted"),
        (_leave_half_applied, "nothing is half applied"),
        (_grow, "bounded by count"),
        (_swell, "bounded by bytes"),
    ],
)
def test_a_contradiction_is_noticed(kv: Driven, harm: Callable[[Machine], None], says: str) -> None:
    """Every invariant, broken on purpose."""
    kv.do(LeaseGrant(SEVEN, 1))
    kv.do(Put(b"a", b"1"))
    kv.do(Put(b"b", b"2", SEVEN))
    harm(kv.machine)
    with pytest.raises(InvariantViolated, match=says):
        kv.machine.invariants()


def test_an_entry_is_applied_once_and_in_order(kv: Driven) -> None:
    kv.do(Put(b"a", b"1"))
    with pytest.raises(InvariantViolated):
        kv.machine.apply(Index(1), TERM, Put(b"a", b"2"))


@pytest.mark.parametrize("write", [Put(b"a", b"2"), DeleteRange(b"a")])
@pytest.mark.parametrize("in_then", [True, False])
def test_a_query_that_writes_is_answered_and_does_nothing(
    kv: Driven, write: Operation, *, in_then: bool
) -> None:
    """Whichever branch holds it: a query may come from anybody, so it must not stop a voter."""
    kv.do(Put(b"a", b"1"))
    before = kv.machine.snapshot()
    query = Txn(then=(Range(b"a"), write)) if in_then else Txn(orelse=(Range(b"a"), write))
    assert kv.machine.query(query) == Result(Code.INVALID, Revision(2), succeeded=False)
    assert kv.machine.snapshot() == before
