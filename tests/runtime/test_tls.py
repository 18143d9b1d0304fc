"""Mutual TLS on real sockets: who gets in, who does not and what both sides are told, and certificates that are replaced."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from tests.runtime.certificates import Authority
from tests.runtime.cluster import CLUSTER, Cluster, cluster, until

from incumbent.engines.cluster import connect
from incumbent.errors import EngineUnavailable, IdentityMismatch, InvalidInput
from incumbent.kv.api import Put, Range
from incumbent.runtime.caller import Caller
from incumbent.runtime.client import ClusterClient
from incumbent.runtime.config import VoterConfig, check_config
from incumbent.runtime.connection import LIMITS, Connection
from incumbent.runtime.formation import peer_hello
from incumbent.runtime.frames import Address, Frame, Refuse
from incumbent.runtime.operator import Line
from incumbent.runtime.tls import Tls, TlsFiles, dial, voter_name
from incumbent.runtime.voter import Voter

TIMEOUT_S = 5.0


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ca")


@asynccontextmanager
async def secured(path: Path, authority: Authority, *names: str) -> AsyncIterator[Cluster]:
    async with cluster(path, *names, tls=lambda node: authority.issue(voter_name(node, CLUSTER))) as made:
        yield made


async def works(address: Address, files: TlsFiles | None) -> None:
    client = ClusterClient({"a": address}, CLUSTER, tls=None if files is None else Tls(files))
    try:
        await client.submit(Put(b"k", b"v"), timeout=TIMEOUT_S)
    finally:
        await client.close()


async def refused(address: Address, files: TlsFiles | None) -> str:
    with pytest.raises(EngineUnavailable) as raised:
        await Caller.dial(CLUSTER, address, LIMITS, tls=None if files is None else Tls(files))
    return str(raised.value)


@pytest.mark.slow
async def test_three_voters_and_a_client_speak_tls_and_elect_again(
    tmp_path: Path, authority: Authority
) -> None:
    async with secured(tmp_path, authority, "a", "b", "c") as three:
        client = ClusterClient(three.addresses, CLUSTER, tls=Tls(authority.issue("app-1")))
        await client.submit(Put(b"k", b"v"), timeout=TIMEOUT_S)
        leader = await three.leader()
        await three.kill(leader)
        assert (await client.read(Range(b"k"), timeout=TIMEOUT_S)).results[0].kvs[0].value == b"v"
        assert await three.leader() != leader
        await client.close()


@pytest.mark.slow
async def test_each_kind_of_wrong_certificate_is_refused_and_named(
    tmp_path: Path, authority: Authority
) -> None:
    stranger = Authority(tmp_path / "other")
    good = authority.issue("app-1")
    foreign = stranger.issue("app-1")
    async with secured(tmp_path, authority, "a") as one:
        address = one.addresses["a"]
        await works(address, good)
        plain = await refused(address, None)
        assert "may want TLS" in plain or "reset" in plain
        for wrong, words in (
            (authority.issue("app-1", expired=True), "may refuse this side's certificate"),
            (replace(foreign, ca=good.ca), "may refuse this side's certificate"),
            (replace(good, ca=foreign.ca), "tls_ca says whom this side trusts"),
        ):
            assert words in await refused(address, wrong)
        await works(address, good)
        assert one.voters["a"]._network.counts["refused_tls"] >= 3


@pytest.mark.slow
async def test_tls_to_a_port_without_is_told_so(tmp_path: Path, authority: Authority) -> None:
    async with cluster(tmp_path, "a") as one:
        assert "does not speak TLS" in await refused(one.addresses["a"], authority.issue("app-1"))
        await works(one.addresses["a"], None)


@pytest.mark.slow
async def test_a_clients_certificate_cannot_speak_as_a_voter(tmp_path: Path, authority: Authority) -> None:
    async with secured(tmp_path, authority, "a", "b", "c") as three:
        leader = await three.leader()
        identity = three.voters["b"]._lobby._identity
        hello = peer_hello(CLUSTER, "b", identity.disk, three.names, identity.membership)

        def introduce(connection: Connection) -> None:
            connection.send(hello)

        for files, admitted in (
            (authority.issue("b"), False),
            (authority.issue(voter_name("b", "another")), False),
            (authority.issue(voter_name("a", CLUSTER)), False),
            (authority.issue(voter_name("b", CLUSTER)), True),  # so it is the certificate that decides
        ):
            heard: list[Frame] = []
            connection = Connection(
                LIMITS,
                on_connected=introduce,
                on_frame=lambda _, frame: heard.append(frame),  # noqa: B023  - used before the next round
                on_closed=lambda _: None,
            )
            await dial(lambda: connection, three.addresses["a"], Tls(files))  # noqa: B023
            await until(lambda: heard)  # noqa: B023
            assert isinstance(heard[0], Refuse) is not admitted
            if isinstance(heard[0], Refuse):
                assert heard[0].field == "tls_certificate"
                assert voter_name("b", CLUSTER) in heard[0].problem
            connection.abort()
        assert await three.leader() == leader or leader == "b"


@pytest.mark.slow
async def test_a_client_finds_out_that_a_voter_is_not_who_it_says(
    tmp_path: Path, authority: Authority
) -> None:
    async with cluster(tmp_path, "a", tls=lambda _: authority.issue("app-2")) as one:
        with pytest.raises(IdentityMismatch, match="not for voter"):
            await Caller.dial(CLUSTER, one.addresses["a"], LIMITS, tls=Tls(authority.issue("app-1")))
        with pytest.raises(IdentityMismatch, match="not for voter"):
            async with Line.dial(CLUSTER, one.addresses["a"], Tls(authority.issue("app-1"))):
                pass


@pytest.mark.slow
async def test_a_renewed_certificate_is_used_without_restart_and_a_bad_one_is_not(
    tmp_path: Path, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    files = authority.issue(voter_name("a", CLUSTER))
    client = authority.issue("app-1")
    async with cluster(tmp_path, "a", tls=lambda _: files) as one:
        voter = one.voters["a"]
        held = await Caller.dial(CLUSTER, one.addresses["a"], LIMITS, tls=Tls(client))
        before = await _serial(one.addresses["a"], client)
        authority.issue(voter_name("a", CLUSTER), into=files)
        await until(lambda: _look_again(voter))
        after = await _serial(one.addresses["a"], client)
        assert before != after
        assert held.is_open
        files.certificate.write_text("no certificate")
        os.utime(files.certificate, ns=(1, 1))
        assert not voter.reload_certificates()
        assert "the certificate in use stays" in caplog.text
        assert await _serial(one.addresses["a"], client) == after
        await held.close()


def _look_again(voter: Voter) -> bool:
    tls = voter._lobby.tls
    assert tls is not None
    known = tls.server()
    tls._looked_s = 0.0
    return tls.server() is not known


async def _serial(address: Address, files: TlsFiles) -> object:
    _, writer = await asyncio.open_connection(*address, ssl=Tls(files).client(), server_hostname="")
    serial = writer.get_extra_info("peercert")["serialNumber"]
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return serial


@pytest.mark.slow
async def test_silent_handshakes_are_bounded_and_others_are_served(
    tmp_path: Path, authority: Authority
) -> None:
    async with secured(tmp_path, authority, "a") as one:
        address = one.addresses["a"]
        silent = [await asyncio.open_connection(*address) for _ in range(LIMITS.handshakes_max + 20)]
        network = one.voters["a"]._network
        await until(lambda: network.counts["refused_handshakes"] >= 20)
        assert len(network._introducing) <= LIMITS.handshakes_max
        for _, writer in silent:
            writer.close()
        await until(lambda: not network._introducing)
        await works(address, authority.issue("app-1"))


@pytest.mark.slow
async def test_the_engine_and_its_guardians_reference_carry_the_files(
    tmp_path: Path, authority: Authority
) -> None:
    from incumbent.engines.cluster.ender import make_ender

    mine = authority.issue("app-1")
    async with secured(tmp_path, authority, "a") as one:
        host, port = one.addresses["a"]
        query = f"tls_certificate={mine.certificate}&tls_key={mine.key}&tls_ca={mine.ca}"
        engine = await connect(f"cluster://{host}:{port}?{query}")
        session = await engine.open_session(5.0, "r-1")
        ender = make_ender()
        assert await ender.end(session.ref)
        await ender.close()
        await engine.close()


def test_settings_name_what_is_missing(tmp_path: Path, authority: Authority) -> None:
    with pytest.raises(InvalidInput) as raised:
        TlsFiles.of("certificate.pem", None, "ca.pem")
    assert raised.value.field == "tls_key"
    assert TlsFiles.of(None, None, None) is None
    good = authority.issue("a")
    for field, files in (
        ("tls_certificate", replace(good, certificate=tmp_path / "none.pem")),
        ("tls_certificate", replace(good, key=authority.issue("b").key)),
        ("tls_ca", replace(good, ca=tmp_path / "none.pem")),
    ):
        with pytest.raises(InvalidInput) as raised:
            Tls(files)
        assert raised.value.field == field


def test_beyond_loopback_tls_or_insecure_is_needed(tmp_path: Path, authority: Authority) -> None:
    config = VoterConfig(cluster=CLUSTER, node="a", data_dir=tmp_path, listen=("10.0.0.1", 7400))
    with pytest.raises(InvalidInput, match="tls_certificate"):
        check_config(config)
    check_config(replace(config, tls=authority.issue("x")))
    check_config(replace(config, insecure=True))
