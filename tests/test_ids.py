"""Tokens and voter identities."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from incumbent import ids
from incumbent.errors import InvalidInput, InvariantViolated

incarnations = st.integers(0, ids.TOKEN_INCARNATION_MAX)
natives = st.integers(1, ids.TOKEN_NATIVE_MAX)


@given(incarnations, natives)
def test_a_token_comes_apart_into_what_made_it(incarnation: int, native: int) -> None:
    token = ids.make_token(incarnation, native)
    assert ids.split_token(token) == (incarnation, native)
    assert 0 < token < 2**63


@given(st.tuples(incarnations, natives), st.tuples(incarnations, natives))
def test_tokens_order_by_incarnation_then_native(a: tuple[int, int], b: tuple[int, int]) -> None:
    """P35: one total order, whatever the engine."""
    assert (ids.make_token(*a) < ids.make_token(*b)) == (a < b)


@pytest.mark.parametrize(
    ("incarnation", "native"), [(-1, 1), (128, 1), (0, 0), (0, -5), (0, ids.TOKEN_NATIVE_MAX + 1)]
)
def test_a_token_out_of_bounds_stops_the_process(incarnation: int, native: int) -> None:
    with pytest.raises(InvariantViolated):
        ids.make_token(incarnation, native)


def test_a_wiped_disk_is_another_voter() -> None:
    """P55."""
    old = ids.make_node_id("a", ids.DiskId("0123456789ab"))
    new = ids.make_node_id("a", ids.DiskId("ba9876543210"))
    assert old != new
    assert ids.name_of(old) == ids.name_of(new) == "a"


@pytest.mark.parametrize("name", ["", "a.b", "a/b", "ä", "a b"])
def test_a_bad_node_name_is_refused_by_field(name: str) -> None:
    with pytest.raises(InvalidInput, match="^node: "):
        ids.make_node_id(name, ids.DiskId("0123456789ab"))
