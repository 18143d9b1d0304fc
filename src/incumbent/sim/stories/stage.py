"""The stage of a story: nodes, messages in flight and a clock. Nothing happens by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from msgspec import structs

from incumbent.consensus.api import DeadlinePassed, Envelope, Event, Received
from incumbent.consensus.raft.messages import (
    Heartbeat,
    HeartbeatReply,
    InstallSnapshot,
    RaftMessage,
    decode,
    encode,
)
from incumbent.errors import InvalidInput, invariant
from incumbent.ids import NodeId, RequestId
from incumbent.sim.stories import words
from incumbent.sim.stories.actor import Actor, Part, Terms
from incumbent.sim.stories.promises import Promises

START_NS: Final = 1_000_000_000_000  # far from zero, as on any host that has been up for a while
STEPS_MAX: Final = 10_000
"""Of one command; a cluster that still has something to do never comes to rest."""
DRAWS: Final = 6
LINE_MAX: Final = 106
"""Characters of a line of the trace; a longer one is broken between its parts."""
CONTINUED: Final = 15
"""Where a broken line goes on."""


@dataclass(slots=True)
class Wire:
    """A message in flight."""

    sender: NodeId
    to: NodeId
    message: RaftMessage
    held: bool = False  # only `deliver` brings it


class Selection(NamedTuple):
    """Some of the messages in flight; None = any."""

    sender: NodeId | None = None
    to: NodeId | None = None
    kind: type[RaftMessage] | None = None

    def holds(self, wire: Wire) -> bool:
        return (
            self.sender in (None, wire.sender)
            and self.to in (None, wire.to)
            and (self.kind is None or isinstance(wire.message, self.kind))
        )


class Stage:
    def __init__(self) -> None:
        self.now_ns = START_NS
        self.actors: dict[NodeId, Actor] = {}
        self.terms: Terms | None = None  # None: there is no cluster yet
        self.wires: list[Wire] = []
        self.cuts: set[tuple[NodeId, NodeId]] = set()
        self.requests = 0
        self._promises = Promises()
        self._lines: list[str] = []

    def actor(self, name: str) -> Actor:
        """Raises InvalidInput when there is no such node."""
        found = self.actors.get(NodeId(name))
        if found is None:
            raise InvalidInput(
                "node", f"there is no node {name!r}", f"the nodes are {' '.join(self.actors) or 'none'}"
            )
        return found

    def running(self, name: str) -> Actor:
        """Raises InvalidInput when the node does not run."""
        actor = self.actor(name)
        if actor.raft is None:
            raise InvalidInput("node", f"{name} does not run", f"restart {name} first")
        return actor

    def add(self, name: str, *, priority: int = 0) -> Actor:
        assert self.terms is not None
        draw = len(self.actors) % DRAWS
        timing = self.terms.timing
        span_ns = timing.election_timeout_max_ns - timing.election_timeout_min_ns
        # Half a nanosecond more, so that rounding down gives the whole fraction of the span.
        fraction = (span_ns * draw // DRAWS + 0.5) / span_ns
        actor = Actor(NodeId(name), self.terms, draw=fraction, priority=priority)
        self.actors[actor.me] = actor
        return actor

    def request(self) -> RequestId:
        self.requests += 1
        return RequestId(self.requests)

    # --- what is told ------------------------------------------------------------------------------------------------

    def take_lines(self) -> list[str]:
        lines, self._lines = self._lines, []
        return lines

    def tell(self, text: str) -> None:
        self._lines.append(text)

    def tell_of(self, who: str, cause: str, parts: Sequence[Part] = ()) -> None:
        """As many parts on a line as fit."""
        line = f"{words.of_moment(self.now_ns - START_NS):>8}  {who:<2} {cause}"
        separator = ": "
        for part in parts:
            if len(line) + len(separator) + len(part.text) > LINE_MAX:
                self.tell(line + separator.rstrip())
                line = " " * CONTINUED + part.text
            else:
                line += separator + part.text
            separator = "; "
        self.tell(line)

    # --- one step ----------------------------------------------------------------------------------------------------

    def do(self, actor: Actor, cause: str, event: Event, *, routine: bool = False) -> None:
        """Let a running node take an event. What is `routine` in cause and effects is not told."""
        parts = actor.step(event, self.now_ns, self.send)
        if not routine or not all(part.routine for part in parts):
            self.tell_of(actor.me, cause, parts)
        self._promises.check(actor, self.actors)

    def resume(self, actor: Actor, cause: str, act: Callable[[], list[Part]]) -> None:
        """Let a node do what no event asks for: start, or go on after a write."""
        self.tell_of(actor.me, cause, act())
        self._promises.check(actor, self.actors)

    def send(self, sender: NodeId, envelopes: Sequence[Envelope]) -> list[Part]:
        """Through the codec, so that what a story says can also be said on the wire."""
        told: dict[str, list[str]] = {}
        routine: set[str] = set()
        for to, message in envelopes:
            text = words.of_message(message)
            lost = (sender, to) in self.cuts
            told.setdefault(text, []).append(f"{to} (cut off)" if lost else to)
            if isinstance(message, Heartbeat | HeartbeatReply):
                routine.add(text)
            if not lost:
                self.wires.append(Wire(sender, to, decode(encode(message))))
        return [Part(f"→ {text} to {' '.join(names)}", text in routine) for text, names in told.items()]

    # --- the network -------------------------------------------------------------------------------------------------

    def selected(self, selection: Selection) -> list[Wire]:
        """Raises InvalidInput when nothing like it is in flight."""
        found = [wire for wire in self.wires if selection.holds(wire)]
        if not found:
            raise InvalidInput("message", "nothing like that is in flight", "`show messages` tells what is")
        return found

    def remove(self, wire: Wire) -> None:
        """This very message: another may say the same."""
        self.wires = [other for other in self.wires if other is not wire]

    def duplicate(self, selection: Selection) -> None:
        for wire in self.selected(selection):
            self.wires.append(Wire(wire.sender, wire.to, wire.message))

    def damage(self, selection: Selection) -> None:
        """Raises InvalidInput when no piece of a snapshot is among them."""
        for wire in self.selected(selection._replace(kind=InstallSnapshot)):
            message = wire.message
            assert isinstance(message, InstallSnapshot)
            wire.message = structs.replace(message, chunk=bytes(255 - byte for byte in message.chunk))

    def arrive(self, wire: Wire, *, routine: bool = False) -> None:
        self.remove(wire)
        receiver = self.actors.get(wire.to)
        cause = f"{words.of_message(wire.message)} from {wire.sender}"
        routine = routine and isinstance(wire.message, Heartbeat | HeartbeatReply)
        if receiver is not None and receiver.raft is not None:
            self.do(receiver, cause, Received(wire.sender, wire.message), routine=routine)
        elif not routine:
            self.tell_of(wire.to, f"is down, so lost: {cause}")

    def settle(self) -> None:
        """Every message that is not held arrives, and what comes of it."""
        for _ in range(STEPS_MAX):
            wire = next((wire for wire in self.wires if not wire.held), None)
            if wire is None:
                return
            self.arrive(wire, routine=True)
        invariant(False, "the cluster comes to rest")

    def cut(self, links: set[tuple[NodeId, NodeId]]) -> None:
        """Nothing passes these links any more, also not what is in flight there."""
        self.cuts |= links
        self.wires = [wire for wire in self.wires if (wire.sender, wire.to) not in self.cuts]

    # --- time --------------------------------------------------------------------------------------------------------

    def ring(self, actor: Actor, *, routine: bool = False) -> None:
        self.do(actor, "alarm", DeadlinePassed(), routine=routine)

    def pass_time(self, duration_ns: int, *, settling: bool) -> None:
        """Alarms ring when they are due. With `settling`, messages arrive at once."""
        until_ns = self.now_ns + duration_ns
        for _ in range(STEPS_MAX):
            if settling:
                self.settle()
            due = self._next_alarm()
            if due is None or due[0] > until_ns:
                self.now_ns = until_ns
                return
            self.now_ns = max(self.now_ns, due[0])
            self.ring(due[1], routine=True)
        invariant(False, "alarms are set for later")

    def _next_alarm(self) -> tuple[int, Actor] | None:
        return min(
            ((actor.raft.deadline_ns, actor) for actor in self.actors.values() if actor.raft is not None),
            key=lambda due: due[0],
            default=None,
        )
