"""A cluster's state as one file, and a new cluster from such a file.

    magic | length of the head | head (JSON) | the machine's state

What is restored is another incarnation: no session of the former cluster lives on, and every token is above all that the former
one issued, and unlike those of any other restore of the same file.
"""

from __future__ import annotations

import json
import os
import struct
import time
import zlib
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from incumbent.consensus.api import Membership, Record, Snapshot
from incumbent.consensus.raft.messages import HardState, encode_hard_state
from incumbent.engines.cluster.layout import INCARNATION_KEY, decode_incarnation
from incumbent.errors import IncumbentError, InvalidInput, StorageCorrupt, StorageFailed
from incumbent.ids import TOKEN_INCARNATION_MAX, ClusterName, Index, NodeId, Revision, Term, make_node_id
from incumbent.kv.api import LeaseRevoke, Put, Range
from incumbent.kv.machine import Machine
from incumbent.runtime.identity import Identity, open_identity
from incumbent.runtime.storage.files import fsync_directory, sync
from incumbent.runtime.storage.log import RaftLog

MAGIC: Final = b"INCBAK\x00\x01"
FORMAT: Final = 1
HEAD_BYTES_MAX: Final = 1 << 20
_LENGTH: Final = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class Backup:
    path: Path
    cluster: str
    index: Index
    term: Term
    state: bytes  # only the machine looks inside


def write_backup(path: Path, cluster: str, taken: Mapping[str, Any], state: bytes) -> None:
    """Make `path`, durably, or nothing. Raises InvalidInput when it exists, StorageFailed."""
    if path.exists():
        raise InvalidInput("file", f"{path} exists", "name a new file")
    if len(state) != taken["bytes"] or zlib.crc32(state) != taken["crc"]:
        raise StorageCorrupt("the state was damaged on its way; fetch it again")
    head = {"format": FORMAT, "cluster": cluster, "written": time.time()}
    head |= {name: taken[name] for name in ("index", "term", "bytes", "crc")}
    encoded = json.dumps(head).encode()
    unfinished = path.with_name(path.name + ".new")
    try:
        with unfinished.open("wb") as file:
            file.writelines((MAGIC, _LENGTH.pack(len(encoded)), encoded, state))
            file.flush()
            sync(file.fileno())
        unfinished.rename(path)
        fsync_directory(path.parent)
    except OSError as error:
        raise StorageFailed(f"writing {path} failed: {error}") from error


def read_backup(path: Path) -> Backup:
    """What `write_backup` wrote. Raises InvalidInput, StorageCorrupt."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InvalidInput("file", f"{path} cannot be read: {error}", "name a backup") from error
    if data[: len(MAGIC)] != MAGIC:
        raise InvalidInput("file", f"{path} is no backup", "name a file that `cluster snapshot` wrote")
    try:
        (length,) = _LENGTH.unpack_from(data, len(MAGIC))
        start = len(MAGIC) + _LENGTH.size
        head, state = json.loads(data[start : start + length]), data[start + length :]
        if head["format"] != FORMAT:
            raise InvalidInput("file", f"{path} has format {head['format']}", "use the release that wrote it")
        if len(state) != head["bytes"] or zlib.crc32(state) != head["crc"]:
            raise ValueError("its state is not what was written")
        return Backup(path, head["cluster"], Index(head["index"]), Term(head["term"]), state)
    except (ValueError, KeyError, TypeError, struct.error) as error:
        raise StorageCorrupt(f"{path} is damaged ({error}); use another backup") from error


def restore(backup: Backup, data_dir: Path, cluster: ClusterName, node: str) -> NodeId:
    """Make `data_dir` a node that is a cluster by itself, with what the backup holds. Others are added to it.

    Raises InvalidInput when the directory is not empty or the file cannot be marked, StorageCorrupt, StorageFailed.
    """
    if data_dir.exists() and any(data_dir.iterdir()):
        raise InvalidInput(
            "data_dir", f"{data_dir} is not empty", "give an empty directory, or one that is not there"
        )
    machine = Machine()
    try:
        machine.restore(backup.index, backup.state)
    except msgspec.DecodeError as error:
        raise StorageCorrupt(
            f"{backup.path} holds no machine's state ({error}); use another backup"
        ) from error
    incarnation = _incarnation_of(machine) + _count_restore(backup.path)
    if incarnation > TOKEN_INCARNATION_MAX:
        raise IncumbentError(f"{incarnation} incarnations are more than a token can tell apart")
    _begin_anew(machine, backup, incarnation)
    with closing(open_identity(data_dir, cluster, node)) as identity:
        me = make_node_id(node, identity.disk)
        first = Membership(frozenset({me}))
        _write_log(identity, data_dir, Snapshot(machine.applied, backup.term, first, machine.snapshot()))
    return me


def _incarnation_of(machine: Machine) -> int:
    found = machine.query(Range(INCARNATION_KEY)).results[0].kvs
    return decode_incarnation(found[0].value) if found else 0


def _begin_anew(machine: Machine, backup: Backup, incarnation: int) -> None:
    """The sessions of the former cluster are over. Revisions go on from the clock, in microseconds: above all that the former
    cluster can have given since, and unlike those of a restore of a copy of the file."""
    for lease, _ in list(machine.leases()):
        machine.apply(Index(machine.applied + 1), backup.term, LeaseRevoke(lease))
    machine.raise_revision(Revision(time.time_ns() // 1_000))
    machine.apply(Index(machine.applied + 1), backup.term, Put(INCARNATION_KEY, b"%d" % incarnation))


def _write_log(identity: Identity, data_dir: Path, snapshot: Snapshot) -> None:
    """A directory without a membership takes part in nothing, so that is written last."""
    with closing(RaftLog(data_dir, identity.disk)) as log:
        log.load()
        log.persist([Record(encode_hard_state(HardState(snapshot.term)), None, [], snapshot)])
    identity.with_membership(snapshot.membership)


def _count_restore(path: Path) -> int:
    """How many restores there were of this file, this one included; written beside it before anything is made of it."""
    counter = path.with_name(path.name + ".restores")
    try:
        count = 1 + (int(counter.read_text()) if counter.exists() else 0)
        unfinished = counter.with_name(counter.name + ".new")
        with unfinished.open("w") as file:
            file.write(str(count))
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(counter)
        fsync_directory(counter.parent)
    except (OSError, ValueError) as error:
        raise InvalidInput(
            "file", f"{counter} cannot be written: {error}", "copy the backup to where you may write"
        ) from error
    return count
