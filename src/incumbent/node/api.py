"""What a voter is asked, and how each request ends. PURE.

A request ends exactly once, as Done, Refused (certainly not applied: safe to retry) or Unknown (never a guess).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from incumbent.consensus.api import Envelope, Leadership, Note, Record, Status
from incumbent.ids import Index, NodeId, RequestId, Revision
from incumbent.kv.api import Change, ReportDigest, Result
from incumbent.node.digests import Digested


class RefusedReason(StrEnum):
    NOT_LEADER = "not_leader"  # ask `leader`, when it is known
    OVERLOADED = "overloaded"  # `requests_max` are in flight here, or too much is not committed yet
    TRANSFERRING = "transferring"  # leadership is being handed over: ask again, or ask the next leader
    LEASE_EXPIRING = "lease_expiring"  # the lease's expiry is in the log and not yet decided: ask again
    NOT_ALLOWED = "not_allowed"  # no rule of access admits who asks: asking again does not help
    DIVERGED = "diverged"  # no majority of the nodes has the same state: nothing is acknowledged any more
    LEVEL = "level"  # a member may not be able to read such a command: ask again when all are upgraded
    TOO_LARGE = "too_large"  # the command is over `command_bytes_max`
    # Of membership changes and transfers only:
    TRANSFER_FAILED = "transfer_failed"  # the target did not take over within an election timeout
    CHANGING = "changing"  # a membership change is not over yet
    TOO_EARLY = "too_early"  # this leader has committed nothing of its term yet: ask again
    NOT_CAUGHT_UP = "not_caught_up"  # who is to vote must first be a learner that has nearly everything
    INVALID = "invalid"  # it makes no sense for this membership


@dataclass(frozen=True, slots=True)
class Done:
    """Applied (a command), served (a read) or acknowledged (a renewal; its Result has code OK or LEASE_NOT_FOUND)."""

    result: Result


@dataclass(frozen=True, slots=True)
class Refused:
    reason: RefusedReason
    leader: NodeId | None = None


@dataclass(frozen=True, slots=True)
class Unknown:
    """Leadership changed while the request was in flight: applied, or yet to be applied, or lost."""


Outcome = Done | Refused | Unknown


class NodeReady(NamedTuple):
    """Do in this order: send `now`, persist `record`, send `messages`, call advance()."""

    now: Sequence[Envelope]
    record: Record | None
    messages: Sequence[Envelope]
    install: bool  # the newest stored snapshot is to be loaded by then


class NodeUrgent(NamedTuple):
    """While a NodeReady is outstanding: send `now`; these requests have ended."""

    now: Sequence[Envelope]
    outcomes: Sequence[tuple[RequestId, Outcome]]


class Applied(NamedTuple):
    """What advance() did."""

    outcomes: Sequence[tuple[RequestId, Outcome]]
    revision: Revision  # the machine's, after everything applied so far
    changes: Sequence[Change]  # what the newly applied entries changed, in order: feed for watchers
    restored: bool  # a snapshot took the machine's place: every watcher has to look anew
    leadership: Leadership | None  # only when changed
    digest: ReportDigest | None  # to be submitted through whoever leads, best effort
    notes: Sequence[Note]


@dataclass(frozen=True, slots=True)
class NodeStatus:
    replica: Status
    revision: Revision
    leases: int
    requests: int
    agreed: Digested | None  # the newest digest that a majority of the data voters has
    split: Index | None  # the index at which no digest can have a majority
