"""A data directory belongs to one cluster, one node and one disk, and says so before anything is written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from incumbent.consensus.api import Membership
from incumbent.errors import (
    IdentityMismatch,
    InvalidInput,
    StorageCorrupt,
    StorageFailed,
)
from incumbent.ids import ClusterName, DiskId, NodeId, make_node_id
from incumbent.runtime import identity as identity_module
from incumbent.runtime.identity import FILE_NAME, Identity, open_identity
from incumbent.runtime.storage import files

APP = ClusterName("app")


def opened(path: Path, cluster: str = "app", node: str = "a") -> Identity:
    identity = open_identity(path, ClusterName(cluster), node)
    identity.close()
    return identity


def voters(identity: Identity) -> Membership:
    others = {make_node_id("b", DiskId("b" * 12)), make_node_id("c", DiskId("c" * 12))}
    return Membership(frozenset({make_node_id("a", identity.disk), *others}))


def contents(path: Path) -> dict[str, bytes]:
    return {item.name: item.read_bytes() for item in path.iterdir()} if path.exists() else {}


def test_a_new_directory_gets_a_disk_and_keeps_it(tmp_path: Path) -> None:
    first = opened(tmp_path / "new" / "deep")
    again = opened(tmp_path / "new" / "deep")
    assert first.disk == again.disk
    assert (first.membership, again.cluster, again.node) == (None, "app", "a")
    assert (tmp_path / "new" / "deep").stat().st_mode & 0o777 == 0o700


def test_a_wiped_directory_is_another_disk(tmp_path: Path) -> None:
    """P55."""
    assert opened(tmp_path / "x").disk != opened(tmp_path / "y").disk


@pytest.mark.parametrize(
    ("cluster", "node", "says"), [("other", "a", "cluster 'app'"), ("app", "b", "node 'a'")]
)
def test_a_directory_of_another_is_refused_and_left_as_it_is(
    tmp_path: Path, cluster: str, node: str, says: str
) -> None:
    opened(tmp_path)
    before = contents(tmp_path)
    with pytest.raises(IdentityMismatch, match=f"data_dir: .*{says}"):
        opened(tmp_path, cluster, node)
    assert contents(tmp_path) == before


def test_a_directory_with_foreign_files_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(InvalidInput, match="^data_dir: .*thesis.tex"):
        opened(tmp_path)
    assert contents(tmp_path) == {"thesis.tex": b"precious"}


def test_a_log_without_an_identity_is_refused(tmp_path: Path) -> None:
    (tmp_path / "log-00000001").write_bytes(b"votes")
    with pytest.raises(InvalidInput, match="^data_dir: "):
        opened(tmp_path)


def test_what_a_crash_in_the_first_start_leaves_is_ours(tmp_path: Path) -> None:
    (tmp_path / "lock").touch()
    (tmp_path / f"{FILE_NAME}.new").write_text("{ half")
    assert opened(tmp_path).node == "a"


def test_a_file_instead_of_a_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InvalidInput, match="^data_dir: .*not a directory"):
        opened(tmp_path / "file")


def test_a_bad_node_name_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="^node: "):
        opened(tmp_path / "new", node="a.b")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("name", ["x" * 300, "nul\0"])
def test_a_path_that_cannot_be_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidInput, match="^data_dir: .*cannot be used"):
        opened(tmp_path / name)


def test_a_directory_that_was_made_is_durable_in_its_parent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a power cut takes the whole directory, and with it this voter."""
    synced: list[Path] = []
    sync = files.fsync_directory

    def record(path: Path) -> None:
        synced.append(path)
        sync(path)

    monkeypatch.setattr(identity_module, "fsync_directory", record)
    opened(tmp_path / "new" / "deep")
    assert set(synced) == {tmp_path, tmp_path / "new", tmp_path / "new" / "deep"}


def test_an_identity_is_durable_before_it_is_used_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process may have been killed between the renaming and the fsync."""
    opened(tmp_path)

    def fail(_: Path) -> None:
        raise OSError("injected")

    with monkeypatch.context() as patched:
        patched.setattr(identity_module, "fsync_directory", fail)
        with pytest.raises(StorageFailed, match="injected"):
            opened(tmp_path)
    opened(tmp_path)


def test_who_waited_for_the_lock_does_not_draw_another_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the first look and the lock another process may start for the first time, and end."""
    before: list[Identity] = []
    lock = files.lock_file

    def late(fd: int, path: Path) -> None:
        if not before:
            monkeypatch.setattr(identity_module, "lock_file", lock)
            before.append(opened(tmp_path))
        lock(fd, path)

    monkeypatch.setattr(identity_module, "lock_file", late)
    assert opened(tmp_path).disk == before[0].disk


def test_one_process_at_a_time(tmp_path: Path) -> None:
    identity = open_identity(tmp_path, APP, "a")
    with pytest.raises(InvalidInput, match="^data_dir: .*in use"):
        open_identity(tmp_path, APP, "a")
    identity.close()
    opened(tmp_path)


def test_the_first_configuration_is_stored_once(tmp_path: Path) -> None:
    identity = open_identity(tmp_path, APP, "a")
    formed = identity.with_membership(voters(identity))
    assert formed.with_membership(voters(identity)).membership == voters(identity)
    with pytest.raises(IdentityMismatch, match="formed with other voters"):
        formed.with_membership(Membership(frozenset({make_node_id("a", identity.disk)})))
    identity.close()
    assert opened(tmp_path).membership == voters(identity)


def test_a_node_that_was_added_stores_the_membership_that_it_is_not_in(tmp_path: Path) -> None:
    first = Membership(
        frozenset({NodeId("b.bbbbbbbbbbbb"), NodeId("c.cccccccccccc")}),
        witnesses=frozenset({NodeId("c.cccccccccccc")}),
    )
    identity = open_identity(tmp_path, APP, "a")
    identity.with_membership(first).close()
    again = open_identity(tmp_path, APP, "a")
    assert again.membership == first
    again.close()


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"format": 1}', b'{"format":1,"cluster":"app","node":"a"}']
)
def test_an_identity_that_cannot_be_read_means_not_voting(tmp_path: Path, content: bytes) -> None:
    opened(tmp_path)
    (tmp_path / FILE_NAME).write_bytes(content)
    with pytest.raises(StorageCorrupt, match="must not vote"):
        opened(tmp_path)


@pytest.mark.slow
def test_no_flipped_bit_makes_another_identity(tmp_path: Path) -> None:
    """A voter's name with one wrong letter would be another voter."""
    identity = open_identity(tmp_path, APP, "a")
    identity.with_membership(voters(identity))
    identity.close()
    right = opened(tmp_path)
    data = (tmp_path / FILE_NAME).read_bytes()
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        (tmp_path / FILE_NAME).write_bytes(flipped)
        try:
            found = opened(tmp_path)
        except (StorageCorrupt, InvalidInput):
            continue
        assert (found.disk, found.membership) == (right.disk, right.membership), bytes(flipped)


def test_a_later_format_is_refused(tmp_path: Path) -> None:
    opened(tmp_path)
    content = json.loads((tmp_path / FILE_NAME).read_text())
    (tmp_path / FILE_NAME).write_text(json.dumps(content | {"format": 2}))
    with pytest.raises(InvalidInput, match="^data_dir: .*format 2"):
        opened(tmp_path)
