"""How the API server is found and trusted, and the small HTTP client: every odd input is refused in words."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from incumbent.engines.http import HttpClient, parse_retry_after
from incumbent.engines.kubernetes import access as access_module
from incumbent.engines.kubernetes import connect, parse
from incumbent.engines.kubernetes.access import Place, find_place, open_access
from incumbent.engines.kubernetes.reference import Reference
from incumbent.errors import EngineUnavailable, InvalidInput, OutcomeUnknown
from incumbent.testing.kubernetes import KubernetesFake
from tests.runtime.certificates import Authority

YAML = """
apiVersion: v1
kind: Config
current-context: one
contexts:
- name: one
  context: {cluster: c, user: u, namespace: apps}
- name: two
  context: {cluster: c, user: u}
clusters:
- name: c
  cluster: {server: "http://127.0.0.1:6443/prefix"}
users:
- name: u
  user: {token: sesame}
"""


def config(user: Any = None, **cluster: Any) -> str:
    return json.dumps(
        {
            "current-context": "one",
            "contexts": [{"name": "one", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {"server": "http://h:1"} | cluster}],
            "users": [{"name": "u", "user": user or {}}],
        }
    )


def place(path: Path, text: str, context: str = "", namespace: str = "") -> Place:
    (path / "config").write_text(text)
    return Place(str(path / "config"), context, namespace)


def test_a_kubeconfig_in_yaml_is_read(tmp_path: Path) -> None:
    access = open_access(place(tmp_path, YAML))
    assert (access.host, access.port, access.prefix, access.tls) == ("127.0.0.1", 6443, "/prefix", None)
    assert (access.namespace, access.token()) == ("apps", "sesame")
    assert "sesame" not in repr(access)
    assert open_access(place(tmp_path, YAML, "two")).namespace == "default"
    assert open_access(place(tmp_path, YAML, "two", "mine")).namespace == "mine"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "neither JSON nor YAML"),
        ("a: [", "neither JSON nor YAML"),
        ("[]", "no object"),
        ("{}", "current-context"),
        (config(user={"exec": {"command": "aws"}}), "exec"),
        (config(user={"auth-provider": {"name": "gcp"}}), "auth-provider"),
        (config(user={"username": "u", "password": "p"}), "username"),
        (config(user={"as": "root"}), "`as`"),
        (config(**{"insecure-skip-tls-verify": True}), "insecure-skip-tls-verify"),
        (config(**{"proxy-url": "http://p"}), "proxy-url"),
        (config(server="ftp://h"), "http or https"),
        (config(server=7), "no string"),
        (config(server="https://h", **{"certificate-authority-data": "?"}), "no base64"),
        (config(server="https://h", **{"certificate-authority-data": "eA=="}), "certificates"),
        (config(server="https://h", **{"certificate-authority": "missing.pem"}), "certificates"),
        (config().replace('"one"', '"x"', 1), "no context named 'x'"),
    ],
)
def test_what_a_kubeconfig_may_not_say_is_refused(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        open_access(place(tmp_path, text))
    assert caught.value.field == "kubeconfig"
    assert says in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "kubernetes://a,b",
        "kubernetes://a:80",
        "kubernetes://user@a",
        "kubernetes://a/b",
        "kubernetes://A",
        "kubernetes://a_b",
        "kubernetes://-a",
        "kubernetes://" + "a" * 64,
        "kubernetes://a?contxt=x",
        "kubernetes://a?timeout=0",
        "kubernetes://a?kubeconfig=/nowhere",
    ],
)
def test_a_wrong_url_is_refused(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    file = tmp_path / "config"
    file.write_text(config())
    monkeypatch.setenv("KUBECONFIG", str(file))
    with pytest.raises(InvalidInput):
        parse(url)


def test_where_it_looks_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    assert find_place("", "", "") == Place("", "", "")
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    with pytest.raises(InvalidInput):
        find_place("", "", "")
    (tmp_path / "config").write_text(YAML)
    assert find_place("", "c", "n") == Place(str(tmp_path / "config"), "c", "n")


def test_a_pod_uses_its_service_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = Authority(tmp_path / "ca")
    monkeypatch.setattr(access_module, "SERVICE_ACCOUNT", tmp_path)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "6443")
    monkeypatch.delenv("KUBERNETES_SERVICE_PORT_HTTPS", raising=False)
    with pytest.raises(InvalidInput):
        open_access(Place("", "", ""))
    (tmp_path / "ca.crt").write_text(authority.file.read_text())
    (tmp_path / "namespace").write_text("apps\n")
    (tmp_path / "token").write_text("one\n")
    access = open_access(Place("", "", ""))
    assert (access.host, access.port, access.namespace, access.token()) == ("10.0.0.1", 6443, "apps", "one")
    (tmp_path / "token").write_text("two\n")
    assert access.token() == "one"
    assert access.token(afresh=True) == "two"
    (tmp_path / "token").unlink()
    with pytest.raises(EngineUnavailable):
        access.token(afresh=True)


async def test_tls_and_a_client_certificate(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    served, ours = authority.issue("127.0.0.1"), authority.issue("client")
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(authority.file))
    tls.load_cert_chain(served.certificate, served.key)
    tls.verify_mode = ssl.CERT_REQUIRED
    async with KubernetesFake(token="", tls=tls) as fake:
        user = {
            "client-certificate-data": base64.b64encode(ours.certificate.read_bytes()).decode(),
            "client-key-data": base64.b64encode(ours.key.read_bytes()).decode(),
        }
        ca = {"certificate-authority": str(authority.file)}
        file = place(tmp_path, config(user, server=fake.url, **ca)).kubeconfig
        engine = await connect(f"kubernetes://default?kubeconfig={file}")
        assert (await engine.roster("e")).members == ()
        await engine.close()
        stranger = Authority(tmp_path / "other")
        file = place(
            tmp_path, config(user, server=fake.url, **{"certificate-authority": str(stranger.file)})
        ).kubeconfig
        with pytest.raises(EngineUnavailable):
            await connect(f"kubernetes://default?kubeconfig={file}")


@pytest.mark.parametrize(
    "ref", [b"x", b"incumbent-kubernetes/1/", b"incumbent-kubernetes/1/\x93\x01", b"incumbent-local/1/x"]
)
def test_a_garbled_reference_is_refused(ref: bytes) -> None:
    """P77."""
    with pytest.raises(InvalidInput):
        Reference.from_bytes(ref)


# --- the HTTP client --------------------------------------------------------------------------------------------------

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def served(*replies: bytes) -> AsyncIterator[tuple[HttpClient, list[bytes]]]:
    """A server that answers one request after the other with these bytes, each on a connection of its own."""
    left, asked = list(replies), list[bytes]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(left.pop(0))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    client = HttpClient("127.0.0.1", server.sockets[0].getsockname()[1], None)
    try:
        yield client, asked
    finally:
        await client.close()
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize(
    ("reply", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", b"ok"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1;x=y\r\nk\r\n0\r\nA: b\r\n\r\n",
            b"ok",
        ),
        (b"HTTP/1.0 200 OK\r\n\r\nok", b"ok"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", b"ok"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
    ],
)
async def test_answers_are_read(reply: bytes, body: bytes) -> None:
    async with served(reply) as (client, asked):
        assert (await client.request("GET", "/x", {}, b"", timeout=5)).body == body
        assert asked[0].startswith(b"GET /x HTTP/1.1\r\nHost: 127.0.0.1:")


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 xyz\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffff\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"".join(b"h%d: x\r\n" % n for n in range(300)) + b"\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * (5 << 20) + b"\r\n\r\n",
    ],
)
async def test_an_answer_that_is_none_leaves_the_outcome_unknown(reply: bytes) -> None:
    """P77: and the request is not sent again."""
    async with served(reply, reply) as (client, asked):
        with pytest.raises(OutcomeUnknown):
            await client.request("PUT", "/x", {}, b"{}", timeout=5)
        assert len(asked) == 1


async def test_who_does_not_listen_was_certainly_not_asked() -> None:
    client = HttpClient("127.0.0.1", 1, None)
    with pytest.raises(EngineUnavailable):
        await client.request("PUT", "/x", {}, b"", timeout=5)
    await client.close()
    with pytest.raises(EngineUnavailable):
        await client.request("PUT", "/x", {}, b"", timeout=5)


async def test_the_last_line_of_a_stream_needs_no_end() -> None:
    """A refusal of a watch is one line without one; lost, the watch would look like one that ended well."""
    async with served(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 5\r\n\r\none\n2") as (client, _):
        items = [item async for item in client.lines("/x", {}, silence_s_max=5)]
        assert items[1:] == [b"one", b"2"]
    async with served(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n") as (client, _):
        with pytest.raises(EngineUnavailable):
            [item async for item in client.lines("/x", {}, silence_s_max=5)]


def test_retry_after_is_seconds_or_a_while() -> None:
    assert parse_retry_after({}) is None
    assert parse_retry_after({"retry-after": "3"}) == 3.0
    assert parse_retry_after({"retry-after": "-3"}) == 0.0
    assert parse_retry_after({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}) == 1.0
