"""Imports only point down, and PURE layers touch nothing but their arguments.

Read from the source text, so imports under TYPE_CHECKING and inside functions count like any other.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SRC = Path(__file__).parent.parent / "src" / "incumbent"

# From the bottom to the top. Layers of one line are strangers: they may not import each other.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("errors", "ids"),
    ("consensus", "kv", "check"),
    ("node",),
    ("ports",),
    ("runtime",),
    ("engines",),
    ("fencing",),
    ("guardian",),
    ("leadership",),
    ("recipes",),
    ("server",),
    ("sim", "testing"),
    ("cli",),
    ("__main__",),
)
RANK = {name: rank for rank, line in enumerate(LAYERS) for name in line}

PURE = (
    "errors", "ids", "consensus", "kv", "check", "node", "engines/api.py", "recipes/ticks.py", "recipes/view.py",
    *(f"leadership/{name}.py" for name in ("control", "history", "outcome", "preference", "roll", "standing", "tenure", "why")),
)  # fmt: skip
IMPURE_MODULES = {
    "asyncio", "concurrent", "ctypes", "datetime", "io", "logging", "multiprocessing", "os", "pathlib", "select",
    "selectors", "shutil", "signal", "socket", "sqlite3", "ssl", "subprocess", "sys", "tempfile", "threading", "time",
    "uuid",
}  # fmt: skip
IMPURE_CALLS = {"open", "print", "input", "__import__", "exec", "eval"}

# The faces at the top may import everything; the package's own page re-exports the public names.
FACES = {"__init__", "blocking"}


def layer_of(path: Path, root: Path) -> str:
    first = path.relative_to(root).parts[0]
    return first.removesuffix(".py")


def imported_modules(tree: ast.Module) -> list[tuple[int, str]]:
    found: list[tuple[int, str]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                found.append((node.lineno, "relative import"))
            elif node.module == "incumbent":
                found += [(node.lineno, f"incumbent.{alias.name}") for alias in node.names]
            else:
                found.append((node.lineno, node.module or ""))
    return found


def is_pure(path: Path, root: Path) -> bool:
    relative = path.relative_to(root).as_posix()
    return any(relative in (p, f"{p}.py") or relative.startswith(f"{p}/") for p in PURE)


def violations(root: Path) -> list[str]:
    """Every import that points up or sideways, and everything impure in a PURE layer."""
    bad: list[str] = []
    for path in sorted(root.rglob("*.py")):
        here = layer_of(path, root)
        if here in FACES:
            continue
        where = path.relative_to(root).as_posix()
        if here not in RANK:
            bad.append(f"{where}: {here!r} is not a layer")
            continue
        tree = ast.parse(path.read_text())
        for line, module in imported_modules(tree):
            if module == "relative import":
                bad.append(f"{where}:{line}: relative import; write it in full")
            if module == "incumbent" or module.startswith("incumbent."):
                there = module.split(".")[1] if "." in module else "incumbent"
                if there in FACES or there not in RANK:
                    bad.append(f"{where}:{line}: imports {module}, which is no layer below")
                elif there != here and RANK[there] >= RANK[here] and (here, there) != ("ids", "errors"):
                    bad.append(f"{where}:{line}: {here} imports {module}; imports only point down")
            if is_pure(path, root):
                if module.split(".")[0] in IMPURE_MODULES:
                    bad.append(f"{where}:{line}: a PURE layer imports {module}")
                above = module.startswith("incumbent.") and RANK.get(module.split(".")[1], -1) > RANK["node"]
                if above and module.removeprefix("incumbent.").replace(".", "/") + ".py" not in PURE:
                    bad.append(f"{where}:{line}: a PURE layer imports {module}")
        if is_pure(path, root):
            bad += [f"{where}:{line}: a PURE layer calls {name}" for line, name in impure_calls(tree)]
    return bad


def impure_calls(tree: ast.Module) -> list[tuple[int, str]]:
    found: list[tuple[int, str]] = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        match node.func:
            case ast.Name(id=name) if name in IMPURE_CALLS:
                found.append((node.lineno, f"{name}()"))
            case ast.Attribute(value=ast.Name(id="random"), attr=attr) if attr != "Random" and _is_module(
                tree
            ):
                found.append((node.lineno, f"random.{attr}(), the global generator"))
            case _:
                pass
    return found


def _is_module(tree: ast.Module) -> bool:
    """Whether `random` names the module here (and not an argument of that name)."""
    return any(
        isinstance(node, ast.Import) and any(alias.name == "random" for alias in node.names)
        for node in ast.walk(tree)
    )


def test_imports_only_point_down_and_pure_layers_are_pure() -> None:
    assert violations(SRC) == []


def test_every_layer_of_the_design_exists() -> None:
    missing = [n for n in RANK if not (SRC / f"{n}.py").exists() and not (SRC / n / "__init__.py").exists()]
    assert missing == []


@pytest.mark.parametrize(
    ("path", "source", "says"),
    [
        ("kv/bad.py", "from incumbent.runtime import driver\n", "imports only point down"),
        ("kv/bad.py", "import incumbent.consensus.api\n", "imports only point down"),
        ("kv/bad.py", "from incumbent import node\n", "imports only point down"),
        ("runtime/bad.py", "import incumbent\n", "no layer below"),
        ("node/bad.py", "def f():\n    import socket\n", "PURE layer imports socket"),
        (
            "consensus/bad.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import asyncio\n",
            "PURE layer imports asyncio",
        ),
        (
            "consensus/bad.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from incumbent.engines import api\n",
            "imports only point down",
        ),
        ("leadership/tenure.py", "from time import monotonic\n", "PURE layer imports time"),
        (
            "leadership/tenure.py",
            "import incumbent.engines.registry\n",
            "PURE layer imports incumbent.engines",
        ),
        ("check/bad.py", "x = open('y')\n", "PURE layer calls open()"),
        ("node/bad.py", "import random\nx = random.random()\n", "the global generator"),
        ("engines/bad.py", "from . import api\n", "relative import"),
        ("nowhere/bad.py", "", "is not a layer"),
    ],
)
def test_a_planted_violation_is_found(tmp_path: Path, path: str, source: str, says: str) -> None:
    """The checker can fail: each way to break the rule is planted and seen."""
    planted = tmp_path / path
    planted.parent.mkdir(parents=True)
    planted.write_text(source)
    (finding,) = {f for f in violations(tmp_path) if says in f}
    assert finding.startswith(path)


def test_what_the_rule_allows_is_not_reported(tmp_path: Path) -> None:
    allowed = tmp_path / "node" / "good.py"
    allowed.parent.mkdir()
    allowed.write_text(
        "import random\nfrom incumbent.kv import api\n\n"
        "def f(seed: int) -> float:\n    return random.Random(seed).random()\n"
    )
    assert violations(tmp_path) == []
