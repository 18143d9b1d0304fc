"""The parts that protocols share, and the bytes of Raft's messages."""

from __future__ import annotations

from contextlib import suppress
from typing import get_args

import msgspec
import pytest

from incumbent.consensus.api import Entry, Membership
from incumbent.consensus.log import Log
from incumbent.consensus.quorum import Outcome, outcome, reached
from incumbent.consensus.raft import messages
from incumbent.consensus.raft.messages import (
    Append,
    AppendReply,
    HardState,
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
    decode,
    decode_hard_state,
    encode,
    encode_hard_state,
    encode_membership,
)
from incumbent.errors import InvariantViolated
from incumbent.ids import Index, NodeId, Term
from tests.consensus.script import entries, ids


def members(names: str) -> Membership:
    """`abc/de`: voters a, b and c, and d and e on their way out."""
    voters, _, outgoing = names.partition("/")
    return Membership(ids(voters), ids(outgoing))


# --- quorum ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("voters", "values", "result"),
    [
        ("a", {"a": 7}, 7),
        ("a", {}, 0),
        ("ab", {"a": 7}, 0),
        ("ab", {"a": 7, "b": 3}, 3),
        ("abc", {"a": 7, "b": 3}, 3),
        ("abc", {"a": 7, "b": 3, "c": 5}, 5),
        ("abcd", {"a": 7, "b": 3, "c": 5}, 3),
        ("abcde", {"a": 7, "b": 3, "c": 5}, 3),
        ("abcde", {"a": 7, "b": 3, "c": 5, "d": 4, "e": 9}, 5),
        ("abc", {"a": 7, "x": 9, "y": 9}, 0),  # who is no voter does not count
        ("abc/cde", {"a": 7, "b": 7, "c": 7}, 0),  # both halves must have come so far
        ("abc/cde", {"a": 7, "b": 7, "c": 5, "d": 6}, 5),
        ("abc/a", {"b": 7, "c": 7}, 0),
    ],
)
def test_how_far_a_quorum_has_come(voters: str, values: dict[str, int], result: int) -> None:
    assert reached(members(voters), {NodeId(name): value for name, value in values.items()}) == result


@pytest.mark.parametrize(
    ("voters", "grants", "refusals", "result"),
    [
        ("a", "a", "", Outcome.WON),
        ("a", "", "a", Outcome.LOST),
        ("ab", "a", "", Outcome.OPEN),
        ("ab", "a", "b", Outcome.LOST),
        ("abc", "ab", "c", Outcome.WON),
        ("abc", "a", "b", Outcome.OPEN),
        ("abc", "a", "bc", Outcome.LOST),
        ("abcd", "ab", "c", Outcome.OPEN),
        ("abcd", "ab", "cd", Outcome.LOST),
        ("abc", "axyz", "", Outcome.OPEN),
    ],
)
def test_how_a_vote_ended(voters: str, grants: str, refusals: str, result: Outcome) -> None:
    votes = {NodeId(name): True for name in grants} | {NodeId(name): False for name in refusals}
    assert outcome(members(voters), votes) is result


# --- log ---------------------------------------------------------------------------------------------------------------


def log_of(*terms: int) -> Log:
    return Log({entry.index: entry for entry in entries(terms)})


def test_a_log_hands_out_what_is_not_durable_once() -> None:
    log = log_of(1, 1)
    log.append(entries((2, 2), first=3))
    assert log.take_unstable() == (None, entries((2, 2), first=3))
    assert log.take_unstable() == (None, ())
    assert log.stable == 2
    assert log.stable_to(Index(4), Term(2))
    assert log.stable == 4


def test_cutting_what_is_durable_is_part_of_the_next_record() -> None:
    log = log_of(1, 1, 1)
    log.truncate(Index(3))
    log.truncate(Index(2))
    log.append(entries((2,), first=2))
    assert log.stable == 1
    assert log.take_unstable() == (2, entries((2,), first=2))


def test_cutting_what_was_never_handed_out_is_not() -> None:
    log = log_of(1)
    log.append(entries((1, 1), first=2))
    log.truncate(Index(3))
    assert log.take_unstable() == (None, entries((1,), first=2))


def test_cutting_what_is_being_written_is_part_of_the_next_record_and_does_not_count() -> None:
    """P51."""
    log = log_of(1)
    log.append(entries((1, 1), first=2))
    log.take_unstable()
    log.truncate(Index(2))
    log.append(entries((2, 2), first=2))
    assert not log.stable_to(Index(3), Term(1))
    assert log.stable == 1
    assert log.take_unstable() == (2, entries((2, 2), first=2))


def test_a_log_with_a_gap_is_refused() -> None:
    with pytest.raises(InvariantViolated, match="no gaps"):
        Log({Index(2): Entry(Index(2), Term(1), None)})
    with pytest.raises(InvariantViolated, match="leave no gap"):
        log_of(1).append(entries((1,), first=3))


def test_where_terms_begin_and_end() -> None:
    log = log_of(1, 1, 3, 3, 4)
    assert log.first_index_of(Term(3), Index(4)) == 3
    assert log.first_index_of(Term(1), Index(2)) == 1
    assert [log.last_index_of_term_at_most(Term(term), Index(5)) for term in range(6)] == [0, 2, 2, 4, 5, 5]
    assert log.last_index_of_term_at_most(Term(9), Index(99)) == 5
    assert (log.term_at(Index(0)), log.term_at(Index(5)), log.term_at(Index(6))) == (0, 4, None)


# --- messages --------------------------------------------------------------------------------------------------------

MEMBERSHIP = Membership(ids("abc"), ids("abd"), ids("e"), ids("d"), ids("c"))
EVERY_MESSAGE: list[RaftMessage] = [
    PreVote(Term(2), Index(3), Term(1)),
    PreVoteReply(Term(2), granted=True),
    Vote(Term(2), Index(3), Term(1)),
    VoteReply(Term(2), granted=False),
    Append(Term(2), Index(3), Term(1), tuple(entries((1, 2), first=4)), Index(3), 7),
    AppendReply(Term(2), False, Index(3), 7, Term(1), Index(4)),
    Heartbeat(Term(2), Index(3), 5),
    HeartbeatReply(Term(2), 5),
    InstallSnapshot(Term(2), Index(3), Term(1), MEMBERSHIP, 5, 7, 2, b"abc", 9),
    InstallSnapshotReply(Term(2), Index(3), 4),
    TimeoutNow(Term(2)),
]


@pytest.mark.parametrize("message", EVERY_MESSAGE, ids=lambda message: type(message).__name__)
def test_a_message_survives_the_wire(message: RaftMessage) -> None:
    assert decode(encode(message)) == message


def test_every_message_is_among_those() -> None:
    assert {type(message) for message in EVERY_MESSAGE} == set(get_args(RaftMessage))


def test_a_tag_and_a_no_op_survive_the_wire() -> None:
    entry = Entry(Index(1), Term(1), None, encode_membership(MEMBERSHIP))
    message = Append(Term(1), Index(0), Term(0), (entry,), Index(0), 1)
    assert decode(encode(message)).entries == (entry,)  # type: ignore[union-attr]


@pytest.mark.parametrize("message", EVERY_MESSAGE, ids=lambda message: type(message).__name__)
def test_no_part_of_a_message_passes_for_a_message(message: RaftMessage) -> None:
    """P77: a cut frame is refused, whatever its length, and never half understood."""
    data = encode(message)
    for length in range(len(data)):
        with pytest.raises(msgspec.DecodeError):
            decode(data[:length])


def test_a_flipped_bit_is_refused_or_gives_another_valid_message() -> None:
    """P77: nothing but msgspec.DecodeError ever comes out."""
    for message in EVERY_MESSAGE:
        data = bytearray(encode(message))
        for position in range(len(data) * 8):
            data[position // 8] ^= 1 << position % 8
            with suppress(msgspec.DecodeError):
                assert isinstance(decode(bytes(data)), get_args(RaftMessage))
            data[position // 8] ^= 1 << position % 8


@pytest.mark.parametrize(
    "raw",
    [
        ["v", -1, 0, 0],  # a negative term
        ["v", 2**63, 0, 0],  # beyond 63 bits
        ["v", "1", 0, 0],
        ["v", 1, 0],
        ["unknown", 1, 0, 0],
        ["a", 2, 3, 1, [[5, 2, None, b""]], 3, 7],  # a gap after the previous entry
        ["a", 2, 3, 1, [[4, 2, None, b""], [4, 2, None, b""]], 3, 7],  # an index twice
        ["a", 2, 3, 2, [[4, 1, None, b""]], 3, 7],  # terms fall
        ["a", 2, 3, 1, [[4, 3, None, b""]], 3, 7],  # an entry from the future
        ["a", 2, 3, 1, [[4, 2, "text", b""]], 3, 7],
        {},
        None,
    ],
)
def test_what_no_voter_would_say_is_refused(raw: object) -> None:
    """P77: types, ranges, and entries that follow each other."""
    with pytest.raises(msgspec.DecodeError):
        decode(msgspec.msgpack.encode(raw))


@pytest.mark.parametrize(
    "message",
    [
        InstallSnapshot(Term(2), Index(3), Term(3), MEMBERSHIP, 5, 7, 0, b"abc", 9),  # of a later term
        InstallSnapshot(Term(2), Index(0), Term(1), MEMBERSHIP, 5, 7, 0, b"abc", 9),  # of nothing
        InstallSnapshot(Term(2), Index(3), Term(1), MEMBERSHIP, 5, 7, 3, b"abc", 9),  # beyond its end
        InstallSnapshot(Term(2), Index(3), Term(1), Membership(ids("")), 5, 7, 0, b"abc", 9),  # nobody votes
    ],
)
def test_no_leader_would_send_such_a_snapshot(message: RaftMessage) -> None:
    """P77: it would be installed, and contradict the log or the term from then on."""
    with pytest.raises(msgspec.ValidationError):
        decode(encode(message))


def test_the_hard_state_survives_the_disk() -> None:
    state = HardState(Term(7), NodeId("a.0123456789ab"))
    assert decode_hard_state(encode_hard_state(state)) == state
    assert decode_hard_state(None) == HardState(Term(0), None)
    with pytest.raises(msgspec.DecodeError):
        decode_hard_state(encode_hard_state(state)[:-1])
    with pytest.raises(msgspec.DecodeError):
        decode_hard_state(b"\x92\x01\xa1\xff")


def test_the_codec_limits_numbers_to_what_a_token_may_be() -> None:
    assert messages.NUMBER_MAX == 2**63 - 1
