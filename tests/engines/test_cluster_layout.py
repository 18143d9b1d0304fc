"""Names, ids and stored bytes of the cluster engine."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from incumbent.engines.api import NAME_BYTES_MAX
from incumbent.engines.cluster.layout import (
    WRITER_BYTES,
    cell_key,
    decode_cell,
    encode_cell,
    group_range,
    lease_for,
    lease_of,
    member_id,
    member_key,
    members_range,
)
from incumbent.engines.cluster.reference import PREFIX, Reference
from incumbent.errors import InvalidInput, InvariantViolated
from incumbent.ids import LeaseId

NAMES = st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]),
    min_size=1,
    max_size=NAME_BYTES_MAX // 4,
)
LEASES = st.integers(1, (1 << 63) - 1).map(LeaseId)


def within(key: bytes, span: tuple[bytes, bytes]) -> bool:
    return span[0] <= key < span[1]


@given(NAMES, NAMES, NAMES, LEASES)
def test_names_never_interact(one: str, other: str, cell: str, lease: LeaseId) -> None:
    """P5: whatever a group is called, its keys are in its own range and in no other group's."""
    member = member_key(one, member_id(lease))
    assert within(member, members_range(one))
    assert not within(cell_key(one, cell), members_range(one))
    for key in (member, cell_key(one, cell)):
        assert within(key, group_range(one))
        assert within(key, group_range(other)) == (one == other)
    assert (cell_key(one, cell) == cell_key(one, other)) == (cell == other)


@pytest.mark.parametrize("other", ["ab", "a/", "a\x01", "a/m/", "b", "A", "ä"])
def test_a_name_that_begins_like_another_is_apart(other: str) -> None:
    """P5."""
    span = group_range("a")
    assert not within(member_key(other, "0" * 16), span)
    assert not within(cell_key(other, "c"), span)


@given(LEASES)
def test_a_members_id_is_its_lease(lease: LeaseId) -> None:
    assert len(member_id(lease)) == 16
    assert lease_of(member_id(lease)) == lease


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nobody",
        "0" * 16,
        "f" * 16,
        "0" * 15 + "G",
        "0x" + "1" * 14,
        "1" * 17,
        "+" + "1" * 15,
        "\u0661" * 16,
    ],
)
def test_what_is_no_id_is_no_lease(text: str) -> None:
    assert lease_of(text) is None


@given(st.text(max_size=50), st.text(max_size=50))
def test_a_request_names_its_lease(one: str, other: str) -> None:
    """P3: the same request, the same lease, positive and below 2**63; another request, another lease."""
    assert 0 < lease_for(one) < 1 << 63
    assert (lease_for(one) == lease_for(other)) == (one == other)


@given(st.none() | st.binary(max_size=100), st.binary(min_size=WRITER_BYTES, max_size=WRITER_BYTES))
def test_a_cell_comes_back(value: bytes | None, writer: bytes) -> None:
    assert decode_cell(encode_cell(value, writer)) == (value, writer)


@pytest.mark.parametrize("stored", [b"", b"\2" + bytes(16), b"\1" + bytes(15), b"\0" + bytes(16) + b"x"])
def test_a_cell_that_is_none_stops_us(stored: bytes) -> None:
    with pytest.raises(InvariantViolated):
        decode_cell(stored)


def test_a_reference_comes_back() -> None:
    reference = Reference("app", LeaseId(7), 3, 4, {"a": ("::1", 7001), "b": ("host", 7002)})
    assert Reference.from_bytes(reference.to_bytes()) == reference
    assert reference.lease_ttl_ns == 7
    assert "7" not in repr(reference)  # the lease is what ends a session


def test_a_reference_that_nobody_could_carry_is_refused() -> None:
    voters = {f"n{n}": ("h" * 1000, 7001) for n in range(5)}
    with pytest.raises(InvalidInput) as caught:
        Reference("app", LeaseId(7), 3, 4, voters).to_bytes()
    assert caught.value.field == "peers"


@pytest.mark.parametrize(
    "ref",
    [
        b"",
        b"incumbent-local/1/x",
        PREFIX,
        PREFIX + b"\x95",
        PREFIX + b"\xff" * 20,
        Reference("app", LeaseId(0), 3, 4, {"a": ("h", 1)}).to_bytes(),
        Reference("app", LeaseId(1), 3, 4, {}).to_bytes(),
        Reference("app", LeaseId(1), 3, 4, {"a": ("h", 1)}).to_bytes() + b"x",
    ],
)
def test_what_is_no_reference_is_refused(ref: bytes) -> None:
    """P77."""
    with pytest.raises(InvalidInput) as caught:
        Reference.from_bytes(ref)
    assert caught.value.field == "ref"
