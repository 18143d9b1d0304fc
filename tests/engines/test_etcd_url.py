"""What the etcd engine takes from a URL, where it puts its keys, and that it shows no secret. Without a server."""

from __future__ import annotations

import pytest

from incumbent.engines import registry
from incumbent.engines.etcd import ENDPOINTS_MAX, parse
from incumbent.engines.etcd.access import Access
from incumbent.engines.etcd.layout import Layout, escaped, lease_for, lease_of, member_id
from incumbent.engines.etcd.members import incarnation_of
from incumbent.engines.etcd.reference import Reference
from incumbent.engines.etcd.sight import Header, Sight
from incumbent.errors import IncarnationChanged, InvalidInput, ProtocolViolation
from incumbent.ids import LeaseId, Revision
from incumbent.kv.api import NO_LEASE, KeyValue, OperationResult


def test_a_url_is_taken_apart() -> None:
    access, layout, timeout_s = parse("etcd://me:p%40ss@a:1,[::1],c:3/app/x/?tls=1&timeout=2.5&names=plain")
    assert access.endpoints == (("a", 1), ("::1", 2379), ("c", 3))
    assert (access.user, access.password, access.tls) == ("me", "p@ss", ("", "", ""))
    assert (layout.root, layout.plain, timeout_s) == ("/app/x/", True, 2.5)
    access, layout, _ = parse("etcd://a")
    assert (access.user, access.tls, layout.root, layout.plain) == ("", None, "", False)


@pytest.mark.parametrize(
    ("url", "field"),
    [
        ("etcd:///app", "url"),
        ("etcd://" + ",".join(f"h{n}" for n in range(ENDPOINTS_MAX + 1)), "url"),
        ("etcd://hush@a", "url"),
        ("etcd://a?tsl=1", "url"),
        ("etcd://a?tls=yes", "tls"),
        ("etcd://a?tls=0&tls_ca=x", "tls"),
        ("etcd://a?tls_certificate=x", "tls_certificate"),
        ("etcd://a?names=raw", "names"),
        ("etcd://a?timeout=0", "url"),
        ("etcd://a/b%00c", "url"),
    ],
)
def test_what_is_wrong_is_named(url: str, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse(url)
    assert caught.value.field == field


async def test_files_that_do_not_do_are_refused() -> None:
    with pytest.raises(InvalidInput, match="tls_ca"):
        await registry.connect("etcd://127.0.0.1:1?tls_ca=/nonexistent")


def test_secrets_are_not_shown() -> None:
    access, _, _ = parse("etcd://me:hush@a:1")
    reference = Reference(7, lease_for("hush", 0), access)
    assert Reference.from_bytes(reference.to_bytes()) == reference
    for text in (repr(access), str(access), repr(reference), str(reference)):
        assert "hush" not in text
        assert member_id(reference.lease) not in text


@pytest.mark.parametrize(
    "ref",
    [b"incumbent-etcd/1/", b"incumbent-etcd/1/\x93\x01\x00\x94\x90\xa0\xa0\xc0", b"incumbent-cluster/1/\x90"],
)
def test_a_reference_of_something_else_is_refused(ref: bytes) -> None:
    """P77."""
    with pytest.raises(InvalidInput, match="ref"):
        Reference.from_bytes(ref)


def test_a_reference_that_is_too_long_is_refused() -> None:
    access = Access((("h" * 5000, 1),))
    with pytest.raises(InvalidInput, match="4096"):
        Reference(7, LeaseId(1), access).to_bytes()


def test_our_leases_are_told_from_others() -> None:
    lease = lease_for("request", 0)
    assert lease == lease_for("request", 0)
    assert len({lease, lease_for("request", 1), lease_for("other", 0)}) == 3
    assert lease_of(member_id(lease)) == lease
    assert member_id(lease).startswith("494e")
    for foreign in (
        "",
        "694d9d1c3b1a7f0a",
        "494e",
        member_id(lease).upper().replace("494E", "494E") + "0",
        "494e" + "g" * 12,
    ):
        assert lease_of(foreign) is None


def test_names_do_not_meet() -> None:
    """P5: no name's keys lie in another's range, and none in our own."""
    layout = Layout("/app/")
    names = ["a", "a/", "a/b", "%", "%2F", "a%2Fb", "%incumbent", "%incumbent/cells", "b/", "/"]
    assert len({escaped(name) for name in names}) == len(names)
    for name in names:
        key = layout.member_key(name, "1")
        inside = [n for n in names if layout.members(n).key <= key < layout.members(n).end]
        assert inside == [name]
        own = [layout.incarnation_key, layout.session_key(LeaseId(1)), layout.cell_key(name, "x")]
        assert not [k for k in own for n in names if layout.members(n).key <= k < layout.members(n).end]


def test_plain_names_keep_out_of_our_own_keys() -> None:
    with pytest.raises(InvalidInput, match="group"):
        Layout("", plain=True).members("%incumbent/cells/g")


@pytest.mark.parametrize("value", [b"", b"x", b"-1", b"128", b"0000", "²".encode()])
def test_what_is_no_incarnation_is_refused(value: bytes) -> None:
    """P77."""
    with pytest.raises(ProtocolViolation, match="no incarnation"):
        incarnation_of(OperationResult((KeyValue(b"k", value, Revision(1), Revision(1), 1, NO_LEASE),)))


# --- what a client sees of its etcd ------------------------------------------------------------------------------------


def seen(*, revision: int = 10, term: int = 3, incarnation: int = 0) -> Sight:
    sight = Sight()
    sight.see(sight.mark(), Header(1, 7, term, revision), linearizable=True)
    sight.see_incarnation(sight.mark(), incarnation)
    return sight


@pytest.mark.parametrize(
    ("header", "why"),
    [
        (Header(2, 7, 3, 11), "cluster"),
        (Header(1, 7, 2, 11), "term"),
        (Header(1, 7, 3, 9), "revision"),
    ],
)
def test_another_etcd_is_noticed_and_nothing_led_until_a_bump(header: Header, why: str) -> None:
    """P31: a connected client sees that the etcd was restored or wiped."""
    sight = seen()
    with pytest.raises(IncarnationChanged, match=why):
        sight.see(sight.mark(), header, linearizable=True)
    with pytest.raises(IncarnationChanged, match="raised to 1"):
        sight.see_incarnation(sight.mark(), 0)
    sight.see(sight.mark(), header._replace(revision=header.revision + 1), linearizable=True)
    with pytest.raises(IncarnationChanged):
        sight.check()
    sight.see_incarnation(sight.mark(), 1)
    sight.check()


def test_answers_out_of_order_and_members_that_lag_are_no_other_etcd() -> None:
    sight = seen()
    early = sight.mark()
    sight.see(sight.mark(), Header(1, 7, 4, 20), linearizable=True)
    sight.see(early, Header(1, 7, 3, 15), linearizable=True)  # it left before that
    sight.see(sight.mark(), Header(1, 8, 2, 5), linearizable=False)  # another member, which lags
    sight.check()
    assert (sight.revision, sight.terms) == (20, {7: 4, 8: 2})


def test_a_backup_older_than_the_last_bump_needs_another_one() -> None:
    """P31: the incarnation itself went back: the same number again would not do."""
    sight = seen(incarnation=3)
    with pytest.raises(IncarnationChanged, match="raised to 4"):
        sight.see_incarnation(sight.mark(), 2)
    with pytest.raises(IncarnationChanged):
        sight.see_incarnation(sight.mark(), 3)
    sight.see_incarnation(sight.mark(), 4)
