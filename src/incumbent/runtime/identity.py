"""Whose data directory this is: cluster, node, disk, and the voters with which the cluster was formed.

The disk's id is drawn once, when the directory is made, so a directory that was wiped and made again is another voter (P55).
"""

from __future__ import annotations

import json
import os
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from incumbent.consensus.api import Membership
from incumbent.errors import IdentityMismatch, InvalidInput, StorageCorrupt, StorageFailed
from incumbent.ids import ClusterName, DiskId, NodeId, make_node_id
from incumbent.runtime.storage.files import fsync_directory, lock_file, sync

FORMAT: Final = 1
FILE_NAME: Final = "identity.json"
LOCK_NAME: Final = "lock"
DISK_ID_BYTES: Final = 6


@dataclass(frozen=True, slots=True)
class Identity:
    """A data directory's owner. While it is open, no other process can open the directory."""

    data_dir: Path
    cluster: ClusterName
    node: str
    disk: DiskId
    membership: Membership | None  # with which the cluster was formed; None until it is, then never changes
    lock_fd: int

    def with_membership(self, membership: Membership) -> Identity:
        """Store, durably, the membership with which the cluster was formed. Once; the same again is fine. Whoever was added
        later does not stand in it.

        Raises IdentityMismatch when it was formed with others, StorageFailed.
        """
        if self.membership is not None and self.membership != membership:
            raise IdentityMismatch(
                "data_dir: the cluster was formed with other voters; they do not change here"
            )
        formed = replace(self, membership=membership)
        return _store(formed)

    def close(self) -> None:
        """Let another process open the directory."""
        os.close(self.lock_fd)


def open_identity(data_dir: Path | str, cluster: ClusterName, node: str) -> Identity:
    """Open a node's data directory, or make it. You owe a close().

    Raises, before anything is written: IdentityMismatch when it belongs to another cluster or node, InvalidInput when it is
    not ours or in use, StorageCorrupt when the identity cannot be read.
    """
    path = Path(data_dir)
    make_node_id(node, DiskId("0" * 2 * DISK_ID_BYTES))  # refuses a bad name
    try:
        if _is_ours(path):
            _read(path, cluster, node)
        lock_fd = _open_lock(path)
    except (OSError, ValueError) as error:
        raise InvalidInput(
            "data_dir", f"{path} cannot be used: {error}", "give a writable directory"
        ) from error
    try:
        lock_file(lock_fd, path)
        # Look again: whoever had the lock until now may have made the identity, or formed the cluster.
        if not _is_ours(path):
            disk = DiskId(os.urandom(DISK_ID_BYTES).hex())
            return _store(Identity(path, cluster, node, disk, None, lock_fd))
        disk, membership = _read(path, cluster, node)
        _make_durable(path)
        return Identity(path, cluster, node, disk, membership, lock_fd)
    except BaseException:
        os.close(lock_fd)
        raise


def _open_lock(path: Path) -> int:
    """Make the directory where it is missing, durably, and open its lock."""
    missing = [directory for directory in (path, *path.parents) if not directory.exists()]
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    for directory in missing:
        fsync_directory(directory.parent)
    return os.open(path / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _make_durable(path: Path) -> None:
    """What was read may come from a process that was killed between the renaming and the fsync of the directory."""
    try:
        fsync_directory(path)
    except OSError as error:
        raise StorageFailed(f"making {path / FILE_NAME} durable failed: {error}") from error


def _store(identity: Identity) -> Identity:
    content: dict[str, Any] = {
        "format": FORMAT,
        "cluster": identity.cluster,
        "node": identity.node,
        "disk": identity.disk,
        "voters": None if identity.membership is None else sorted(identity.membership.voters),
        "witnesses": [] if identity.membership is None else sorted(identity.membership.witnesses),
    }
    unfinished = identity.data_dir / f"{FILE_NAME}.new"
    try:
        fd = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "w") as file:
            json.dump(content | {"crc": _crc(content)}, file, indent=1)
            file.flush()
            sync(file.fileno())
        unfinished.rename(identity.data_dir / FILE_NAME)
        fsync_directory(identity.data_dir)
    except OSError as error:
        raise StorageFailed(f"storing {identity.data_dir / FILE_NAME} failed: {error}") from error
    return identity


def _crc(content: dict[str, Any]) -> int:
    """Finds accidents of the disk: a voter's name with one wrong letter would be another voter."""
    return zlib.crc32(json.dumps(content, sort_keys=True).encode())


def _is_ours(path: Path) -> bool:
    """Whether a node's identity is in it; False for a directory that is empty or not there.

    Raises InvalidInput for anything else.
    """
    if (path / FILE_NAME).exists():
        return True
    if not path.exists():
        return False
    if not path.is_dir():
        raise InvalidInput("data_dir", f"{path} is not a directory", "give a directory")
    # What a crash in the first start leaves behind is ours too.
    foreign = sorted({item.name for item in path.iterdir()} - {LOCK_NAME, f"{FILE_NAME}.new"})
    if foreign:
        raise InvalidInput(
            "data_dir",
            f"{path} is not empty and not a node's ({foreign[0]} is in it)",
            "give an empty or a node's directory",
        )
    return False


def _read(path: Path, cluster: ClusterName, node: str) -> tuple[DiskId, Membership | None]:
    file = path / FILE_NAME
    try:
        content = json.loads(file.read_bytes())
        version, crc = content["format"], content.pop("crc", None)
        if version != FORMAT:
            raise InvalidInput("data_dir", f"{file} has format {version}", "use the release that wrote it")
        if crc != _crc(content):
            raise ValueError("its checksum is wrong")
        voters = content["voters"]
        witnesses = frozenset(map(NodeId, content["witnesses"]))
        membership = (
            None if voters is None else Membership(frozenset(map(NodeId, voters)), witnesses=witnesses)
        )
        disk = DiskId(content["disk"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StorageCorrupt(
            f"{file} cannot be read ({error}); this node must not vote without its identity"
        ) from error
    if content["cluster"] != cluster:
        raise IdentityMismatch(
            f"data_dir: {path} belongs to cluster {content['cluster']!r}, not {cluster!r}; "
            "use that cluster's name or another directory"
        )
    if content["node"] != node:
        raise IdentityMismatch(
            f"data_dir: {path} belongs to node {content['node']!r}, not {node!r}; "
            "use that node's name or another directory"
        )
    return disk, membership
