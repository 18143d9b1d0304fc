"""What the machine remembers of sessions and leases beside their keys: answers given, and what was left at a checkpoint."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from incumbent.ids import Index, LeaseId, Term
from incumbent.kv.api import Code, DeleteRange, LeaseCheckpoint, LeaseGrant, LeaseRevoke, Once, Put
from incumbent.kv.machine import ANSWERS_MAX, Machine
from incumbent.kv.state import FORMAT
from tests.kv.driven import TERM, Driven

SEVEN = LeaseId(7)
TTL = 1000


@pytest.fixture
def kv() -> Driven:
    driven = Driven()
    driven.do(LeaseGrant(SEVEN, TTL))
    return driven


def restored(kv: Driven) -> Driven:
    """Another machine, which begins with this one's snapshot."""
    driven = Driven()
    driven.machine.restore(kv.machine.applied, kv.machine.snapshot())
    driven.machine.invariants()
    return driven


def put(sequence: int, value: bytes = b"v", settled: int = 0) -> Once:
    return Once(SEVEN, sequence, settled, Put(b"k", value))


@pytest.mark.parametrize("over_a_snapshot", [False, True])
def test_a_command_that_comes_again_is_answered_as_the_first_time(
    kv: Driven, *, over_a_snapshot: bool
) -> None:
    """P3: and nothing is done."""
    first = kv.do(put(1))
    kv.do(Put(b"k", b"later"))
    if over_a_snapshot:
        kv = restored(kv)
    assert kv.do(put(1)) == first
    assert kv.get(b"k") is not None
    assert kv.get(b"k").value == b"later"  # type: ignore[union-attr]
    assert not kv.changes


def test_what_has_arrived_is_forgotten_and_never_done_again(kv: Driven) -> None:
    kv.do(put(1))
    kv.do(put(2, settled=1))
    for again in (kv, restored(kv)):
        assert again.do(put(1, b"again")).code is Code.SETTLED
        assert again.get(b"k").value == b"v"  # type: ignore[union-attr]


def test_a_failure_is_an_answer_too(kv: Driven) -> None:
    """Or the same command could fail first and be done later."""
    missing = LeaseId(9)
    once = Once(SEVEN, 1, 0, Put(b"k", b"v", missing))
    assert kv.do(once).code is Code.LEASE_NOT_FOUND
    kv.do(LeaseGrant(missing, TTL))
    assert kv.do(once).code is Code.LEASE_NOT_FOUND
    assert kv.get(b"k") is None


@pytest.mark.parametrize("sequence", [0, -1])
def test_a_sequence_that_is_not_positive_is_refused(kv: Driven, sequence: int) -> None:
    assert kv.do(put(sequence)).code is Code.INVALID
    assert kv.get(b"k") is None


def test_without_its_session_a_command_is_not_done(kv: Driven) -> None:
    kv.do(put(1))
    kv.do(LeaseRevoke(SEVEN))
    assert kv.do(put(2)).code is Code.LEASE_NOT_FOUND
    assert kv.do(put(1)).code is Code.LEASE_NOT_FOUND


def test_the_answers_kept_for_a_session_are_bounded(kv: Driven) -> None:
    """ANSWERS_MAX: the oldest counts as settled."""
    for sequence in range(1, ANSWERS_MAX + 2):
        kv.do(put(sequence))
    kv.machine.invariants()
    assert kv.do(put(1)).code is Code.SETTLED
    assert kv.do(put(2)).code is Code.OK
    assert not kv.changes


# --- checkpoints -----------------------------------------------------------------------------------------------------


def left(kv: Driven) -> int:
    return dict(kv.machine.leases())[SEVEN]


@pytest.mark.parametrize(
    ("checkpoints", "expected"),
    [((), TTL), ((400,), 400), ((400, 200), 200), ((400, TTL), TTL), ((400, 2 * TTL), TTL), ((0,), TTL)],
)
def test_the_last_checkpoint_says_what_is_left(
    kv: Driven, checkpoints: tuple[int, ...], expected: int
) -> None:
    """P59: the whole ttl undoes it, and nothing gives more than that. Snapshots hold it."""
    for left_ns in checkpoints:
        assert kv.do(LeaseCheckpoint(((SEVEN, left_ns),), TERM)).code is Code.OK
    assert left(kv) == expected
    assert left(restored(kv)) == expected


def test_a_checkpoint_of_another_term_says_nothing(kv: Driven) -> None:
    """P59: its leader could not know the renewals of this one."""
    assert kv.do(LeaseCheckpoint(((SEVEN, 400),), Term(TERM - 1))).code is Code.EXPIRE_STALE
    assert left(kv) == TTL


def test_a_lease_that_ended_is_passed_over(kv: Driven) -> None:
    assert kv.do(LeaseCheckpoint(((LeaseId(9), 400), (SEVEN, 300)), TERM)).code is Code.OK
    assert left(kv) == 300
    assert dict(kv.machine.leases()).keys() == {SEVEN}


# --- snapshots -------------------------------------------------------------------------------------------------------


def state_with_a_key_of_no_lease() -> bytes:
    """Found in no machine: the key's lease is gone."""
    kv = Driven()
    kv.do(LeaseGrant(SEVEN, TTL))
    kv.do(Put(b"k", b"v", SEVEN))
    frozen = kv.machine.freeze()
    return b"".join(replace(frozen, leases=[]))


def state_of_another_format() -> bytes:
    head = msgspec.msgpack.encode([FORMAT + 1, 1, 0, 0])
    return len(head).to_bytes(4, "little") + head


def state_cut_short() -> bytes:
    kv = Driven()
    kv.do(Put(b"k", b"v"))
    return kv.machine.snapshot()[:-1]


def state_with_more_than_it_says() -> bytes:
    return Driven().machine.snapshot() + b"\1\0\0\0\x90"


def state_with_nothing_where_something_is_due() -> bytes:
    head = msgspec.msgpack.encode([FORMAT, 1, 0, 1])
    return len(head).to_bytes(4, "little") + head + b"\1\0\0\0\x90" * 3


NO_STATES = (
    b"\xc1",
    b"\x93\x01",
    state_with_a_key_of_no_lease(),
    state_of_another_format(),
    state_cut_short(),
    state_with_more_than_it_says(),
    state_with_nothing_where_something_is_due(),
    b"\xff\xff\xff\xff\0",
)


@pytest.mark.parametrize("state", NO_STATES)
def test_what_is_no_snapshot_is_refused_and_changes_nothing(kv: Driven, state: bytes) -> None:
    """P77."""
    kv.do(Put(b"a", b"1", SEVEN))
    before = (kv.machine.applied, kv.machine.snapshot())
    with pytest.raises(msgspec.DecodeError):
        kv.machine.restore(Index(99), state)
    assert (kv.machine.applied, kv.machine.snapshot()) == before
    kv.machine.invariants()


def test_a_restored_machine_goes_on_as_the_first_one(kv: Driven) -> None:
    """The same commands give the same answers and the same snapshot."""
    kv.do(Put(b"a", b"1", SEVEN))
    kv.do(put(1))
    kv.do(LeaseCheckpoint(((SEVEN, 400),), TERM))
    late = restored(kv)
    for command in (put(2), DeleteRange(b"a"), Put(b"b", b"2", SEVEN), LeaseRevoke(SEVEN)):
        assert late.do(command) == kv.do(command)
    assert late.machine.snapshot() == kv.machine.snapshot()


def test_a_state_without_data_is_only_an_index() -> None:
    """A witness has none."""
    machine = Machine()
    machine.restore(Index(5), b"")
    assert machine.applied == 5
