"""Rules of access: every decision on its own, and through real sockets with certificates and with secrets."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from tests.runtime.certificates import Authority
from tests.runtime.cluster import CLUSTER, Cluster

import incumbent
from incumbent.cli.settings import settings
from incumbent.engines.cluster.layout import INCARNATION_KEY, cell_key, group_range, member_key, members_range
from incumbent.errors import InvalidInput, NotAllowed
from incumbent.ids import LeaseId, Revision
from incumbent.kv.api import (
    Command,
    Compare,
    Condition,
    DeleteRange,
    Is,
    LeaseGrant,
    LeaseRevoke,
    Once,
    Put,
    Query,
    Range,
    Txn,
)
from incumbent.runtime.access import Access, Rule, Who, parse_rules, read_secret
from incumbent.runtime.client import ClusterClient
from incumbent.runtime.operator import Operator
from incumbent.runtime.tls import Tls, voter_name
from incumbent.runtime.voter import VoterConfig

SECRET = "a secret of enough characters"
OTHER = "another secret that nobody has"
RULES = (
    Rule("orders/*", frozenset({"app-1"})),
    Rule("orders/eu", secret=SECRET),
    Rule(None, frozenset({"ops"})),
)
TIMEOUT_S = 5.0


def who(*names: str, secrets: tuple[str, ...] = ()) -> Who:
    return Who.of(frozenset(names), secrets)


ORDERS = Put(member_key("orders/eu", "m"), b"")
FREE = Put(member_key("free", "m"), b"")


@pytest.mark.parametrize(
    ("asked", "stranger", "app", "secret"),
    [
        (FREE, True, True, True),  # no rule is about it
        (ORDERS, False, True, True),
        (Put(cell_key("orders/us", "c"), b""), False, True, False),
        (Once(LeaseId(1), 1, 0, ORDERS), False, True, True),
        (Range(*members_range("orders/eu")), False, True, True),
        (Txn(then=(FREE,), orelse=(ORDERS,)), False, True, True),
        (Txn((Condition(ORDERS.key, Compare.CREATE, Is.EQUAL, 0),), (FREE,)), False, True, True),
        (Txn(then=(Range(INCARNATION_KEY), FREE)), True, True, True),
        (Put(INCARNATION_KEY, b"9"), False, False, False),
        (DeleteRange(b"group\0", b"group\1"), False, False, False),  # every election's keys
        (Range(b"\0", b"\xff"), False, False, False),
        (Range(b"group\0free\0", b"group\0orders/eu\0m\0"), False, False, False),
        (Range(b"group\0free"), False, False, False),  # a name without its end is no election's key
        (Range(*group_range("free")), True, True, True),
        (LeaseGrant(LeaseId(1), 5), True, True, True),
        (LeaseRevoke(LeaseId(1)), True, True, True),
    ],
)
def test_who_may_ask_what(asked: Command | Query, stranger: bool, app: bool, secret: bool) -> None:  # noqa: FBT001
    access = Access(CLUSTER, RULES)
    assert access.may_ask(who("app-2", secrets=(OTHER,)), asked) is stranger
    assert access.may_ask(who("app-1"), asked) is app
    assert access.may_ask(who(secrets=(OTHER, SECRET)), asked) is secret
    for everything in (
        who("ops"),
        who(voter_name("a", CLUSTER)),
        who("app-2", voter_name("b", CLUSTER)),
    ):
        assert access.may_ask(everything, asked)
    assert not access.may_ask(who(voter_name("a", "other")), ORDERS)
    assert Access(CLUSTER, ()).may_ask(who(), asked)


def test_who_may_look_and_operate() -> None:
    access = Access(CLUSTER, RULES)
    assert access.may_look(who(), *group_range("free"))
    assert not access.may_look(who(), *group_range("orders/eu"))
    assert access.may_look(who("app-1"), *group_range("orders/eu"))
    assert access.may_operate(who("ops"))
    assert not access.may_operate(who("app-1"))
    assert Access(CLUSTER, ()).may_operate(who())
    assert not Access(CLUSTER, RULES[:1]).may_operate(who("app-1"))  # operators need a rule once there is any


def test_only_so_many_secrets_are_looked_at_and_none_is_printed() -> None:
    access = Access(CLUSTER, RULES)
    assert not access.may_ask(who(secrets=(*[OTHER] * 8, SECRET)), ORDERS)
    assert SECRET not in repr(RULES)
    assert SECRET not in repr(who(secrets=(SECRET,)))


def test_rules_are_read_from_the_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(SECRET + "\n")
    file = tmp_path / "node.toml"
    file.write_text(
        f'node = "a"\ndata_dir = "{tmp_path}/a"\nlisten = "127.0.0.1:7400"\n'
        '[[allow]]\nelection = "orders/*"\nnames = ["App-1"]\n'
        f'[[allow]]\noperator = true\nsecret_file = "{tmp_path}/secret"\n'
    )
    allow = settings(str(file), {}, {}).voter.allow
    assert allow == (Rule("orders/*", frozenset({"app-1"})), Rule(None, secret=SECRET))


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"names": ["a"]}, "about nothing"),
        ({"election": "e", "operator": True, "names": ["a"]}, "about two things"),
        ({"election": "", "names": ["a"]}, "no text"),
        ({"election": "e"}, "admits nobody"),
        ({"election": "e", "names": "a"}, "list of texts"),
        ({"election": "e", "name": ["a"]}, "means nothing"),
        ({"election": "e", "secret_file": "/nowhere/at/all"}, "cannot be read"),
    ],
)
def test_a_wrong_rule_is_named(table: dict[str, object], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        parse_rules([table])


def test_a_short_secret_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("short")
    with pytest.raises(InvalidInput, match="5 characters"):
        read_secret(tmp_path / "secret")


class Restricted(Cluster):
    def config(self, name: str) -> VoterConfig:
        return replace(super().config(name), allow=RULES)


@pytest.mark.slow
async def test_by_certificate_over_real_sockets(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    one = Restricted(tmp_path, "a", "b", "c", tls=lambda node: authority.issue(voter_name(node, CLUSTER)))
    await one.start()
    try:
        await one.leader()

        def client(name: str) -> ClusterClient:
            return ClusterClient(one.addresses, CLUSTER, tls=Tls(authority.issue(name)))

        stranger, app = client("app-2"), client("app-1")
        await app.submit(ORDERS, timeout=TIMEOUT_S)
        await stranger.submit(FREE, timeout=TIMEOUT_S)
        with pytest.raises(NotAllowed):
            await stranger.submit(ORDERS, timeout=TIMEOUT_S)
        with pytest.raises(NotAllowed):
            await stranger.read(Range(ORDERS.key), timeout=TIMEOUT_S)
        with pytest.raises(NotAllowed):
            async for _ in stranger.watch(*group_range("orders/eu"), Revision(0)):
                pass
        assert (await app.read(Range(ORDERS.key), timeout=TIMEOUT_S)).results[0].kvs
        for name in one.names:  # each node's own client is a node
            async with one.client(name) as own:
                await own.submit(ORDERS, timeout=TIMEOUT_S)
        loop = asyncio.get_running_loop()
        for files, admitted in ((authority.issue("ops"), True), (authority.issue("app-1"), False)):
            operator = Operator(CLUSTER, [one.addresses["a"]], loop.time() + 2.0, tls=Tls(files))
            if admitted:
                await operator.everyone()
            else:
                with pytest.raises(incumbent.errors.IncumbentError, match="no rule admits"):
                    await operator.everyone()
        await stranger.close()
        await app.close()
    finally:
        await one.stop()


@pytest.mark.slow
async def test_by_secret_through_the_whole_api(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(SECRET)
    one = Restricted(tmp_path, "a")
    await one.start()
    try:
        host, port = one.addresses["a"]
        for query, admitted in (("", False), (f"?secret_file={tmp_path}/secret", True)):
            async with incumbent.connect(f"cluster://{host}:{port}{query}") as cluster:
                assert await led(cluster, "free")
                if admitted:
                    assert await led(cluster, "orders/eu")
                else:
                    with pytest.raises(NotAllowed):
                        await led(cluster, "orders/eu")
    finally:
        await one.stop()


async def led(cluster: incumbent.Cluster, election: str) -> bool:
    async with asyncio.timeout(TIMEOUT_S), cluster.election(election).campaign() as term:
        return term.token > 0
