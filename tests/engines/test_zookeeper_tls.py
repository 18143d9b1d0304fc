"""The engine, kazoo and the guardian's ender over TLS, with a client certificate that the server asks for."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from incumbent.engines import registry
from incumbent.engines.api import CellWrite, Claimed
from incumbent.engines.zookeeper.ender import make_ender
from incumbent.errors import EngineUnavailable
from tests.engines.zookeeper_service import PATIENT
from tests.runtime.ports import free_addresses
from tests.servers.zookeeper import zookeeper

pytestmark = pytest.mark.slow

TTL_S = 30.0


async def test_everything_works_over_tls(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    mine = authority.issue_cert("client")
    mine.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    mine.cert_chain_pems[0].write_to_path(str(tmp_path / "certificate.pem"))
    keystore = tmp_path / "server.pem"
    keystore.write_bytes(_for_java(authority.issue_cert("127.0.0.1")))
    ((host, port),) = free_addresses("tls").values()
    options = (
        "serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory",
        f"secureClientPort={port}",
        f"secureClientPortAddress={host}",
        f"ssl.keyStore.location={keystore}",
        "ssl.keyStore.type=PEM",
        f"ssl.trustStore.location={tmp_path / 'ca.pem'}",
        "ssl.trustStore.type=PEM",
        "ssl.clientAuth=need",
    )
    files = f"tls_certificate={tmp_path / 'certificate.pem'}&tls_key={tmp_path / 'key.pem'}"
    url = f"zookeeper://app:geheim@{host}:{port}/tls?tls_ca={tmp_path / 'ca.pem'}"
    with zookeeper(tmp_path, 1, *PATIENT, *options):
        engine = await registry.connect(f"{url}&{files}")
        session = await engine.open_session(TTL_S, secrets.token_hex(16))
        claimed = await engine.claim(await engine.join(session, "g", "r", b""))
        assert isinstance(claimed, Claimed)
        await engine.write_cells("g", [CellWrite("c", b"x" * 200_000, 0)], claimed)
        await engine.renew(session)
        ender = make_ender()
        await ender.prepare(session.ref)
        assert await ender.end(session.ref)
        await ender.close()
        assert not (await engine.roster("g")).members
        found = await registry.examine(f"{url}&{files}")
        assert {finding.code for finding in found.findings} == {"standalone"}
        await engine.close()
        with pytest.raises(EngineUnavailable):
            await registry.examine(url)  # without a certificate


def _for_java(certificate: trustme.LeafCert) -> bytes:
    """Key and chain in one file, the key as PKCS#8."""
    key = load_pem_private_key(certificate.private_key_pem.bytes(), None)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem + b"".join(blob.bytes() for blob in certificate.cert_chain_pems)
