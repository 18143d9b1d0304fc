"""URLs are taken apart once, refused by name, and never printed with their secrets; engines load when used."""

from __future__ import annotations

import json
import subprocess
import sys
import types
from importlib.metadata import EntryPoint

import pytest

from incumbent.engines import registry
from incumbent.engines.url import EngineUrl, Host
from incumbent.errors import InvalidInput, Unsupported
from tests.engines.stranger import StrangerEnder, StrangerEngine, StrangerStore


def test_a_url_is_taken_apart() -> None:
    url = EngineUrl.parse("etcd://me:p%40ss@10.0.0.1:2379,[::1]:80,db/a%20b?tls=on&password=x")
    assert url.scheme == "etcd"
    assert url.hosts == (Host("10.0.0.1", 2379), Host("::1", 80), Host("db", None))
    assert (url.path, url.user, url.password) == ("/a b", "me", "p@ss")
    assert url.options == {"tls": "on", "password": "x"}


def test_secrets_are_not_printed() -> None:
    url = EngineUrl.parse("etcd://me:hush@h:1,[::1]:2/p?password=hush&token=hush&tls=on")
    for text in (str(url), repr(url), f"{url}"):
        assert "hush" not in text
    assert str(url) == "etcd://me:***@h:1,[::1]:2/p?password=***&token=***&tls=on"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "local",
        "local:/x",
        "://x",
        "lo cal:///x",
        "etcd://u:hush@h:1:2",
        "etcd://u:hush@h:0",
        "etcd://u:hush@h:99999",
        "etcd://u:hush@h:²",
        "etcd://u:hush@[::1",
        "etcd://u:hush@a,,b",
        "etcd://u:hush@h#frag",
        "etcd://u:hush@h?a=1&a=2",
        "etcd://u:hush@h?a",
    ],
)
def test_a_url_that_cannot_be_read_names_the_field_and_keeps_the_secret(url: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        EngineUrl.parse(url)
    assert caught.value.field == "url"
    assert caught.value.fix
    assert "hush" not in str(caught.value)


def test_unknown_options_are_refused_by_name() -> None:
    url = EngineUrl.parse("local:///x?bussy_timeout=1")
    with pytest.raises(InvalidInput, match="bussy_timeout.*busy_timeout"):
        url.allow_options({"busy_timeout"})
    url.allow_options({"bussy_timeout"})


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "soon", ""])
def test_a_duration_is_a_positive_number_of_seconds(text: str) -> None:
    with pytest.raises(InvalidInput, match="t="):
        EngineUrl.parse(f"local:///x?t={text}").seconds("t", 1.0)


async def test_an_unknown_scheme_lists_what_is_known() -> None:
    for attempt in (registry.connect("zoo://h"), registry.connect("zoo://u:hush@h", x=1)):
        with pytest.raises(InvalidInput, match=r"'zoo'.*cluster.*local") as caught:
            await attempt
        assert caught.value.field == "url"
    with pytest.raises(InvalidInput, match="known"):
        registry.ender("zoo")


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A stranger's package, registered under a scheme of its own and under one of ours."""
    seen: list[str] = []

    async def connect(url: str) -> StrangerEngine:
        seen.append(url)
        return StrangerEngine(StrangerStore(lambda: 0))

    package = types.ModuleType("strange_engine")
    package.connect = connect  # type: ignore[attr-defined]
    ender = types.ModuleType("strange_engine.ender")
    ender.make_ender = lambda: StrangerEnder(StrangerStore(lambda: 0))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "strange_engine", package)
    monkeypatch.setitem(sys.modules, "strange_engine.ender", ender)
    points = [EntryPoint(s, "strange_engine:connect", "incumbent.engines") for s in ("strange", "local")]
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: points)
    return seen


async def test_a_registered_engine_is_found_and_options_reach_it(registered: list[str]) -> None:
    engine = await registry.connect("strange://h", password="a&b", depth=3)
    assert isinstance(engine, StrangerEngine)
    assert registered == ["strange://h?password=a%26b&depth=3"]
    assert isinstance(registry.ender("strange://h"), StrangerEnder)
    assert "strange" in registry.known_schemes()


async def test_required_guarantees_are_checked(registered: list[str]) -> None:
    await registry.connect("strange://h", require=["linearizable", "fenced"])
    with pytest.raises(Unsupported, match=r"strange://.*survives_failover, fifo_with_foreign"):
        await registry.connect("strange://h", require=["fenced", "survives_failover", "fifo_with_foreign"])
    for name in ("fast", "server_clock"):
        with pytest.raises(InvalidInput, match=name):
            await registry.connect("strange://h", require=[name])


def test_nobody_can_take_the_names_of_our_engines(registered: list[str]) -> None:
    assert registry._find("local") == ("incumbent.engines.local", "connect")


def test_importing_the_registry_imports_no_engine() -> None:
    code = (
        "import json, sys, incumbent.engines.registry; "
        "print(json.dumps([m for m in sys.modules if m in ('sqlite3', 'asyncio', 'importlib.metadata') "
        "or m.startswith('incumbent.engines.')]))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert set(json.loads(out)) == {
        f"incumbent.engines.{m}" for m in ("api", "examination", "url", "registry")
    }
