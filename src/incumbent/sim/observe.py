"""What can be seen of a simulated world. Predicates, traces and counters are observers; they see and change nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from incumbent.consensus.api import Committed, Envelope, Event, Note, Ready, Record, Status
from incumbent.ids import Index, NodeId, RequestId


class Started(NamedTuple):
    """A process began, from what its disk remembers."""

    me: NodeId
    status: Status


class Crashed(NamedTuple):
    """A process is gone, and everything that was not durable with it."""

    me: NodeId


class Stepped(NamedTuple):
    """One event was taken."""

    me: NodeId
    event: Event
    before: Status
    after: Status


class Readied(NamedTuple):
    """Outputs were handed out; nothing of them is done yet."""

    me: NodeId
    status: Status
    ready: Ready


class Sending(NamedTuple):
    """A message leaves."""

    me: NodeId
    envelope: Envelope


class Durable(NamedTuple):
    """A record is on the disk, whole."""

    me: NodeId
    record: Record


class Applied(NamedTuple):
    """An entry reached the machine of one voter."""

    me: NodeId
    entry: Committed


class Advanced(NamedTuple):
    """Everything of a Ready is done."""

    me: NodeId
    status: Status
    notes: Sequence[Note]


class Acknowledged(NamedTuple):
    """A client was told that its proposal is done."""

    request: RequestId
    entry: Committed


class ReadInvoked(NamedTuple):
    """A client asked for a linearizable read."""

    request: RequestId


class ReadServed(NamedTuple):
    """A client was given the state at `applied`, which is not below the `index` that the replica demanded."""

    request: RequestId
    index: Index  # type: ignore[assignment]  # a field, not tuple.index()
    applied: Index


class RequestRefused(NamedTuple):
    """A client was told that its proposal or read was not taken up."""

    request: RequestId


class Observer:
    """Override what is of interest."""

    def started(self, seen: Started) -> None: ...
    def crashed(self, seen: Crashed) -> None: ...
    def stepped(self, seen: Stepped) -> None: ...
    def readied(self, seen: Readied) -> None: ...
    def sending(self, seen: Sending) -> None: ...
    def durable(self, seen: Durable) -> None: ...
    def applied(self, seen: Applied) -> None: ...
    def advanced(self, seen: Advanced) -> None: ...
    def acknowledged(self, seen: Acknowledged) -> None: ...
    def read_invoked(self, seen: ReadInvoked) -> None: ...
    def read_served(self, seen: ReadServed) -> None: ...
    def request_refused(self, seen: RequestRefused) -> None: ...


class Panel(Observer):
    """Many observers as one; each is called only for what it overrides."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        for name in (name for name in vars(Observer) if not name.startswith("_")):
            overriding = [o for o in observers if getattr(type(o), name) is not getattr(Observer, name)]
            setattr(self, name, _all_of([getattr(o, name) for o in overriding]))


def _all_of(calls: Sequence[Callable[[Any], None]]) -> Callable[[Any], None]:
    def call(seen: Any) -> None:
        for each in calls:
            each(seen)

    return call
