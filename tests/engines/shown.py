"""What the tests show of each engine: the section of docs/reference/engines.md that is made from the test files."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from incumbent.testing import CHECKS, Check
from tests.servers import etcd, postgres

HERE: Final = Path(__file__).parent
NUMBERS: Final = re.compile(r"^((P\d+|DESIGN [\d.]+)(, | to |: |\.$))+")
"""What a docstring begins with for those who look after promises."""
LABEL: Final = re.compile(r"(?!True|False|None)[A-Za-z][\w ]+")
"""What says something to a reader."""


@dataclass(frozen=True, slots=True)
class Shown:
    engine: str
    on: str  # which servers
    service: str  # the file with what the conformance suite runs against
    trouble: tuple[str, ...]  # the files with the failure tests

    @property
    def not_applicable(self) -> Sequence[Check]:
        """The checks that need what this engine's service says it cannot do."""
        cannot = {
            method.name
            for method in ast.walk(_parsed(self.service))
            if isinstance(method, ast.AsyncFunctionDef) and ast.unparse(method.body[-1]) == "return False"
        }
        return [check for check in CHECKS if cannot & _asked_of(check)]


EVERY: Final = (
    Shown(
        "local", "a directory, which several engines open", "test_conformance_local.py", ("test_local_processes.py",)
    ),
    Shown(
        "cluster", "three voters, asked from inside and from outside, and in memory", "cluster_service.py",
        ("test_cluster_processes.py", "test_cluster_lost_answers.py"),
    ),
    Shown(
        "etcd", f"etcd {etcd.VERSION}, one member and three; a part of it on {etcd.VERSION_DEBIAN}", "etcd_service.py",
        ("test_etcd_failures.py", "test_etcd_lost_answers.py"),
    ),
    Shown(
        "zookeeper", "ZooKeeper 3.8.0, one server and three", "zookeeper_service.py",
        (
            "test_zookeeper_processes.py", "test_zookeeper_partitions.py", "test_zookeeper_restored.py",
            "test_zookeeper_lost_answers.py",
        ),
    ),
    Shown(
        "postgresql", f"PostgreSQL {postgres.PACKAGES[0].rpartition('-')[2]}, directly and behind PgBouncer",
        "test_postgres_conformance.py",
        ("test_postgres_processes.py", "test_postgres_failures.py", "test_postgres_functions.py"),
    ),
    Shown(
        "redis", "Redis 7.0, with every write on disk and with none", "test_redis_conformance.py",
        ("test_redis_processes.py", "test_redis_failures.py"),
    ),
    Shown(
        "kubernetes", "the fake of `incumbent.testing` over real HTTP, **not a real API server**",
        "test_conformance_kubernetes.py", ("test_kubernetes_processes.py", "test_kubernetes_trouble.py", "test_kubernetes_turns.py"),
    ),
)  # fmt: skip


def section() -> str:
    lines = [
        "| engine | on | checks that pass | that do not apply | tests of failures and misuse |",
        "| --- | --- | --- | --- | --- |",
    ]
    for shown in EVERY:
        skipped = len(shown.not_applicable)
        tests = sum(1 for file in shown.trouble for _ in _tests(file))
        lines.append(f"| `{shown.engine}://` | {shown.on} | {len(CHECKS) - skipped} | {skipped} | {tests} |")
    for shown in EVERY:
        lines += ["", f"### Failures on `{shown.engine}://`"]
        for file in shown.trouble:
            lines += ["", f"In [{file}](../../tests/engines/{file}):", "", *_tests(file)]
    return "\n".join(lines) + "\n"


def _tests(file: str) -> Iterator[str]:
    """A line for each test: its name is a sentence, its docstring says more."""
    for node in _parsed(file).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            sentence = node.name.removeprefix("test_").replace("_", " ")
            labels = ", ".join(_labels(node))
            told = NUMBERS.sub("", " ".join((ast.get_docstring(node) or "").split()))
            yield f"- {_capital(sentence)}{labels and f' ({labels})'}. {_capital(told)}".rstrip()


def _labels(test: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    """What it is run with, where that is a list of names."""
    found = list[str]()
    for decorator in test.decorator_list:
        if not isinstance(decorator, ast.Call) or not ast.unparse(decorator.func).endswith("parametrize"):
            continue
        ids = next((word.value for word in decorator.keywords if word.arg == "ids"), None)
        values = ids or decorator.args[1]
        if isinstance(values, ast.List | ast.Tuple):
            texts = [ast.unparse(value).rpartition(".")[2].strip("'") for value in values.elts]
            found += [text.replace("_", " ") for text in texts if LABEL.fullmatch(text)]
    return found if len(found) > 1 else []


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _asked_of(check: Check) -> set[str]:
    """What a check asks of its lab."""
    calls = ast.walk(ast.parse(inspect.getsource(check)))
    return {
        node.attr for node in calls if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "lab"
    }


def _parsed(file: str) -> ast.Module:
    return ast.parse((HERE / file).read_text())
