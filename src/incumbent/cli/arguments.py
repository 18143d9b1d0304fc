"""Every command and its arguments. What a command does is imported when it runs, so nothing here may import more than `options`."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from incumbent.cli.options import (
    DEFAULT_CLUSTER,
    ENVIRONMENT_PREFIX,
    OPTIONS,
    TLS_OPTIONS,
    URL_VARIABLE,
)

CLUSTER_TIMEOUT_S: Final = 30.0
ELECTION_TIMEOUT_S: Final = 5.0
SECONDS_MAX: Final = 3600.0
URL_HELP: Final = (
    f"the engine's URL; @FILE reads it from a file; {URL_VARIABLE} by default: "
    "a password on the command line is seen by every user of this host"
)


def add_demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--rounds", type=_count, default=3, metavar="N", help="rounds of all four faults (default: 3)"
    )
    parser.add_argument("--seed", type=int, default=None, metavar="S", help="fixes the order of the faults")
    _add_json(parser)
    parser.add_argument(
        "--keep", default=None, metavar="DIR", help="keep histories, logs and disks in this new directory"
    )


def add_check(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "history", nargs="+", metavar="HISTORY", help="files of JSON lines; - for standard input"
    )
    _add_json(parser)


def add_serve(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", metavar="FILE", help="TOML; flags and INCUMBENT_… variables prevail")
    for option in OPTIONS:
        if option.flag:
            parser.add_argument(f"--{option.name}", action="store_true", default=None, help=option.help)
        else:
            parser.add_argument(f"--{option.name}", metavar=option.key.upper(), help=option.help)


def add_doctor(parser: argparse.ArgumentParser) -> None:
    _add_url(parser)
    _add_json(parser)


def add_engine(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(title="verbs", required=True, metavar="VERB")
    text = "raise the incarnation after the engine's server was restored from a backup"
    verb = verbs.add_parser("bump", help=text, description=text)
    _add_url(verb)
    _add_json(verb)
    verb.set_defaults(verb="bump")


# --- cluster ----------------------------------------------------------------------------------------------------------


def add_cluster(parser: argparse.ArgumentParser) -> None:
    """Every verb with its own arguments, and those that all have."""
    verbs = parser.add_subparsers(title="verbs", required=True, metavar="VERB")
    init = _cluster_verb(verbs, "init", "form a cluster of empty nodes; once", endpoints=False)
    init.add_argument("nodes", nargs="+", metavar="NAME=HOST:PORT", help="every voter")
    init.add_argument("--witness", action="append", default=[], metavar="NAME", help="a voter without data")
    _cluster_verb(verbs, "status", "what every node tells")
    _cluster_verb(verbs, "digest", "compare the nodes' states")
    for name, text in (
        ("add", "admit an empty node as a learner"),
        ("replace", "let an empty node take the place of the member of that name"),
    ):
        verb = _cluster_verb(verbs, name, text)
        verb.add_argument("node", metavar="NAME=HOST:PORT", help="the new node, which runs already")
        if name == "add":
            verb.add_argument("--witness", action="store_true", help="it is to vote and to hold no data")
    for name, text in (
        ("promote", "make a learner a voter, once it has caught up"),
        ("demote", "make a voter a learner"),
        ("remove", "remove a node"),
        ("transfer", "hand leadership over"),
    ):
        _cluster_verb(verbs, name, text).add_argument("node", metavar="NAME", help="which")
    snapshot = _cluster_verb(verbs, "snapshot", "write everything that is acknowledged into a file")
    snapshot.add_argument("file", metavar="FILE", help="made anew; it must not exist")
    restored = _cluster_verb(
        verbs, "restore", "make a data directory from such a file: a new cluster of one node", endpoints=False
    )
    restored.add_argument("file", metavar="FILE", help="what `snapshot` wrote")
    restored.add_argument(
        "--node", required=True, metavar="NAME", help="the node that begins the new cluster"
    )
    restored.add_argument("--data-dir", required=True, metavar="DIR", help="of that node; empty or not there")


def _cluster_verb(verbs: Any, name: str, text: str, *, endpoints: bool = True) -> argparse.ArgumentParser:
    verb: argparse.ArgumentParser = verbs.add_parser(name, help=text, description=text)
    if endpoints:
        verb.add_argument(
            "--endpoints",
            default=os.environ.get(f"{ENVIRONMENT_PREFIX}ENDPOINTS"),
            metavar="HOST:PORT,…",
            help=f"any nodes of the cluster ({ENVIRONMENT_PREFIX}ENDPOINTS)",
        )
    for option in TLS_OPTIONS:
        variable = ENVIRONMENT_PREFIX + option.key.upper()
        verb.add_argument(
            f"--{option.name}",
            default=os.environ.get(variable),
            metavar="FILE",
            help=f"{option.help} ({variable})",
        )
    secret = f"{ENVIRONMENT_PREFIX}SECRET_FILE"
    verb.add_argument(
        "--secret-file",
        default=os.environ.get(secret),
        metavar="FILE",
        help=f"the operators' secret, where the nodes ask for one ({secret})",
    )
    verb.add_argument(
        "--cluster",
        default=os.environ.get(f"{ENVIRONMENT_PREFIX}CLUSTER", DEFAULT_CLUSTER),
        metavar="NAME",
        help=f"its name ({DEFAULT_CLUSTER})",
    )
    verb.add_argument(
        "--timeout",
        type=float,
        default=CLUSTER_TIMEOUT_S,
        metavar="S",
        help=f"give up after ({CLUSTER_TIMEOUT_S:g})",
    )
    _add_json(verb)
    verb.set_defaults(verb=name)
    return verb


# --- elections --------------------------------------------------------------------------------------------------------


def _with_candidate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("candidate", metavar="CANDIDATE", help="its name")


def _with_force(parser: argparse.ArgumentParser) -> None:
    _with_candidate(parser)
    parser.add_argument("--force", action="store_true", help="remove it at once, also when it leads")


def _with_why(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--why", default="", metavar="TEXT", help="for others to read")


def _with_successor(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--to", default=None, metavar="CANDIDATE", help="to whom (the most preferred)")
    parser.add_argument(
        "--warm", type=_seconds, default=10.0, metavar="S", help="seconds to warm up in (default: 10)"
    )
    parser.add_argument(
        "--drain",
        type=_seconds,
        default=5.0,
        metavar="S",
        help="seconds for the leader's work to end (default: 5)",
    )


def _with_nothing(_: argparse.ArgumentParser) -> None: ...


class ElectionVerb(NamedTuple):
    """``incumbent VERB [URL] ELECTION``, and what more can be said."""

    name: str
    help: str
    add: Callable[[argparse.ArgumentParser], None] = _with_nothing


ELECTION_VERBS: Final = (
    ElectionVerb("status", "who leads an election, who stands, what operators said"),
    ElectionVerb("leader", "who leads an election"),
    ElectionVerb("candidates", "who stands in an election, in order"),
    ElectionVerb("history", "who led an election, and why it ended"),
    ElectionVerb("why", "why an election has no leader, or why this one"),
    ElectionVerb("pause", "nobody begins to lead, until resumed; who leads goes on", _with_why),
    ElectionVerb("resume", "lift a pause"),
    ElectionVerb("drain", "a candidate does not lead until undrained", _with_candidate),
    ElectionVerb("undrain", "a drained candidate may lead again", _with_candidate),
    ElectionVerb("anoint", "a candidate leads next, and now", _with_candidate),
    ElectionVerb("evict", "a candidate leaves the queue", _with_force),
    ElectionVerb("resign", "whoever leads ends its term"),
    ElectionVerb("handover", "whoever leads hands over in good order", _with_successor),
)


def add_election_verb(parser: argparse.ArgumentParser, verb: ElectionVerb) -> None:
    _add_url(parser)
    parser.add_argument("election", metavar="ELECTION", help="its name")
    verb.add(parser)
    parser.add_argument(
        "--timeout",
        type=_seconds,
        default=ELECTION_TIMEOUT_S,
        metavar="S",
        help=f"give up when the engine does not answer for so many seconds (default: {ELECTION_TIMEOUT_S:g})",
    )
    _add_json(parser)
    parser.set_defaults(verb=verb.name)


# --- what many have ---------------------------------------------------------------------------------------------------


def _add_url(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("url", nargs="?", default=None, metavar="URL", help=URL_HELP)


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of rounds; give 1 or more")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= SECONDS_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds; give 0 to {SECONDS_MAX:g}")
    return seconds
