"""Every operation of the engine as one transaction on one connection. Blocking; used by one thread.

Writers take the lock first (BEGIN IMMEDIATE) and read the clock under it, so the order of commits is the order of
times. Readers see one snapshot; they read the clock before it, so what they say was true at that moment of the call.
Expiry is decided wherever anybody looks: before a reader answers, what has ended is ended by a transaction.
"""

from __future__ import annotations

import math
import secrets
import sqlite3
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, cast

from incumbent.engines.api import Cell, CellWrite, Claimed, Entry, Member, Roster, Session, Waiting
from incumbent.engines.local.boot import Boot
from incumbent.engines.local.holder import Holder
from incumbent.engines.local.reference import Reference
from incumbent.errors import (
    InvalidInput,
    MemberGone,
    NotFirst,
    Overloaded,
    SessionGone,
    Unsupported,
    VersionConflict,
)
from incumbent.ids import make_token

SESSIONS_MAX: Final = 10_000
INCARNATION: Final = 0  # a directory is never restored under running processes: see `directory.floor_of`
NS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Peek:
    """What a watch needs to know of a group."""

    changed_at: int
    next_end_ns: int | None  # when the next of its sessions ends, if nobody renews it
    first: (
        Holder | None
    )  # the process whose death frees the lead; None when it is proven dead, or there is none


class Store:
    """One connection. `on_change` is called after every commit that changed groups: with the revision, and their names."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        directory: str,
        *,
        now_ns: Callable[[], int],
        boot: Boot,
        holder: Holder,
        on_change: Callable[[int, Collection[str]], None],
    ) -> None:
        self._connection = connection
        self._directory = directory
        self._now_ns = now_ns
        self._boot = boot
        self._holder = holder
        self._on_change = on_change
        self._changed = set[str]()  # groups, by the transaction that is open
        self.revision_seen = 0

    def settle(self, floor: int, first_revision: int) -> str | None:
        """Begin work on a database that others may have used: before this boot, or never with our memory of it.

        In another boot it goes on from `first_revision`; below `floor` it is another database than we remember.
        Returns a note when it was. Raises Unsupported when times cannot be compared.
        """
        note = None
        with self._write():
            boot, namespace, revision = self._one("SELECT boot, time_namespace, revision FROM meta")
            live = self._one("SELECT count(*) FROM session")[0]
            if boot == self._boot.id and namespace != self._boot.time_namespace and live:
                raise Unsupported(
                    "url: processes of another time namespace use this directory; their times cannot be compared "
                    "with ours. Use one directory per time namespace"
                )
            if boot != self._boot.id:
                self._end("1")  # every process of another boot is dead
                self._connection.execute("UPDATE meta SET revision = max(revision, ?)", (first_revision,))
            elif revision < floor:
                # A database younger than our memory: its members would lead with tokens that were given out before.
                self._end("1")
                note = f"revision raised from {revision} to {floor}: this directory was deleted or replaced"
                self._connection.execute("UPDATE meta SET revision = ?", (floor,))
                self._connection.execute("INSERT INTO note VALUES (?, ?)", (floor, note))
            self._connection.execute(
                "UPDATE meta SET boot = ?, time_namespace = ?", (self._boot.id, self._boot.time_namespace)
            )
            self._forget_empty_groups()
        return note

    # --- sessions -------------------------------------------------------------------------------------------------

    def open_session(self, ttl: float, request_id: str, release_delay: float) -> Session:
        with self._write() as now_ns:
            boot, namespace, uuid = self._one("SELECT boot, time_namespace, uuid FROM meta")
            if (boot, namespace) != (self._boot.id, self._boot.time_namespace):
                raise Unsupported("url: this directory is now used in another boot or time namespace")
            found = self._find("SELECT secret, ttl_ns, dead FROM session WHERE request_id = ?", request_id)
            ttl_ns, delay_ns = math.ceil(ttl * NS), math.ceil(release_delay * NS)
            if found is not None:
                secret, granted_ns, dead = found
                if dead:
                    raise SessionGone("this request id's session was opened by a process that is dead")
                if granted_ns != ttl_ns:
                    raise InvalidInput("request_id", "opened a session with another ttl", "use a fresh one")
            else:
                if self._one("SELECT count(*) FROM session")[0] >= SESSIONS_MAX:
                    raise Overloaded(f"{self._directory} holds {SESSIONS_MAX} sessions")
                secret = secrets.token_bytes(16)
                self._connection.execute(
                    "INSERT INTO session VALUES (?, ?, ?, ?, 0, 0, ?, ?, ?)",
                    (
                        secret, request_id, ttl_ns, delay_ns,
                        self._holder.pid, self._holder.start_ticks, self._holder.namespace,
                    ),
                )  # fmt: skip
            self._extend(secret, now_ns)
        return Session(Reference(uuid, secret, self._directory).to_bytes(), ttl)

    def renew(self, secret: bytes) -> None:
        with self._write(durable=False) as now_ns:
            self._check_session(secret)
            self._extend(secret, now_ns)

    def end_session(self, reference: Reference) -> bool:
        with self._write(durable=False):
            there = self._find("SELECT 1 FROM session WHERE secret = ?", reference.secret) is not None
            uuid = self._one("SELECT uuid FROM meta")[0]
            if not there and uuid != reference.uuid and reference.directory != self._directory:
                raise InvalidInput(
                    "ref", f"belongs to {reference.directory}", f"this engine keeps {self._directory}"
                )
            self._end("secret = ?", reference.secret)
        return there

    def _extend(self, secret: bytes, now_ns: int) -> None:
        self._connection.execute(
            "UPDATE session SET ends_ns = ? + ttl_ns + release_delay_ns WHERE secret = ?", (now_ns, secret)
        )

    def _check_session(self, secret: bytes) -> None:
        found = self._find("SELECT dead FROM session WHERE secret = ?", secret)
        if found is None or found[0]:
            raise SessionGone("the session has ended")

    # --- members --------------------------------------------------------------------------------------------------

    def join(self, secret: bytes, group: str, value: bytes) -> Member:
        with self._write():
            self._check_session(secret)
            found = self._find(
                "SELECT revision FROM member WHERE secret = ? AND group_name = ?", secret, group
            )
            if found is not None:
                return _member(group, found[0])
            revision = self._change([group])
            self._connection.execute(
                "INSERT INTO member VALUES (?, ?, ?, ?)", (group, revision, secret, value)
            )
            return _member(group, revision)

    def claim(self, member: Member, cell: str | None) -> Claimed | Waiting:
        while True:
            with self._read():
                self._check_member(member)
                ahead = self._ahead(member)
                cursor = self._revision()
                beside = None if ahead or cell is None else self._cell(member.group, cell)
            if not ahead:
                return Claimed(member, make_token(INCARNATION, member.revision), beside)
            # The first, whose death frees the lead, and the one right before us, so that no dead one is waited for.
            if not self._bury({ahead[0], ahead[-1]}):
                return Waiting(_member(member.group, ahead[-1].revision).id, cursor, None)

    def stand(
        self, secret: bytes, group: str, value: bytes, cell: str | None
    ) -> tuple[Member, Claimed | Waiting]:
        member = self.join(secret, group, value)
        return member, self.claim(member, cell)

    def update(self, member: Member, value: bytes) -> None:
        with self._write(durable=False):
            self._check_member(member)
            self._change([member.group])
            self._connection.execute(
                "UPDATE member SET value = ? WHERE group_name = ? AND revision = ?",
                (value, member.group, member.revision),
            )

    def remove(self, member: Member) -> bool:
        with self._write(durable=False):
            if not self._is_member(member):
                return False
            self._change([member.group])
            self._connection.execute(
                "DELETE FROM member WHERE group_name = ? AND revision = ?", (member.group, member.revision)
            )
            return True

    def roster(self, group: str) -> Roster:
        self._bury_first(group)
        with self._read():
            rows = self._connection.execute(
                "SELECT revision, value FROM member WHERE group_name = ? ORDER BY revision", (group,)
            ).fetchall()
            cursor = self._revision()
        members = tuple(Entry(_member(group, r).id, r, bytes(value), ours=True) for r, value in rows)
        return Roster(cursor, members, make_token(INCARNATION, members[0].order) if members else None)

    def peek(self, group: str) -> Peek:
        """For a watch. Ends what has ended, so that watching alone sees to it that the dead make way."""
        self._bury_first(group)
        with self._read():
            row = self._find("SELECT revision FROM changed WHERE group_name = ?", group)
            changed_at = self._one("SELECT forgotten FROM meta")[0] if row is None else row[0]
            (next_end_ns,) = self._one(
                "SELECT min(ends_ns) FROM session JOIN member USING (secret) WHERE group_name = ?", group
            )
            first = self._first(group)
        return Peek(changed_at, next_end_ns, first.holder if first is not None and not first.dead else None)

    def _check_member(self, member: Member) -> None:
        if not self._is_member(member):
            raise MemberGone(f"member {member.id} has left, was removed, or its session ended")

    def _is_member(self, member: Member) -> bool:
        return member == _member(member.group, member.revision) and (
            self._find(
                "SELECT 1 FROM member WHERE group_name = ? AND revision = ?", member.group, member.revision
            )
            is not None
        )

    # --- death ----------------------------------------------------------------------------------------------------

    def _ahead(self, member: Member) -> list[_Ahead]:
        """The first of those in front and the last of them, without those between."""
        found = [
            self._find(
                f"{_AHEAD} WHERE group_name = ? AND revision < ? ORDER BY revision {order} LIMIT 1",
                member.group,
                member.revision,
            )
            for order in ("ASC", "DESC")
        ]
        return [_Ahead.of(row) for row in found if row is not None]

    def _first(self, group: str) -> _Ahead | None:
        row = self._find(f"{_AHEAD} WHERE group_name = ? ORDER BY revision LIMIT 1", group)
        return None if row is None else _Ahead.of(row)

    def _bury_first(self, group: str) -> None:
        """Until the first is not known to be dead."""
        while True:
            with self._read():
                first = self._first(group)
            if first is None or not self._bury({first}):
                return

    def _bury(self, suspects: set[_Ahead]) -> bool:
        """Ask the kernel about each suspect; those that are dead end after their release delay, counted from now, the
        moment of the first proof. Whether there were any."""
        dead = [s for s in suspects if not s.dead and s.holder.is_dead(self._holder.namespace)]
        if not dead:
            return False
        with self._write(durable=False) as now_ns:
            for one in dead:
                self._connection.execute(
                    "UPDATE session SET dead = 1, ends_ns = min(ends_ns, ? + release_delay_ns) "
                    "WHERE secret = ? AND dead = 0",
                    (now_ns, one.secret),
                )
            self._expire(now_ns)
        return True

    # --- cells ----------------------------------------------------------------------------------------------------

    def read_cell(self, group: str, name: str) -> Cell:
        with self._read():
            return self._cell(group, name)

    def write_cells(
        self, group: str, writes: Sequence[CellWrite], claimed: Claimed | None
    ) -> tuple[Cell, ...]:
        with self._write():
            if claimed is not None:
                self._check_first(claimed.member)
            for write in writes:
                version = self._cell(group, write.name).version
                if write.expected_version not in (None, version):
                    raise VersionConflict(
                        f"cell {write.name!r} has version {version}, not {write.expected_version}"
                    )
            version = self._change([group])
            self._connection.executemany(
                "INSERT OR REPLACE INTO cell VALUES (?, ?, ?, ?)",
                [(group, write.name, write.value, version) for write in writes],
            )
        return tuple(Cell(write.value, version) for write in writes)

    def _cell(self, group: str, name: str) -> Cell:
        row = self._find("SELECT value, version FROM cell WHERE group_name = ? AND name = ?", group, name)
        return Cell(None, 0) if row is None else Cell(row[0], row[1])

    def _check_first(self, member: Member) -> None:
        first = self._first(member.group)
        if first is None or first.revision != member.revision or not self._is_member(member):
            raise NotFirst(f"member {member.id} is not the first of its group")

    # --- transactions ---------------------------------------------------------------------------------------------

    @contextmanager
    def _write(self, *, durable: bool = True) -> Iterator[int]:
        """One transaction under the write lock, after what has expired was ended. Yields the time in ns.

        Durable is what must outlive a power cut: what was given a revision to (tokens are made of it), and cells. Of sessions and
        who is a member nothing needs to: after a power cut it is another boot, and all of them are over.
        """
        self._connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            now_ns = self._now_ns()
            self._expire(now_ns)
            yield now_ns
            revision = self._revision()
            self._connection.execute("COMMIT")
        except BaseException:
            # Nothing half done, whatever happened; also what expired is left for the next to end.
            self._changed.clear()
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
        self.revision_seen = max(self.revision_seen, revision)
        if self._changed:
            changed, self._changed = self._changed, set()
            self._on_change(revision, changed)

    @contextmanager
    def _read(self) -> Iterator[None]:
        """One snapshot in which nothing had expired when it was asked for."""
        now_ns = self._now_ns()
        if self._find("SELECT 1 FROM session WHERE ends_ns <= ? LIMIT 1", now_ns) is not None:
            with self._write(durable=False):
                pass
        self._connection.execute("BEGIN")
        try:
            yield
            self.revision_seen = max(self.revision_seen, self._revision())
        finally:
            self._connection.execute("ROLLBACK")

    def _expire(self, now_ns: int) -> None:
        self._end("ends_ns <= ?", now_ns)

    def _end(self, which: str, *values: object) -> None:
        """End the sessions that `which`, a condition of ours, picks: all their members leave in this step."""
        over = self._connection.execute(f"SELECT secret FROM session WHERE {which}", values).fetchall()  # noqa: S608
        if not over:
            return
        groups = set[str]()
        for secret in over:
            rows = self._connection.execute("SELECT group_name FROM member WHERE secret = ?", secret)
            groups.update(row[0] for row in rows)
            self._connection.execute("DELETE FROM member WHERE secret = ?", secret)
            self._connection.execute("DELETE FROM session WHERE secret = ?", secret)
        self._change(sorted(groups))

    def _change(self, groups: Sequence[str]) -> int:
        """Raise the revision for a change of `groups`, and have it announced after the commit."""
        self._connection.execute("UPDATE meta SET revision = revision + 1")
        revision = self._revision()
        self._connection.executemany(
            "INSERT OR REPLACE INTO changed VALUES (?, ?)", [(group, revision) for group in groups]
        )
        self._changed.update(groups)
        return revision

    def _forget_empty_groups(self) -> None:
        """Rows of groups that hold nothing would pile up. A watcher whose row is gone wakes once for nothing."""
        self._connection.execute(
            "DELETE FROM changed WHERE group_name NOT IN (SELECT group_name FROM member UNION SELECT group_name FROM cell)"
        )
        self._connection.execute("UPDATE meta SET forgotten = revision")

    def _revision(self) -> int:
        return cast(int, self._one("SELECT revision FROM meta")[0])

    def _find(self, query: str, *values: object) -> tuple[Any, ...] | None:
        return cast("tuple[Any, ...] | None", self._connection.execute(query, values).fetchone())

    def _one(self, query: str, *values: object) -> tuple[Any, ...]:
        return cast("tuple[Any, ...]", self._connection.execute(query, values).fetchone())


@dataclass(frozen=True, slots=True)
class _Ahead:
    """A member in front, with the process behind it."""

    revision: int
    secret: bytes
    dead: bool
    holder: Holder

    @classmethod
    def of(cls, row: tuple[Any, ...]) -> _Ahead:
        revision, secret, dead, *process = row
        return cls(revision, secret, bool(dead), Holder(*process))


_AHEAD: Final = (
    "SELECT revision, secret, dead, pid, start_ticks, pid_namespace FROM member JOIN session USING (secret)"
)


def _member(group: str, revision: int) -> Member:
    return Member(group, f"{revision:x}", revision)
