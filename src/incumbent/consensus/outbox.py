"""Collects what a step produced until `ready()` takes it. Shared by all protocols. PURE."""

from __future__ import annotations

from dataclasses import dataclass, field

from incumbent.consensus.api import Envelope, Message, Note, Piece, Placed, ReadReady, Refusal, Snapshot, Why
from incumbent.ids import NodeId, RequestId


@dataclass(slots=True)
class Outbox:
    now: list[Envelope] = field(default_factory=list)  # true whatever the disk does
    after: list[Envelope] = field(default_factory=list)  # only after the next record is durable
    placed: list[Placed] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    transferred: list[RequestId] = field(default_factory=list)
    install: Snapshot | None = None  # from elsewhere: the machine is to be reset to it
    pieces: list[Piece] = field(default_factory=list)  # for the next record
    reads: list[ReadReady] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)

    def send_now(self, to: NodeId, message: Message) -> None:
        """For what rests on nothing that is not durable yet: pre-votes, appends and heartbeats of a durable term."""
        self.now.append(Envelope(to, message))

    def send_after(self, to: NodeId, message: Message) -> None:
        """For everything else: vote requests, and every acknowledgement, grant or promise."""
        self.after.append(Envelope(to, message))

    def refuse(self, request: RequestId, why: Why) -> None:
        self.refused.append(Refusal(request, why))

    def withdraw(self, kind: type) -> None:
        """Take back the messages of a kind that have not left yet, because what they say is no longer so."""
        self.after = [envelope for envelope in self.after if not isinstance(envelope.message, kind)]

    def __bool__(self) -> bool:
        return bool(
            self.now
            or self.after
            or self.placed
            or self.refused
            or self.transferred
            or self.reads
            or self.notes
            or self.install
        )
