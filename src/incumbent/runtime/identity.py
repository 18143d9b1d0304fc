"""Whose data directory this is: cluster, node, disk, and the voters with which the cluster was formed.

The disk's id is drawn once, when the directory is made, so a directory that was wiped and made again is another voter (P55).
"""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from incumbent.consensus.api import Membership
from incumbent.errors import IdentityMismatch, InvalidInput, StorageCorrupt, StorageFailed, invariant
from incumbent.ids import ClusterName, DiskId, NodeId, make_node_id
from incumbent.runtime.wal import fsync_directory

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
    membership: Membership | None  # None until the cluster is formed; then never changes
    lock_fd: int

    def with_membership(self, membership: Membership) -> Identity:
        """Store, durably, the voters with which the cluster was formed. Once; the same again is fine.

        Raises IdentityMismatch when it was formed with others, StorageFailed.
        """
        if self.membership is not None and self.membership != membership:
            raise IdentityMismatch(
                "data_dir: the cluster was formed with other voters; they do not change here"
            )
        invariant(
            make_node_id(self.node, self.disk) in membership.voters,
            "a node is a voter of its cluster",
            node=self.node,
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
    _refuse_foreign(path)
    stored = _read(path, cluster, node) if (path / FILE_NAME).exists() else None
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock_fd = os.open(path / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise InvalidInput(
            "data_dir", f"{path} cannot be used: {error}", "give a writable directory"
        ) from error
    try:
        _lock(lock_fd, path)
        if stored is None:
            disk = DiskId(os.urandom(DISK_ID_BYTES).hex())
            return _store(Identity(path, cluster, node, disk, None, lock_fd))
        # Read again: another process may have formed the cluster before it let go of the lock.
        disk, membership = _read(path, cluster, node)
        return Identity(path, cluster, node, disk, membership, lock_fd)
    except BaseException:
        os.close(lock_fd)
        raise


def _store(identity: Identity) -> Identity:
    content = {
        "format": FORMAT,
        "cluster": identity.cluster,
        "node": identity.node,
        "disk": identity.disk,
        "voters": None if identity.membership is None else sorted(identity.membership.voters),
    }
    unfinished = identity.data_dir / f"{FILE_NAME}.new"
    try:
        fd = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "w") as file:
            json.dump(content, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(identity.data_dir / FILE_NAME)
        fsync_directory(identity.data_dir)
    except OSError as error:
        raise StorageFailed(f"storing {identity.data_dir / FILE_NAME} failed: {error}") from error
    return identity


def _refuse_foreign(path: Path) -> None:
    if not path.exists():
        return
    if not path.is_dir():
        raise InvalidInput("data_dir", f"{path} is not a directory", "give a directory")
    if (path / FILE_NAME).exists():
        return
    # What a crash in the first start leaves behind is ours too.
    foreign = sorted({item.name for item in path.iterdir()} - {LOCK_NAME, f"{FILE_NAME}.new"})
    if foreign:
        raise InvalidInput(
            "data_dir",
            f"{path} is not empty and not a node's ({foreign[0]} is in it)",
            "give an empty or a node's directory",
        )


def _lock(fd: int, path: Path) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise InvalidInput(
            "data_dir", f"{path} is in use by another process", "stop it, or use another"
        ) from error


def _read(path: Path, cluster: ClusterName, node: str) -> tuple[DiskId, Membership | None]:
    file = path / FILE_NAME
    try:
        content = json.loads(file.read_bytes())
        found = (content["format"], content["cluster"], content["node"])
        disk = DiskId(content["disk"])
        voters = content["voters"]
        membership = None if voters is None else Membership(frozenset(NodeId(voter) for voter in voters))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StorageCorrupt(
            f"{file} cannot be read ({error}); this node must not vote without its identity"
        ) from error
    if found[0] != FORMAT:
        raise InvalidInput("data_dir", f"{file} has format {found[0]}", "use the release that wrote it")
    if found[1] != cluster:
        raise IdentityMismatch(
            f"data_dir: {path} belongs to cluster {found[1]!r}, not {cluster!r}; use that cluster's name or another directory"
        )
    if found[2] != node:
        raise IdentityMismatch(
            f"data_dir: {path} belongs to node {found[2]!r}, not {node!r}; use that node's name or another directory"
        )
    return disk, membership
