"""``incumbent cluster VERB``: what an operator does to a cluster, from any host that reaches it."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final

from incumbent.cli.options import TLS_OPTIONS, parse_address, parse_named
from incumbent.engines.cluster.backup import read_backup, restore, write_backup
from incumbent.errors import InvalidInput
from incumbent.ids import ClusterName, NodeId, name_of
from incumbent.runtime.access import read_secret
from incumbent.runtime.operator import Operator, Report
from incumbent.runtime.tls import Tls, TlsFiles

DIGEST_PAUSE_S: Final = 0.2
Output = dict[str, Any]


def cluster(arguments: argparse.Namespace) -> int:
    """Do it, and print what came of it. Raises IncumbentError."""
    output = asyncio.run(_run(arguments))
    print(json.dumps(output, indent=1) if arguments.json else _shown(arguments.verb, output))
    return 0


async def _run(arguments: argparse.Namespace) -> Output:
    deadline = asyncio.get_running_loop().time() + arguments.timeout
    endpoints = _endpoints(arguments)
    files = TlsFiles.of(*(getattr(arguments, option.key) for option in TLS_OPTIONS))
    tls = None if files is None else Tls(files)
    secrets = () if arguments.secret_file is None else (read_secret(arguments.secret_file),)
    operator = Operator(arguments.cluster, endpoints, deadline, tls=tls, secrets=secrets)
    return await VERBS[arguments.verb](operator, arguments)


def _endpoints(arguments: argparse.Namespace) -> Sequence[tuple[str, int]]:
    if not hasattr(arguments, "endpoints"):
        return ()
    if not arguments.endpoints:
        raise InvalidInput("endpoints", "are missing", "give --endpoints host:port,… of any nodes")
    return [parse_address("endpoints", text) for text in arguments.endpoints.split(",")]


async def _init(operator: Operator, arguments: argparse.Namespace) -> Output:
    named = [parse_named("nodes", text) for text in arguments.nodes]
    nodes = dict(named)
    if len(nodes) != len(named):
        raise InvalidInput("nodes", "name one twice", "name each node once")
    for witness in arguments.witness:
        if witness not in nodes:
            raise InvalidInput("witness", f"{witness} is none of the nodes", "name one of them")
    await operator.init(nodes, arguments.witness)
    return {"formed": sorted(nodes), "witnesses": sorted(arguments.witness)}


async def _status(operator: Operator, _: argparse.Namespace) -> Output:
    reports = await operator.everyone()
    return {"nodes": {n: r if isinstance(r, dict) else {"unreachable": r} for n, r in reports.items()}}


async def _digest(operator: Operator, _: argparse.Namespace) -> Output:
    """Digests of one index are comparable; nodes that are a little apart are asked again."""
    while True:
        taken = await operator.digests()
        told = {
            name: report for name, report in taken.items() if isinstance(report, dict) and report["digest"]
        }
        by_index: dict[int, set[str]] = {}
        for report in told.values():
            by_index.setdefault(report["index"], set()).add(report["digest"])
        loop = asyncio.get_running_loop()
        if len(by_index) <= 1 or loop.time() + DIGEST_PAUSE_S > operator.deadline:
            break
        await asyncio.sleep(DIGEST_PAUSE_S)
    nodes = {
        name: {key: report[key] for key in ("index", "digest", "agreed", "split")}
        if isinstance(report, dict)
        else {"unreachable": report}
        for name, report in taken.items()
    }
    same = None if len(by_index) > 1 or not by_index else len(next(iter(by_index.values()))) == 1
    return {"same": same, "nodes": nodes}


async def _add(operator: Operator, arguments: argparse.Namespace) -> Output:
    name, address = parse_named("node", arguments.node)
    return {"added": await operator.add(name, address, witness=arguments.witness), "as": "learner"}


async def _replace(operator: Operator, arguments: argparse.Namespace) -> Output:
    name, address = parse_named("node", arguments.node)
    await operator.replace(name, address)
    return {"replaced": name, **await _members(operator)}


def _with_node(verb: Callable[[Operator, str], Awaitable[None]]) -> Callable[..., Awaitable[Output]]:
    async def run(operator: Operator, arguments: argparse.Namespace) -> Output:
        await verb(operator, arguments.node)
        return await _members(operator)

    return run


async def _members(operator: Operator) -> Output:
    members = await operator.members()
    return {role: [name_of(NodeId(m)) for m in members[role]] for role in ("voters", "learners", "witnesses")}


async def _transfer(operator: Operator, arguments: argparse.Namespace) -> Output:
    await operator.transfer(arguments.node)
    return {"leader": arguments.node}


async def _snapshot(operator: Operator, arguments: argparse.Namespace) -> Output:
    taken, state = await operator.fetch_state()
    write_backup(Path(arguments.file), operator.cluster, taken, state)
    return {"file": arguments.file, "index": taken["index"], "bytes": taken["bytes"]}


async def _restore(operator: Operator, arguments: argparse.Namespace) -> Output:
    backup = read_backup(Path(arguments.file))
    voter = restore(backup, Path(arguments.data_dir), ClusterName(operator.cluster), arguments.node)
    return {"voter": voter, "data_dir": arguments.data_dir, "index": backup.index}


VERBS: Final[dict[str, Callable[[Operator, argparse.Namespace], Awaitable[Output]]]] = {
    "init": _init,
    "status": _status,
    "digest": _digest,
    "add": _add,
    "replace": _replace,
    "promote": _with_node(Operator.promote),
    "demote": _with_node(Operator.demote),
    "remove": _with_node(Operator.remove),
    "transfer": _transfer,
    "snapshot": _snapshot,
    "restore": _restore,
}


def _shown(verb: str, output: Output) -> str:
    if verb == "status":
        return _table(output["nodes"])
    if verb == "digest":
        return _digests(output)
    return "\n".join(
        f"{key}: {', '.join(map(str, v)) if isinstance(v, list) else v}" for key, v in output.items()
    )


def _digests(output: Output) -> str:
    said = {
        True: "all nodes have the same state",
        False: "THE NODES HAVE DIFFERENT STATES AT ONE INDEX",
        None: "no two digests are of one index: compare what a majority agreed on, or ask while little is written",
    }
    lines = []
    for name, node in output["nodes"].items():
        if "unreachable" in node:
            lines.append(f"{name}: {node['unreachable']}")
            continue
        agreed = node["agreed"]
        told = "none yet" if agreed is None else f"{agreed['digest']} at {agreed['index']}"
        split = "" if node["split"] is None else f"; NO MAJORITY at {node['split']}"
        lines.append(
            f"{name}: {node['digest'] or 'a witness has none'} at {node['index']}; agreed: {told}{split}"
        )
    return "\n".join([*lines, said[output["same"]]])


COLUMNS: Final = ("node", "role", "state", "term", "leader", "applied", "lag", "version", "address")


def _table(nodes: dict[str, Report]) -> str:
    most = max([int(report.get("commit", 0)) for report in nodes.values()], default=0)
    rows = [COLUMNS, *(_row(name, report, most) for name, report in nodes.items())]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _row(name: str, report: Report, most: int) -> tuple[str, ...]:
    if "unreachable" in report:
        return (name, "-", "unreachable", "-", "-", "-", "-", "-", report["unreachable"])
    host, port = report["addresses"].get(name, ("?", 0))
    if "role" not in report:
        return (name, "-", "waits for its cluster", "-", "-", "-", "-", report["version"], f"{host}:{port}")
    leader = name_of(NodeId(report["leader"])) if report["leader"] else "none"
    return (
        name,
        report["role"],
        report["state"],
        str(report["term"]),
        leader,
        str(report["applied"]),
        str(most - report["applied"]),
        report["version"],
        f"{host}:{port}",
    )
