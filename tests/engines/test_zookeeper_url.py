"""What a `zookeeper://` URL may say, how names become nodes, and what no queue may hold."""

from __future__ import annotations

import pytest

from incumbent.engines.zookeeper.history import History
from incumbent.engines.zookeeper.layout import (
    SEQUENCE_MAX,
    Tree,
    escape,
    member_prefix,
    queue,
    read_member,
)
from incumbent.engines.zookeeper.place import Layout, Place, parse
from incumbent.engines.zookeeper.reference import Reference
from incumbent.errors import IncarnationChanged, InvalidInput, Unsupported

SESSION = 0xFEDC_BA98_7654_3210


def test_an_url_is_read() -> None:
    place = parse("zookeeper://app:pw%40x@one,two:99,[::1]:7/services/x/?layout=curator")
    assert place == Place((("one", 2181), ("two", 99), ("::1", 7)), "/services/x", Layout.CURATOR, "app:pw@x")
    assert "pw@x" not in repr(place)
    assert parse("zookeeper://h/").root == parse("zookeeper://h").root == "/incumbent"


@pytest.mark.parametrize(
    ("url", "field"),
    [
        ("zookeeper:///services", "url"),
        ("zookeeper://user@h/x", "url"),
        ("zookeeper://h/a//b", "url"),
        ("zookeeper://h/../b", "url"),
        ("zookeeper://h/zookeeper/x", "url"),
        (f"zookeeper://h/{'x' * 600}", "url"),
        ("zookeeper://h/x?layuot=kazoo", "url"),
        ("zookeeper://h/x?layout=etcd", "layout"),
        ("zookeeper://h/x?tls_key=/k", "tls_ca"),
        ("zookeeper://h/x?tls_ca=/nowhere", "tls_ca"),
        ("zookeeper://h/x?tls_ca=/c&tls_key=/k", "tls_certificate"),
    ],
)
def test_a_bad_url_is_refused(url: str, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse(url)
    assert caught.value.field == field


def test_names_become_nodes_and_never_the_same() -> None:
    """P5."""
    assert escape("scheduler.main-1") == "scheduler.main-1"
    names = ["a/b", "a%2Fb", ".", "..", ".incumbent", "%2E", "ü", "u\u0308", "\x01", "\ue000", "a"]
    nodes = [escape(name) for name in names]
    assert len(set(nodes)) == len(names)
    assert all("/" not in node and not node.startswith(".") and node.isascii() for node in nodes)
    assert Tree("/r").group(".incumbent") != Tree("/r").home


@pytest.mark.parametrize("layout", list(Layout))
def test_a_members_name_says_whose_it_is(layout: Layout) -> None:
    one, two = (member_prefix(layout, SESSION, request) for request in ("r1", "r2"))
    assert one != two
    seat = read_member(layout, f"{one}0000000012")
    assert seat is not None
    assert (seat.session, seat.sequence) == (SESSION, 12)
    assert read_member(layout, one) is None


def test_a_queue_is_in_the_order_of_its_numbers() -> None:
    """P35: not of its texts."""
    names = ["b__lock__0000000010", "a__lock__0000000011", "c__lock__0000000009", "a child of somebody's"]
    assert [seat.sequence for seat in queue(Layout.KAZOO, names)] == [9, 10, 11]


@pytest.mark.parametrize("sequence", ["2147483647", "-2147483648", f"{SEQUENCE_MAX:010d}"])
def test_a_sequence_that_runs_over_is_refused(sequence: str) -> None:
    """P35: kazoo compares texts, and "-2147483648" sorts first."""
    names = [f"a__lock__{SEQUENCE_MAX - 1:010d}"]
    assert len(queue(Layout.KAZOO, names)) == 1
    with pytest.raises(Unsupported, match="runs over"):
        queue(Layout.KAZOO, [*names, f"b__lock__{sequence}"])


def test_a_reference_is_read_back_and_keeps_its_secret() -> None:
    reference = Reference("/r", "/r/.incumbent/sessions/x", SESSION, b"p" * 16, 5.0, 1.0, 6000, (("h", 1),))
    assert Reference.from_bytes(reference.to_bytes()) == reference
    assert "ppp" not in repr(reference)
    with pytest.raises(InvalidInput):
        Reference("/r", "/n", 1, b"", 5.0, 1.0, 6000, tuple((f"{n:0200d}", 1) for n in range(30))).to_bytes()


def test_a_history_that_goes_back_ends_all_until_the_incarnation_is_raised() -> None:
    """P31."""
    history = History()
    history.committed(0, 100)
    history.found(2)
    history.committed(100, 101)
    history.committed(101, 0)  # not known
    assert history.breaks == 0
    history.committed(101, 50)
    assert history.breaks == 1
    for _ in range(2):
        with pytest.raises(IncarnationChanged):
            history.found(2)
    history.committed(50, 51)
    history.found(3)
    history.found(3)
    with pytest.raises(IncarnationChanged):
        history.found(2)
