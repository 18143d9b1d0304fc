"""The ring's view: same owner everywhere, little movement."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from incumbent.errors import InvalidInput
from incumbent.recipes import view
from incumbent.recipes.view import View

names = st.lists(st.text(min_size=1, max_size=20), min_size=1, max_size=12, unique=True).map(
    lambda n: tuple(sorted(n))
)


def test_owners_are_fixed_for_all_time() -> None:
    """P66: computed once and written down; a change of the hash would move every key of every ring."""
    ring = View(1, 7, ("a", "b", "c", "d"))
    assert [ring.owner(b"key-%d" % n) for n in range(12)] == EXPECTED_OWNERS


EXPECTED_OWNERS = list("bcbddbccabdb")


@given(names, st.binary(max_size=40))
def test_the_order_of_nodes_does_not_matter(nodes: tuple[str, ...], key: bytes) -> None:
    """P66."""
    assert View(1, 1, nodes).owner(key) == View(2, 9, tuple(reversed(nodes))).owner(key)


@given(names, st.text(min_size=1, max_size=20), st.binary(max_size=40))
def test_a_key_moves_only_to_the_node_that_was_added(nodes: tuple[str, ...], new: str, key: bytes) -> None:
    """P68: and so, read backwards, only from the node that was removed."""
    before, after = View(1, 1, nodes).owner(key), View(2, 1, (*nodes, new)).owner(key)
    assert after in (before, new)


def test_an_added_node_takes_its_share_and_no_more() -> None:
    """P68: one of nine nodes gets about a ninth of 9,000 keys."""
    eight = tuple(f"node-{n}" for n in range(8))
    before, after = View(1, 1, eight), View(2, 1, (*eight, "node-8"))
    keys = [b"%d" % n for n in range(9000)]
    moved = sum(before.owner(key) != after.owner(key) for key in keys)
    assert 850 < moved < 1150


@given(names, st.binary(max_size=40), st.integers(1, 5))
def test_copies_go_to_distinct_nodes_the_owner_first(nodes: tuple[str, ...], key: bytes, count: int) -> None:
    ring = View(1, 1, nodes)
    owners = ring.owners(key, count)
    assert owners[0] == ring.owner(key)
    assert len(set(owners)) == len(owners) == min(count, len(nodes))


def test_an_empty_ring_has_no_owner() -> None:
    assert View(1, 1, ()).owner(b"key") is None


@given(names, st.integers(1, 2**63 - 1))
def test_a_view_survives_its_cell(nodes: tuple[str, ...], token: int) -> None:
    assert view.decode(view.encode(token, nodes), 5) == View(5, token, nodes)


@pytest.mark.parametrize("value", [b"", b"{}", b"[]", b'{"token": "x", "nodes": []}', b"\xff"])
def test_a_cell_that_holds_something_else_is_refused(value: bytes) -> None:
    with pytest.raises(InvalidInput, match="^cell: "):
        view.decode(value, 1)


def test_a_ring_of_too_many_nodes_is_refused() -> None:
    with pytest.raises(InvalidInput, match="^nodes: "):
        view.encode(1, tuple(str(n) for n in range(view.NODES_MAX + 1)))
