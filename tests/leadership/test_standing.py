"""A candidate's name, what it says of itself and its own bytes, in one member's value."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from incumbent.engines.api import MEMBER_VALUE_BYTES_MAX, Entry
from incumbent.errors import InvalidInput
from incumbent.leadership.standing import MARK, UNSAID, Standing, candidate_of, member_value, read_member

NAMES = st.text(min_size=1, max_size=20).filter(lambda name: "\0" not in name and name.isprintable())
VALUES = st.one_of(
    st.binary(max_size=40),
    st.binary(max_size=40).map(lambda rest: MARK + rest),
    st.binary(max_size=40).map(lambda rest: b"\0" + rest),
)
STANDINGS = st.builds(
    Standing,
    priority=st.integers(-5, 5),
    eligible=st.booleans(),
    tags=st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3),
    ready=st.text(max_size=5),
)


def entry(value: bytes, *, ours: bool = True) -> Entry:
    return Entry("m", 1, value, ours=ours)


@given(NAMES, VALUES, st.one_of(st.just(UNSAID), STANDINGS))
def test_whatever_is_written_is_read(name: str, value: bytes, standing: Standing) -> None:
    written = entry(member_value(name, value, standing))
    assert read_member(written) == (name, standing, value)
    assert candidate_of(written) == name


def test_who_says_nothing_is_written_as_other_libraries_write() -> None:
    assert member_value("node-a", b"") == b"node-a"
    assert member_value("node-a", b"v") == b"node-a\0v"
    assert read_member(entry(b"etcdctl", ours=False)) == ("etcdctl", None, b"")


def test_what_a_newer_version_says_is_read_past() -> None:
    """Of a standing that cannot be read nothing is believed, and the caller's bytes are still found."""
    newer = b'{"priority":"high"}'
    value = b"a\0" + MARK + len(newer).to_bytes(2, "big") + newer + b"own"
    assert read_member(entry(value)) == ("a", UNSAID, b"own")
    more = b'{"priority":4,"mood":"good"}'
    value = b"a\0" + MARK + len(more).to_bytes(2, "big") + more
    assert read_member(entry(value)) == ("a", Standing(priority=4), b"")


def test_what_does_not_fit_is_refused() -> None:
    room = MEMBER_VALUE_BYTES_MAX - len(b"a\0")
    member_value("a", bytes(room))
    with pytest.raises(InvalidInput, match=f"at most {room} fit"):
        member_value("a", bytes(room + 1))
    with pytest.raises(InvalidInput, match="tags"):
        member_value("a", b"", Standing(tags={"t": "x" * 5000}))
