"""Formation: the whole truth table of who may speak, and of when a cluster comes to be."""

from __future__ import annotations

import pytest

from incumbent.consensus.api import Membership
from incumbent.errors import IdentityMismatch
from incumbent.ids import DiskId, NodeId, make_node_id
from incumbent.runtime.formation import Form, Wait, client_hello, decide, examine, peer_hello
from incumbent.runtime.frames import Hello, RefuseCode

NAMES = frozenset({"a", "b", "c"})
DISKS = {"a": "aaaaaaaaaaaa", "b": "bbbbbbbbbbbb", "c": "cccccccccccc"}
WIPED = "dddddddddddd"


def voter(name: str, disk: str | None = None) -> NodeId:
    return make_node_id(name, DiskId(disk or DISKS[name]))


ALL = Membership(frozenset(voter(name) for name in NAMES))
WITH_WIPED_B = Membership(frozenset({voter("a"), voter("b", WIPED), voter("c")}))


def hello(
    name: str,
    *,
    disk: str | None = None,
    formed: Membership | None = None,
    cluster: str = "app",
    names: frozenset[str] = NAMES,
) -> Hello:
    return peer_hello(cluster, name, disk or DISKS[name], names, formed)


# decide


def test_all_forming_forms_with_exactly_the_disks_that_were_heard() -> None:
    assert decide(hello("a"), {"b": hello("b"), "c": hello("c")}) == Form(ALL)


def test_a_single_configured_node_forms_by_itself() -> None:
    only = frozenset({"a"})
    assert decide(hello("a", names=only), {}) == Form(Membership(frozenset({voter("a")})))


@pytest.mark.parametrize("heard", [(), ("b",), ("c",)])
@pytest.mark.parametrize("formed", [None, ALL])
def test_it_waits_for_every_node_not_for_a_majority(
    heard: tuple[str, ...], formed: Membership | None
) -> None:
    """P55: also when those heard are formed with this disk; a wiped disk must meet a survivor."""
    decision = decide(hello("a"), {name: hello(name, formed=formed) for name in heard})
    assert isinstance(decision, Wait)
    missing = sorted(NAMES - {"a"} - set(heard))
    assert decision.why == f"not heard yet: {', '.join(missing)}"


@pytest.mark.parametrize("b", [None, ALL])
@pytest.mark.parametrize("c", [None, ALL])
def test_nodes_that_formed_with_the_same_disks_count_as_heard(
    b: Membership | None, c: Membership | None
) -> None:
    assert decide(hello("a"), {"b": hello("b", formed=b), "c": hello("c", formed=c)}) == Form(ALL)


@pytest.mark.parametrize("other", [{}, {"c": hello("c")}, {"c": hello("c", formed=ALL)}])
def test_a_wiped_disk_never_takes_part(other: dict[str, Hello]) -> None:
    """P55: one formed node that knows this node by another disk is enough, whoever else is heard."""
    with pytest.raises(
        IdentityMismatch,
        match="the cluster knows node b with disk bbbbbbbbbbbb; restore the old disk, or replace the node",
    ):
        decide(hello("b", disk=WIPED), {"a": hello("a", formed=ALL), **other})


def test_a_node_that_the_cluster_was_formed_without_never_takes_part() -> None:
    two = Membership(frozenset({voter("a"), voter("b")}))
    with pytest.raises(IdentityMismatch, match="consists of a, b, without 'c'"):
        decide(hello("c"), {"a": hello("a", formed=two)})


def test_it_does_not_form_around_a_wiped_peer_that_the_formed_do_not_know() -> None:
    """P55: c was there when a formed, but b's disk has been replaced since. c must not form with the new one."""
    decision = decide(hello("c"), {"a": hello("a", formed=ALL), "b": hello("b", disk=WIPED)})
    assert isinstance(decision, Wait)
    assert f"unknown there: b.{WIPED}" in decision.why


def test_it_does_not_choose_between_two_memberships() -> None:
    heard = {"a": hello("a", formed=ALL), "b": hello("b", disk=WIPED, formed=WITH_WIPED_B)}
    assert isinstance(decide(hello("c"), heard), Wait)


# examine


@pytest.mark.parametrize("mine", [None, ALL])
@pytest.mark.parametrize("theirs", [None, ALL])
def test_a_peer_of_the_same_cluster_is_welcome(mine: Membership | None, theirs: Membership | None) -> None:
    assert examine(hello("a", formed=mine), hello("b", formed=theirs)) is None


@pytest.mark.parametrize("mine", [None, ALL])
def test_a_client_needs_only_the_clusters_name(mine: Membership | None) -> None:
    assert examine(hello("a", formed=mine), client_hello("app")) is None
    refuse = examine(hello("a", formed=mine), client_hello("other"))
    assert refuse is not None
    assert refuse.code is RefuseCode.IDENTITY


@pytest.mark.parametrize(
    ("mine", "theirs", "code", "field", "says"),
    [
        (
            hello("a"),
            hello("b", cluster="x" * 999),
            RefuseCode.IDENTITY,
            "cluster",
            "belongs to cluster 'app'",
        ),
        (hello("a"), hello("a", disk=WIPED), RefuseCode.INPUT, "node", "two nodes are called 'a'"),
        (
            hello("a"),
            hello("b", names=frozenset({"a", "b"})),
            RefuseCode.INPUT,
            "peers",
            "configured with a, b, c",
        ),
        (hello("a"), hello("z", disk=WIPED), RefuseCode.INPUT, "node", "'z' is none of a, b, c"),
        (hello("a"), hello("b", disk="no disk"), RefuseCode.PROTOCOL, "disk", "'no disk' is no disk id"),
        (
            hello("a", formed=ALL),
            hello("b", disk=WIPED),
            RefuseCode.IDENTITY,
            "data_dir",
            f"disk {WIPED} is new; the cluster knows node b with disk bbbbbbbbbbbb",
        ),
        (
            hello("a", formed=Membership(frozenset({voter("a"), voter("b")}))),
            hello("c"),
            RefuseCode.IDENTITY,
            "node",
            "consists of a, b, without 'c'",
        ),
        (
            hello("a", formed=ALL),
            hello("c", formed=WITH_WIPED_B),
            RefuseCode.IDENTITY,
            "voters",
            "was formed with a.aaaaaaaaaaaa",
        ),
    ],
    ids=[
        "cluster",
        "own name",
        "peers",
        "unknown name",
        "disk's form",
        "wiped",
        "not a voter",
        "two formations",
    ],
)
def test_who_is_refused_and_how(mine: Hello, theirs: Hello, code: RefuseCode, field: str, says: str) -> None:
    refuse = examine(mine, theirs)
    assert refuse is not None
    assert (refuse.code, refuse.field) == (code, field)
    assert says in refuse.problem
    assert refuse.fix
    assert len(refuse.problem) < 1000


def test_a_forming_node_listens_to_one_that_does_not_know_its_disk() -> None:
    """The fault is its own, and `decide` says so."""
    assert examine(hello("b", disk=WIPED), hello("a", formed=ALL)) is None


# members that come later

D = voter("d", WIPED)
WITH_D = peer_hello("app", "a", DISKS["a"], NAMES, ALL, [*sorted(ALL.voters), D])
NEW_D = peer_hello("app", "d", WIPED, (), None)


def test_a_node_that_was_added_joins_what_was_formed_without_it() -> None:
    assert decide(NEW_D, {"a": WITH_D}) == Form(ALL)
    assert examine(WITH_D, NEW_D) is None


def test_a_node_without_peers_waits_for_an_operator() -> None:
    """P55: it forms nothing on its own, whoever it hears."""
    for heard in ({}, {"a": hello("a", formed=ALL)}, {"e": peer_hello("app", "e", DISKS["b"], (), None)}):
        decision = decide(NEW_D, heard)
        assert isinstance(decision, Wait)
        assert "cluster add" in decision.why


def test_a_node_that_was_not_added_is_refused() -> None:
    refuse = examine(hello("a", formed=ALL), NEW_D)
    assert refuse is not None
    assert "cluster add" in refuse.fix


def test_a_voter_that_does_not_know_of_a_new_member_yet_hears_it() -> None:
    """It would never learn, were that member the leader."""
    joined = peer_hello("app", "d", WIPED, (), ALL, [*ALL.voters, D])
    assert examine(hello("b", formed=ALL), joined) is None


def test_a_witness_of_the_first_membership_is_told_to_whoever_joins() -> None:
    first = Membership(ALL.voters, witnesses=frozenset({voter("c")}))
    told = peer_hello("app", "a", DISKS["a"], (), first, [*ALL.voters, D])
    assert decide(NEW_D, {"a": told}) == Form(first)


def test_the_speakers_own_address_comes_first() -> None:
    addresses = {"a": ("h1", 1), "b": ("h2", 2), "c": ("h3", 3)}
    said = peer_hello("app", "b", DISKS["b"], NAMES, ALL, addresses=addresses)
    assert [name for name, _ in said.addresses] == ["b", "a", "c"]
