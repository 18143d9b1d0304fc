"""The JSON of etcd's gateway: transactions and their answers, and what its refusals mean. PURE.

Bytes are base64, 64-bit numbers are text, and zeros are left out (Protocol Buffers' JSON mapping).
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum, auto
from typing import Any, Final, TypeAlias

import msgspec

from incumbent.engines.etcd.sight import Header
from incumbent.errors import ProtocolViolation
from incumbent.ids import LeaseId, Revision
from incumbent.kv.api import (
    Code,
    Compare,
    Condition,
    DeleteRange,
    Is,
    KeyValue,
    Operation,
    OperationResult,
    Put,
    Range,
    Result,
    Txn,
)

Json: TypeAlias = dict[str, Any]

_TARGETS: Final = {
    Compare.CREATE: ("CREATE", "create_revision"),
    Compare.MOD: ("MOD", "mod_revision"),
    Compare.VERSION: ("VERSION", "version"),
    Compare.VALUE: ("VALUE", "value"),
    Compare.LEASE: ("LEASE", "lease"),
}
_RESULTS: Final = {Is.EQUAL: "EQUAL", Is.NOT_EQUAL: "NOT_EQUAL", Is.GREATER: "GREATER", Is.LESS: "LESS"}


class Refusal(Exception):
    """etcd's own no, never seen outside of this folder. `code` is gRPC's."""

    def __init__(self, code: int, words: str) -> None:
        super().__init__(words)
        self.code = code
        self.words = words


class Meaning(Enum):
    """What a refusal leaves of the request."""

    LEASE_NOT_FOUND = auto()
    LEASE_EXISTS = auto()
    TOKEN_BAD = auto()  # log in again; nothing was done
    DENIED = auto()
    NO_LOGINS = auto()  # this etcd does not ask for any
    TOO_LARGE = auto()
    TOO_MANY = auto()  # of requests, or of bytes in its database
    NOT_DONE = auto()
    UNKNOWN = auto()  # done or not


def meaning(refusal: Refusal) -> Meaning:
    """By etcd's words where it has them; a code alone does not tell a request that was dropped from one that is under way."""
    for words, what in _WORDS:
        if words in refusal.words:
            return what
    match refusal.code:
        case 7:
            return Meaning.DENIED
        case 16:
            return Meaning.TOKEN_BAD
        case 3 | 5 | 12:  # invalid, no such path, unimplemented
            return Meaning.NOT_DONE
        case _:
            return Meaning.UNKNOWN


_WORDS: Final = (
    ("requested lease not found", Meaning.LEASE_NOT_FOUND),
    ("lease already exists", Meaning.LEASE_EXISTS),
    ("invalid auth token", Meaning.TOKEN_BAD),
    ("revision of auth store is old", Meaning.TOKEN_BAD),
    ("user name is empty", Meaning.TOKEN_BAD),
    ("authentication failed", Meaning.DENIED),
    ("permission denied", Meaning.DENIED),
    ("authentication is not enabled", Meaning.NO_LOGINS),
    ("request is too large", Meaning.TOO_LARGE),
    ("too many requests", Meaning.TOO_MANY),
    ("database space exceeded", Meaning.TOO_MANY),
    ("etcdserver: no leader", Meaning.NOT_DONE),
    ("not supported for learner", Meaning.NOT_DONE),
)


def text(data: bytes) -> str:
    return b64encode(data).decode()


def header_of(told: Json) -> Header:
    """Raises ProtocolViolation."""
    with _as_etcd_says_it():
        header = told["header"]
        return Header(
            int(header["cluster_id"]),
            int(header["member_id"]),
            int(header.get("raft_term", 0)),
            int(header.get("revision", 0)),
        )


def seconds_of(told: Json) -> int:
    """Of a lease; 0: there is none. Raises ProtocolViolation."""
    with _as_etcd_says_it():
        return int(told.get("TTL", 0))


def granted_of(told: Json) -> int:
    """What a lease was given, whatever is left of it. As `seconds_of`."""
    with _as_etcd_says_it():
        return int(told.get("grantedTTL", 0))


def transaction(txn: Txn) -> Json:
    return {
        "compare": [_condition(condition) for condition in txn.conditions],
        "success": [_operation(operation) for operation in txn.then],
        "failure": [_operation(operation) for operation in txn.orelse],
    }


def result_of(told: Json) -> Result:
    """What a transaction was answered. Raises ProtocolViolation."""
    with _as_etcd_says_it():
        return Result(
            Code.OK,
            Revision(header_of(told).revision),
            bool(told.get("succeeded", False)),
            tuple(OperationResult(_kvs(response)) for response in told.get("responses", ())),
        )


def watch(ranges: list[Range], after: Revision, *, only_deletions: bool) -> bytes:
    """The requests of one stream. A gateway reads them one after the other."""
    return b"".join(
        msgspec.json.encode(
            {
                "create_request": {
                    **_range(wanted),
                    "start_revision": str(after + 1),
                    "fragment": True,
                    "filters": ["NOPUT"] if only_deletions else [],
                }
            }
        )
        for wanted in ranges
    )


@contextmanager
def _as_etcd_says_it() -> Iterator[None]:
    try:
        yield
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise ProtocolViolation(f"no etcd answers so: {error!r}") from error


def _condition(condition: Condition) -> Json:
    target, operand = _TARGETS[condition.target]
    told: Json = {
        "key": text(condition.key),
        "target": target,
        "result": _RESULTS[condition.op],
        operand: text(condition.operand) if isinstance(condition.operand, bytes) else str(condition.operand),
    }
    if condition.end is not None:
        told["range_end"] = text(condition.end)
    return told


def _operation(operation: Operation) -> Json:
    match operation:
        case Put(key, value, lease):
            return {"request_put": {"key": text(key), "value": text(value), "lease": str(lease)}}
        case Range():
            return {"request_range": _range(operation)}
        case DeleteRange(key, end):
            return {"request_delete_range": _range(Range(key, end))}


def _range(wanted: Range) -> Json:
    told: Json = {"key": text(wanted.key)}
    if wanted.end is not None:
        told["range_end"] = text(wanted.end)
    if wanted.limit:
        told["limit"] = str(wanted.limit)
    return told


def _kvs(response: Json) -> tuple[KeyValue, ...]:
    found = response.get("response_range", {}).get("kvs", ())
    return tuple(
        KeyValue(
            b64decode(kv["key"]),
            b64decode(kv.get("value", "")),
            Revision(int(kv["create_revision"])),
            Revision(int(kv["mod_revision"])),
            int(kv["version"]),
            LeaseId(int(kv.get("lease", 0))),
        )
        for kv in found
    )
