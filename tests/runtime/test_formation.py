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
        IdentityMismatch, match="the cluster knows node b with disk bbbbbbbbbbbb; restore the old disk"
    ):
        decide(hello("b", disk=WIPED), {"a": hello("a", formed=ALL), **other})


def test_a_node_that_the_cluster_was_formed_without_never_takes_part() -> None:
    two = Membership(frozenset({voter("a"), voter("b")}))
    with pytest.raises(IdentityMismatch, match="formed with a, b, without 'c'"):
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
            "formed with a, b, without 'c'",
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
