"""The command line: parse, call, print. Each command lives in a module of its own, imported when it is used."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import version

from incumbent.cli.cluster import add_arguments as add_cluster
from incumbent.cli.doctor import add_doctor_arguments, add_engine_arguments
from incumbent.cli.elections import add_commands as add_elections
from incumbent.cli.serve import add_arguments as add_serve
from incumbent.errors import IncumbentError
from incumbent.sim.options import add_arguments as add_simulation

EXIT_ERROR = 2
"""Bad input, or something did not work; what exactly is one line on standard error."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = build_parser().parse_args(argv)
    try:
        code: int = arguments.run(arguments)
    except IncumbentError as error:
        print(f"incumbent: {error}", file=sys.stderr)
        return EXIT_ERROR
    except KeyboardInterrupt:
        return 130
    return code


def build_parser() -> argparse.ArgumentParser:
    """Every command and option; docs/reference/cli.md is checked against it."""
    parser = argparse.ArgumentParser(prog="incumbent", description="Leader election that never lets two act.")
    parser.add_argument("--version", action="version", version=f"incumbent {version('incumbent')}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    demo = commands.add_parser("demo", help="three real processes, one leader, and what can go wrong with it")
    demo.add_argument(
        "--rounds", type=_count, default=3, metavar="N", help="rounds of all four faults (default: 3)"
    )
    demo.add_argument("--seed", type=int, default=None, metavar="S", help="fixes the order of the faults")
    demo.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    demo.add_argument(
        "--keep", default=None, metavar="DIR", help="keep histories, logs and disks in this new directory"
    )
    demo.set_defaults(run=_demo)

    check = commands.add_parser("check", help="judge a recorded history")
    check.add_argument(
        "history", nargs="+", metavar="HISTORY", help="files of JSON lines; - for standard input"
    )
    check.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    check.set_defaults(run=_check)

    serve = commands.add_parser("serve", help="run one voter of a cluster")
    add_serve(serve)
    serve.set_defaults(run=_serve)

    cluster = commands.add_parser("cluster", help="form, inspect and change a cluster")
    add_cluster(cluster)
    cluster.set_defaults(run=_cluster)

    doctor = commands.add_parser("doctor", help="examine an engine, and propose a TTL for it")
    add_doctor_arguments(doctor)
    doctor.set_defaults(run=_doctor)

    engine = commands.add_parser("engine", help="what an operator does to an engine that is not ours")
    add_engine_arguments(engine)
    engine.set_defaults(run=_engine)
    add_elections(commands)

    simulate = commands.add_parser(
        "simulate", help="run the consensus core through seeded faults in simulated time"
    )
    add_simulation(simulate)
    simulate.set_defaults(run=_simulate)
    return parser


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of rounds; give 1 or more")
    return int(text)


def _demo(arguments: argparse.Namespace) -> int:
    from incumbent.cli.demo.command import demo

    return demo(rounds=arguments.rounds, seed=arguments.seed, as_json=arguments.json, keep=arguments.keep)


def _simulate(arguments: argparse.Namespace) -> int:
    from incumbent.sim.command import simulate

    return simulate(arguments)


def _serve(arguments: argparse.Namespace) -> int:
    from incumbent.cli.serve import serve

    return serve(arguments)


def _cluster(arguments: argparse.Namespace) -> int:
    from incumbent.cli.cluster import cluster

    return cluster(arguments)


def _doctor(arguments: argparse.Namespace) -> int:
    from incumbent.cli.doctor import doctor

    return doctor(arguments)


def _engine(arguments: argparse.Namespace) -> int:
    from incumbent.cli.doctor import engine

    return engine(arguments)


def _check(arguments: argparse.Namespace) -> int:
    from incumbent.cli.check import check

    return check(arguments.history, as_json=arguments.json)
