"""The numbered promises in one sentence each, and how each one stands.

A promise is held when a test names it in its docstring and a planted fault turns such a test red. In part: what is lacking
is said. Not yet: nothing of it is claimed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Standing(StrEnum):
    HELD = "held"
    IN_PART = "in part"
    NOT_YET = "not yet"


@dataclass(frozen=True, slots=True)
class Promise:
    number: int
    words: str
    standing: Standing = Standing.NOT_YET
    lacking: str = ""  # of IN_PART: what is

    @property
    def name(self) -> str:
        return f"P{self.number}"


HELD, IN_PART = Standing.HELD, Standing.IN_PART

AREAS: Final[tuple[tuple[str, tuple[Promise, ...]], ...]] = (
    (
        "Candidates",
        (
            Promise(
                1, "A candidate whose session ended in the queue never leads on it, and soon knows.", HELD
            ),
            Promise(2, "A campaign that failed or was cancelled leaves nothing behind beyond one TTL.", HELD),
            Promise(3, "Whatever is asked again because an answer was lost takes effect once.", HELD),
            Promise(
                4,
                "A campaign cancelled at any point leads to no leadership, or to one that is released.",
                HELD,
            ),
            Promise(
                5, "No two election names ever touch each other; odd names work or are refused aloud.", HELD
            ),
            Promise(
                6,
                "One identity that campaigns twice leads once at a time; identities are unique per start.",
                HELD,
            ),
            Promise(7, "Who lost can campaign again with the same object, and its token is higher.", HELD),
            Promise(
                8,
                "After everything was down, all candidates together still get a leader within a bound.",
                HELD,
            ),
        ),
    ),
    (
        "Time",
        (
            Promise(9, "Steps of the wall clock change nothing.", HELD),
            Promise(
                10, "A lease counts from before its request left, so slow replies never make two lead.", HELD
            ),
            Promise(11, "After a stop or suspend past the TTL the first look says no, before any I/O.", HELD),
            Promise(12, "A renewal confirmed after the deadline does not bring leadership back.", HELD),
            Promise(
                13,
                "What remains of a lease only falls, but for confirmed renewals, and never exceeds the TTL.",
                HELD,
            ),
            Promise(
                14,
                "Clocks that drift within the declared bound never make two lead; beyond it the fence holds.",
                HELD,
            ),
            Promise(15, "The holder's TTL decides when it may be replaced, never the challenger's.", HELD),
            Promise(
                16, "The TTL granted is the TTL asked for, or an error: never rounded, never clamped.", HELD
            ),
            Promise(
                17,
                "A challenger without proof waits a full TTL from when it first saw a record, however old.",
                HELD,
            ),
        ),
    ),
    (
        "Renewal",
        (
            Promise(
                18,
                "Errors that may pass do not end a term; the engine's word that it is over does, at once.",
                HELD,
            ),
            Promise(
                19,
                "An error of an unknown kind leads to stepping down in time, never to work without renewal.",
                HELD,
            ),
            Promise(
                20, "A blocked loop ends a term only past the margin, and the reason given says so.", HELD
            ),
            Promise(
                21, "A callback that hangs does not stop renewal; work that died does, and releases.", HELD
            ),
            Promise(22, "Renewals never overlap, and a late answer of an older one is ignored.", HELD),
            Promise(
                23,
                "Renewals are spread out: many elections do not renew at one moment.",
                HELD,
            ),
        ),
    ),
    (
        "Notification and cancellation",
        (
            Promise(24, "Each term is started once and stopped once, in this order.", HELD),
            Promise(25, "In one process a term's body begins only after the body before has ended.", HELD),
            Promise(
                26,
                "Quick changes may be merged for observers, but the latest state and every new token arrive.",
                HELD,
            ),
            Promise(
                27,
                "The body is cancelled before the lease can end; if it does not end, that is escalated.",
                HELD,
            ),
            Promise(
                28,
                "Work in a thread sees the end by asking, at the deadline at latest and without I/O.",
                HELD,
            ),
            Promise(29, "Closing ends everything in order and tells everybody who listens.", HELD),
        ),
    ),
    (
        "Tokens and fences",
        (
            Promise(
                30,
                "Tokens of an election only rise, whatever restarts or changes.",
                HELD,
            ),
            Promise(
                31,
                "After a restore from an older backup no token is given out twice.",
                HELD,
            ),
            Promise(32, "Deleting the state by hand does not make tokens fall.", HELD),
            Promise(
                33, "A fence that saw a token refuses every lower one, in one step with the write.", HELD
            ),
            Promise(
                34,
                "A former leader's late write is refused; a new leader can close the door before it writes.",
                HELD,
            ),
            Promise(35, "Tokens of all engines are ordered by one rule, without overflow.", HELD),
        ),
    ),
    (
        "Observing",
        (
            Promise(
                36,
                "An observer is shown who led, and 'unknown' after lost contact, never an old leader.",
                HELD,
            ),
            Promise(37, "An observer never sees a token fall.", HELD),
            Promise(
                38,
                "A watch that has lost its quorum or its history ends with an error.",
                HELD,
            ),
        ),
    ),
    (
        "Handing over",
        (
            Promise(
                39, "Leadership is released only after the body has ended, and renewed until then.", HELD
            ),
            Promise(40, "Handing over to somebody who is gone leaves leadership where it is.", HELD),
            Promise(
                41,
                "A planned handover costs two round trips and the callback, measured.",
                HELD,
            ),
            Promise(
                42,
                "A pause freezes elections: the leader stays, and nobody takes over until it is lifted.",
                HELD,
            ),
            Promise(
                43,
                "Preference elects nobody unfit, and pre-empts at most once per delay.",
                HELD,
            ),
            Promise(
                44, "After an unclean loss the next leader starts no sooner than the release delay.", HELD
            ),
        ),
    ),
    (
        "Engines",
        (
            Promise(
                45,
                "PostgreSQL: rows decide, their order is the commit order, and lost backends are noticed.",
                HELD,
            ),
            Promise(46, "Redis: a failover that lost the key never gives a fence a lower token.", HELD),
            Promise(
                47,
                "ZooKeeper: only acknowledged renewals count, and a session that ended stays over.",
                HELD,
            ),
            Promise(
                48,
                "etcd: what was true before a wait is asked again in the step that claims; logins that run out end nothing.",
                HELD,
            ),
            Promise(
                49,
                "Kubernetes: a conflict means reading again, throttling is respected, a deletion ends the term.",
                HELD,
            ),
            Promise(
                50,
                "Local: forks release nothing, stale pids and network file systems are seen, a reboot ends all.",
                HELD,
            ),
        ),
    ),
    (
        "Raft",
        (
            Promise(
                51,
                "Nothing is said before what it rests on is durable: a kill at any moment never makes two lead.",
                HELD,
            ),
            Promise(
                52,
                "Who comes back deposes no healthy leader; a cut-off leader stops within an election timeout.",
                HELD,
            ),
            Promise(
                53, "While a leader was heard, votes are refused, unless that leader asked for them.", HELD
            ),
            Promise(
                54, "A transfer that fails is over after an election timeout, and proposals resume.", HELD
            ),
            Promise(55, "A voter whose disk was wiped cannot vote as its former self.", HELD),
            Promise(56, "A leader whose disk stalls loses leadership within a bound.", HELD),
            Promise(
                57,
                "Changes of who votes happen one at a time, survive leaders, and never let two quorums part.",
                HELD,
            ),
            Promise(58, "A leader that was deposed ends nobody's lease.", HELD),
            Promise(
                59,
                "A change of leaders never shortens a lease, and many of them keep no dead holder alive.",
                HELD,
            ),
        ),
    ),
    (
        "Replicated partitions",
        (
            Promise(
                60,
                "A leader comes from those in sync, or from the next best by a declared rule that is counted.",
            ),
            Promise(61, "Nothing counts as committed while too few are in sync."),
            Promise(62, "A change decided on old epochs is refused."),
            Promise(
                63, "Who was fenced or came anew is in sync only after catching up with its own registration."
            ),
            Promise(
                64, "Followers cut their logs by leader epochs, so clean elections lose nothing committed."
            ),
            Promise(65, "Moves to a preferred leader are bounded, and only to who is in sync."),
        ),
    ),
    (
        "Rings and views",
        (
            Promise(
                66, "All who hold one view compute the same owners, on every version and platform.", HELD
            ),
            Promise(67, "Between prepare and commit of a view no key is served by two owners."),
            Promise(68, "One node more or less moves about its own share of the keys.", HELD),
        ),
    ),
    (
        "Hot standby",
        (
            Promise(69, "A standby that lags or disagrees is not promoted without force."),
            Promise(70, "After a failover every output appears exactly once."),
            Promise(71, "A new active has replayed all committed input before its first output."),
        ),
    ),
    (
        "Command line and process",
        (
            Promise(72, "On loss the whole process group is dead before the lease can end."),
            Promise(73, "Exit codes, signals and the terminal pass through; the end of the child releases."),
            Promise(74, "The child knows its token before its first instruction."),
            Promise(75, "A forked child never leads, and does its parent no harm.", HELD),
            Promise(
                76,
                "The end of the interpreter releases or lets the lease run out, and never hangs.",
                HELD,
            ),
            Promise(77, "Bytes from outside never run code, and none of them stop a node.", HELD),
        ),
    ),
)
PROMISES: Final = tuple(promise for _, promises in AREAS for promise in promises)

ENGINE_BY_ENGINE: Final = (*range(1, 30), 39, 75, 76)
"""Promises of leadership: each has tests on each engine that leadership's stories are run on, or a reason why not."""
ELSEWHERE: Final[Mapping[int, str]] = {
    9: "the voters' core takes time as an argument, and the page of layers keeps every other clock out",
    11: "the first look asks no engine",
    14: "real clocks cannot be made to drift: simulated, above every engine",
    23: "one keeper renews for every engine, and is tested above them",
    76: "the end of an interpreter asks no engine",
}
