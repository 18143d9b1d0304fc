"""What the local engine refuses at the door: wrong URLs, directories that are not ours, files that are not whole."""

from __future__ import annotations

import secrets
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from incumbent.engines import registry
from incumbent.engines.api import CellWrite
from incumbent.engines.local import connect
from incumbent.engines.local.directory import prepare_directory
from incumbent.engines.local.engine import LocalEngine
from incumbent.engines.local.reference import Reference
from incumbent.engines.local.schema import APPLICATION_ID
from incumbent.engines.local.store import Store
from incumbent.errors import EngineError, EngineUnavailable, InvalidInput, StorageCorrupt, Unsupported
from incumbent.runtime.mounts import refuse_network_file_system


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("local://", "names no directory"),
        ("local:///", "names no directory"),
        ("local://relative/dir", "takes no host"),
        ("local:///d%00x", "names no directory"),
        ("local:///tmp/x?busy=1", "'busy'"),
        ("local:///tmp/x?busy_timeout=-1", "busy_timeout"),
        ("local:///" + "d" * 200 + ("/" + "d" * 200) * 20, "too long"),
        ("local:///proc/incumbent", "cannot be used"),
        ("local:///dev/null", "no directory"),
    ],
)
async def test_a_wrong_url_names_the_field_and_the_fix(url: str, says: str) -> None:
    with pytest.raises(InvalidInput, match=says) as caught:
        await registry.connect(url)
    assert caught.value.field == "url"
    assert caught.value.fix


async def test_connect_by_url(tmp_path: Path) -> None:
    engine = await registry.connect(f"local://{tmp_path}/a%20b", busy_timeout=2, require=["fenced"])
    await engine.close()
    assert (tmp_path / "a b" / "incumbent.db").exists()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "not written by incumbent"),
        (b"hello\n" * 100, "cannot be read"),
        (b"SQLite format 3\0", "cannot be"),
    ],
)
async def test_a_foreign_file_is_refused_and_left_alone(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "incumbent.db"
    path.write_bytes(content)
    with pytest.raises(InvalidInput, match=says):
        await connect(f"local://{tmp_path}")
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {"incumbent.db": content}


async def test_another_programs_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "incumbent.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE theirs (x)")
        database.commit()
    before = path.read_bytes()
    with pytest.raises(InvalidInput, match="not written by incumbent"):
        await connect(f"local://{tmp_path}")
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {"incumbent.db": before}


async def test_another_format_is_refused(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "incumbent.db")) as database:
        database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        database.execute("PRAGMA user_version = 99")
    with pytest.raises(InvalidInput, match="format 99"):
        await connect(f"local://{tmp_path}")


async def test_a_damaged_database_is_refused(tmp_path: Path) -> None:
    engine = await connect(f"local://{tmp_path}")
    for n in range(20):
        await engine.write_cells("g", [CellWrite(f"c{n}", secrets.token_bytes(4096), None)], None)
    await engine.close()
    path = tmp_path / "incumbent.db"
    content = bytearray(path.read_bytes())
    for page in range(4096, len(content), 4096):
        content[page : page + 64] = secrets.token_bytes(64)
    path.write_bytes(content)
    with pytest.raises(StorageCorrupt, match="url: .*damaged.*move the directory away"):
        await connect(f"local://{tmp_path}")
    assert path.read_bytes() == content


async def test_a_directory_that_others_may_write_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(InvalidInput, match="chmod 700"):
        await connect(f"local://{tmp_path}")
    assert list(tmp_path.iterdir()) == []


async def test_a_link_in_the_databases_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "incumbent.db").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InvalidInput, match="no regular file"):
        await connect(f"local://{tmp_path}")
    assert not (tmp_path / "elsewhere").exists()


MOUNTS = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
40 22 0:33 / /srv rw,relatime shared:2 - nfs4 server:/srv rw
41 40 0:34 / /srv/fast\\040disk rw,relatime - xfs /dev/vdb rw
42 22 0:35 / /home rw,relatime - fuse.sshfs me@host: rw
43 22 0:36 / /ho rw,relatime - cifs //host/share rw
"""


def test_network_file_systems_are_refused(tmp_path: Path) -> None:
    """P50."""
    mountinfo = tmp_path / "mountinfo"
    mountinfo.write_text(MOUNTS)
    for bad, kind in (("/srv/x", "nfs4"), ("/srv", "nfs4"), ("/home/me", "fuse.sshfs"), ("/ho", "cifs")):
        with pytest.raises(InvalidInput, match=kind):
            refuse_network_file_system("url", Path(bad), mountinfo)
    for good in ("/var/lib/app", "/srv/fast disk/x", "/hom", "/srvx"):
        refuse_network_file_system("url", Path(good), mountinfo)
    mountinfo.write_text(MOUNTS.replace("/srv rw,", f"{tmp_path} rw,"))
    with pytest.raises(InvalidInput, match="nfs4"):
        prepare_directory(tmp_path / "engine", mountinfo=mountinfo)
    assert not (tmp_path / "engine").exists()


async def test_without_a_boot_id_it_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """P50: times of another boot would pass for times of this one."""

    def unknown() -> str:
        raise Unsupported("the boot cannot be told")

    monkeypatch.setattr("incumbent.engines.local.boot.boot_id", unknown)
    with pytest.raises(Unsupported, match="boot"):
        await connect(f"local://{tmp_path}/engine")
    assert not (tmp_path / "engine").exists()


async def test_wall_clock_steps_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """P9."""
    engine = await LocalEngine.open(tmp_path)
    session = await engine.open_session(60.0, "r")
    member = await engine.join(session, "g", "r", b"")
    wall = time.time
    for step_s in (-3600.0, 3600.0):
        monkeypatch.setattr(time, "time", lambda step_s=step_s: wall() + step_s)
        monkeypatch.setattr(time, "time_ns", lambda step_s=step_s: int((wall() + step_s) * 1e9))
        await engine.renew(session)
        assert (await engine.roster("g")).token == member.revision
    await engine.close()


async def test_a_retried_open_with_another_ttl_is_refused(tmp_path: Path) -> None:
    engine = await LocalEngine.open(tmp_path)
    await engine.open_session(60.0, "r")
    with pytest.raises(InvalidInput, match="another ttl"):
        await engine.open_session(61.0, "r")
    await engine.close()


async def test_a_disk_error_is_never_taken_for_something_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The directory is full: certainly not done, and it is said so."""
    engine = await LocalEngine.open(tmp_path)
    assert engine._desk is not None

    def shrink() -> None:
        assert engine._desk is not None
        assert engine._desk._connection is not None
        engine._desk._connection.execute("PRAGMA max_page_count = 1")

    await engine._call(lambda _: shrink())
    with pytest.raises(EngineUnavailable, match="full"):
        await engine.write_cells("g", [CellWrite("c", bytes(300_000), None)], None)
    assert (await engine.read_cell("g", "c")).version == 0
    await engine.close()
    with pytest.raises(EngineError, match="closed"):
        await engine.roster("g")


async def test_what_is_acknowledged_is_on_the_disk(tmp_path: Path) -> None:
    """P30: a join gives a token out, so it is synced (2 = FULL); a renewal means nothing after a power cut (1)."""
    engine = await LocalEngine.open(tmp_path)
    seen: list[int] = []

    def synced_by(act: Callable[[Store], object]) -> Callable[[Store], None]:
        def run(store: Store) -> None:
            act(store)
            seen.extend(store._one("PRAGMA synchronous"))

        return run

    session = await engine.open_session(60.0, "r")
    secret = Reference.from_bytes(session.ref).secret
    await engine._call(synced_by(lambda store: store.join(secret, "g", b"")))
    await engine._call(synced_by(lambda store: store.renew(secret)))
    await engine._call(synced_by(lambda store: store.join(secret, "h", b"")))
    assert seen == [2, 1, 2]
    await engine.close()
