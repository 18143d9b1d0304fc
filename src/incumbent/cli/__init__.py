"""The command line: parse, call, print. Each command lives in a module of its own, imported when it is used."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final

from incumbent.cli import arguments as add
from incumbent.errors import IncumbentError
from incumbent.sim.options import add_arguments as add_simulate

EXIT_ERROR: Final = 2
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
    parser.add_argument("--version", action=_Version)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def command(name: str, text: str, run: Callable[[argparse.Namespace], int]) -> argparse.ArgumentParser:
        made: argparse.ArgumentParser = commands.add_parser(name, help=text)
        made.set_defaults(run=run)
        return made

    add.add_demo(command("demo", "three real processes, one leader, and what can go wrong with it", _demo))
    add.add_check(command("check", "judge a recorded history", _check))
    add.add_serve(command("serve", "run one voter of a cluster", _serve))
    add.add_cluster(command("cluster", "form, inspect and change a cluster", _cluster))
    add.add_doctor(command("doctor", "examine an engine, and propose a TTL for it", _doctor))
    add.add_engine(command("engine", "what an operator does to an engine that is not ours", _engine))
    for verb in add.ELECTION_VERBS:
        add.add_election_verb(command(verb.name, verb.help, _operate), verb)
    add_simulate(
        command("simulate", "run the consensus core through seeded faults in simulated time", _simulate)
    )
    return parser


class _Version(argparse.Action):
    """``--version``. Only who asks pays for looking it up, which is more than all the rest of the parser."""

    def __init__(self, option_strings: Sequence[str], dest: str) -> None:
        super().__init__(option_strings, dest, nargs=0, help="print the version, and exit")

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from importlib.metadata import version

        print(f"incumbent {version('incumbent')}")
        parser.exit()


def _demo(arguments: argparse.Namespace) -> int:
    from incumbent.cli.demo.command import demo

    return demo(rounds=arguments.rounds, seed=arguments.seed, as_json=arguments.json, keep=arguments.keep)


def _check(arguments: argparse.Namespace) -> int:
    from incumbent.cli.check import check

    return check(arguments.history, as_json=arguments.json)


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


def _operate(arguments: argparse.Namespace) -> int:
    from incumbent.cli.elections import operate

    return operate(arguments)


def _simulate(arguments: argparse.Namespace) -> int:
    from incumbent.sim.command import simulate

    return simulate(arguments)
