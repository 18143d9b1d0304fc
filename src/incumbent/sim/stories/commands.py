"""Every command of the language: what it is called, what it takes, what it does to the stage."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from incumbent.consensus.api import (
    MembershipChange,
    MembershipProposed,
    PeerLost,
    Proposed,
    ReadRequested,
    Record,
    Role,
    SnapshotTaken,
    TransferRequested,
)
from incumbent.errors import InvalidInput
from incumbent.ids import Index, NodeId
from incumbent.sim.stories import casting, words
from incumbent.sim.stories.arguments import Arguments
from incumbent.sim.stories.stage import Stage


class Command(NamedTuple):
    usage: str  # begins with the name
    meaning: str
    do: Callable[[Stage, Arguments], None]

    @property
    def name(self) -> str:
        return self.usage.partition(" ")[0]


# --- time ---------------------------------------------------------------------------------------------------------------


def _wait(stage: Stage, arguments: Arguments) -> None:
    duration_ns = arguments.duration_ns()
    arguments.end()
    stage.pass_time(duration_ns, settling=False)


def _run(stage: Stage, arguments: Arguments) -> None:
    duration_ns = arguments.duration_ns()
    arguments.end()
    stage.pass_time(duration_ns, settling=True)


def _campaign(stage: Stage, arguments: Arguments) -> None:
    actor = stage.running(arguments.take("a node"))
    arguments.end()
    assert actor.raft is not None
    if actor.raft.state.role is Role.LEADER:
        raise InvalidInput("command", f"{actor.me} leads", "let time pass with `wait`")
    stage.now_ns = max(stage.now_ns, actor.raft.state.election_ns)
    stage.ring(actor)


def _elect(stage: Stage, arguments: Arguments) -> None:
    _campaign(stage, arguments)
    stage.settle()


# --- the network --------------------------------------------------------------------------------------------------------


def _deliver(stage: Stage, arguments: Arguments) -> None:
    for wire in stage.selected(arguments.selection(stage.actors)):
        stage.arrive(wire)


def _drop(stage: Stage, arguments: Arguments) -> None:
    for wire in stage.selected(arguments.selection(stage.actors)):
        stage.remove(wire)


def _duplicate(stage: Stage, arguments: Arguments) -> None:
    stage.duplicate(arguments.selection(stage.actors))


def _hold(stage: Stage, arguments: Arguments) -> None:
    for wire in stage.selected(arguments.selection(stage.actors)):
        wire.held = True


def _damage(stage: Stage, arguments: Arguments) -> None:
    stage.damage(arguments.selection(stage.actors))


def _settle(stage: Stage, arguments: Arguments) -> None:
    arguments.end()
    stage.settle()


def _cut(stage: Stage, arguments: Arguments) -> None:
    names = arguments.rest()
    nodes = set(stage.actors)
    if len(names) == 1 and "->" in names[0]:
        left, _, right = names[0].partition("->")
        froms, tos = ({stage.actor(name).me} if name else nodes for name in (left, right))
        stage.cut({(one, other) for one in froms for other in tos if one != other})
        return
    group = {stage.actor(name).me for name in names}
    if not group:
        raise InvalidInput("command", "nobody is named", "name who is cut off, or a link like a->b")
    stage.cut({pair for one in group for other in nodes - group for pair in ((one, other), (other, one))})


def _heal(stage: Stage, arguments: Arguments) -> None:
    arguments.end()
    stage.cuts = set()


# --- requests -----------------------------------------------------------------------------------------------------------


def _propose(stage: Stage, arguments: Arguments) -> None:
    actor = stage.running(arguments.take("a node"))
    texts = arguments.rest()
    if not texts:
        raise InvalidInput("command", "nothing is proposed", 'write it like propose a "x"')
    for text in texts:
        request = stage.request()
        stage.do(actor, f'propose #{request} "{text}"', Proposed(request, text.encode()))


def _read(stage: Stage, arguments: Arguments) -> None:
    actor = stage.running(arguments.take("a node"))
    arguments.end()
    request = stage.request()
    stage.do(actor, f"read #{request}", ReadRequested(request))


def _transfer(stage: Stage, arguments: Arguments) -> None:
    actor = stage.running(arguments.take("a node"))
    arguments.expect("to")
    to = stage.actor(arguments.take("a node"))
    arguments.end()
    request = stage.request()
    stage.do(actor, f"transfer #{request} to {to.me}", TransferRequested(request, to.me))


def _change(stage: Stage, arguments: Arguments) -> None:
    actor = stage.running(arguments.take("a node"))
    arguments.expect("to")
    found = arguments.sections("voters", ("learners", "witnesses"))
    groups = [frozenset(NodeId(n) for n in found.get(g, ())) for g in ("voters", "learners", "witnesses")]
    wanted = MembershipChange(*groups)
    request = stage.request()
    stage.do(actor, f"change #{request}", MembershipProposed(request, wanted))


def _snapshot(stage: Stage, arguments: Arguments) -> None:
    actor = stage.running(arguments.take("a node"))
    assert actor.raft is not None
    index = actor.raft.state.applied
    if arguments.follows("at"):
        index = Index(arguments.number("an index"))
    arguments.end()
    stage.do(actor, f"snapshot at {index}", SnapshotTaken(index, b"state@%d" % index))


def _hint(stage: Stage, arguments: Arguments) -> None:
    actor = stage.running(arguments.take("a node"))
    arguments.expect("lost")
    peer = stage.actor(arguments.take("a node"))
    arguments.end()
    stage.do(actor, f"lost the connection to {peer.me}", PeerLost(peer.me))


# --- processes and disks ------------------------------------------------------------------------------------------------


def _crash(stage: Stage, arguments: Arguments) -> None:
    actor = stage.running(arguments.take("a node"))
    if arguments.follows("after"):
        moment = arguments.take("'write' or 'send'")
        if moment not in ("write", "send"):
            raise InvalidInput("command", f"{moment!r} is no moment", "write 'after write' or 'after send'")
        if actor.outstanding is None:
            raise InvalidInput("command", f"{actor.me} is not writing", f"stall {actor.me} before it writes")
        parts = actor.write() + (actor.send_rest(stage.send) if moment == "send" else [])
        stage.tell_of(actor.me, f"crashes after the {moment}", parts)
    else:
        lost = actor.outstanding is not None
        stage.tell_of(actor.me, "crashes, and what it was writing is lost" if lost else "crashes")
    arguments.end()
    actor.stop()


def _restart(stage: Stage, arguments: Arguments) -> None:
    actor = stage.actor(arguments.take("a node"))
    arguments.end()
    if actor.raft is not None:
        raise InvalidInput("command", f"{actor.me} runs", f"crash {actor.me} first")
    actor.start(stage.now_ns)
    stage.resume(actor, "starts", lambda: actor.duties(stage.send))


def _stall(stage: Stage, arguments: Arguments) -> None:
    actor = stage.actor(arguments.take("a node"))
    arguments.end()
    actor.stalled = True


def _unstall(stage: Stage, arguments: Arguments) -> None:
    actor = stage.actor(arguments.take("a node"))
    arguments.end()
    actor.stalled = False
    if actor.outstanding is not None:
        stage.resume(actor, "the disk answers", lambda: actor.finish(stage.send) + actor.duties(stage.send))


def _forget(stage: Stage, arguments: Arguments) -> None:
    actor = stage.actor(arguments.take("a node"))
    arguments.expect("from")
    first = arguments.number("an index")
    arguments.end()
    if actor.raft is not None:
        raise InvalidInput("command", f"{actor.me} runs", f"crash {actor.me} first")
    actor.disk.apply(Record(truncate_from=Index(first)))


# --- looking ------------------------------------------------------------------------------------------------------------


def _show(stage: Stage, arguments: Arguments) -> None:
    if arguments.follows("messages"):
        lines = [
            f"{wire.sender}→{wire.to} {words.of_message(wire.message)}" + (" (held)" if wire.held else "")
            for wire in stage.wires
        ]
    else:
        lines = [casting.of_actor(actor) for actor in stage.actors.values()]
    arguments.end()
    for line in lines:
        stage.tell(line)


COMMANDS: Final[Mapping[str, Command]] = {
    command.name: command
    for command in (
        Command(
            "cluster NODES [learners NODES] [witnesses NODES] [logs NODE=TERMS…] [terms NODE=TERM…]"
            " [priorities NODE=NUMBER…] [limits NAME=NUMBER…] [timing NAME=DURATION…]",
            "sets the stage; once, and first",
            casting.cluster,
        ),
        Command("join NODE", "a new node with an empty disk, which the membership does not name yet", casting.join),
        Command("wait DURATION", "time passes, alarms ring, and no message arrives", _wait),
        Command("run DURATION", "time passes, alarms ring, and messages arrive at once", _run),
        Command("campaign NODE", "time passes up to the node's election timeout; only its alarm rings", _campaign),
        Command("elect NODE", "the same, then everything settles", _elect),
        Command("settle", "every message that is not held arrives, and what comes of it", _settle),
        Command("deliver [LINK] [KIND]", "these messages arrive, not yet what comes of them", _deliver),
        Command("drop [LINK] [KIND]", "they are lost", _drop),
        Command("duplicate [LINK] [KIND]", "each is in flight once more", _duplicate),
        Command("hold [LINK] [KIND]", "they are late: only `deliver` brings them", _hold),
        Command("damage [LINK]", "the pieces of snapshots among them are damaged on their way", _damage),
        Command("cut NODES or LINK", "nothing passes between these nodes and the others, or over this link", _cut),
        Command("heal", "all links are whole again", _heal),
        Command('propose NODE "TEXT"…', "one proposal for each text", _propose),
        Command("read NODE", "asks for a linearizable read", _read),
        Command("transfer NODE to NODE", "asks the first to hand leadership to the second", _transfer),
        Command("change NODE to NODES [learners NODES] [witnesses NODES]", "asks for this membership", _change),
        Command("snapshot NODE [at INDEX]", "the machine's state after INDEX, or after what is applied", _snapshot),
        Command("hint NODE lost NODE", "the first is told that the second's connection has closed", _hint),
        Command("crash NODE [after write or send]", "what is not durable is lost; after a stalled write, or also after what rested on it has left", _crash),
        Command("restart NODE", "begins a new life with what its disk holds", _restart),
        Command("stall NODE", "what it writes from now on does not become durable", _stall),
        Command("unstall NODE", "its disk answers again, and the node goes on", _unstall),
        Command("forget NODE from INDEX", "the disk of a node that is down loses its entries from there on", _forget),
        Command("show [messages]", "a line per node, or per message in flight", _show),
    )
}  # fmt: skip


def perform(stage: Stage, text: str) -> list[str]:
    """Do one command and give its trace. Raises InvalidInput when it makes no sense."""
    name, _, rest = text.partition(" ")
    quietly = name == "quietly"
    if quietly:
        name, _, rest = rest.partition(" ")
    command = COMMANDS.get(name)
    if command is None:
        raise InvalidInput(
            "command", f"there is no command {name!r}", f"one of quietly, {', '.join(COMMANDS)}"
        )
    if stage.terms is None and command.do is not casting.cluster:
        raise InvalidInput("command", "there is no cluster yet", "begin with `cluster a b c`")
    command.do(stage, Arguments(rest))
    lines = stage.take_lines()
    return [] if quietly else lines
