"""The command line: what it prints, what it returns, and that it is documented."""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from incumbent.cli import build_parser, cluster, elections, main
from incumbent.cli.arguments import ELECTION_VERBS

ROOT = Path(__file__).parent.parent.parent
LAYERS = ["engines", "leadership", "runtime", "consensus", "node", "kv", "guardian", "fencing", "server"]

CLEAN = [
    {"event": "elected", "time_ns": 1, "election": "e", "candidate": "a", "process": "1@1", "token": 2, "deadline_ns": 9},
    {"event": "elected", "time_ns": 9, "election": "e", "candidate": "b", "process": "2@1", "token": 3, "deadline_ns": 20},
]  # fmt: skip


def saved(path: Path, lines: list[dict[str, object]]) -> str:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(path)


def commands(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.items()


def test_every_command_and_option_is_documented_and_has_help() -> None:
    page = (ROOT / "docs" / "reference" / "cli.md").read_text()
    missing = []
    for name, parser in commands(build_parser()):
        section = page.partition(f"## incumbent {name}\n")[2].partition("\n## ")[0]
        missing += [f"{name} {option}" for option in undocumented(parser, section)]
        for verb, own in commands(parser):
            missing += [verb] if f"| `{verb}" not in section else []
            missing += [f"{name} {verb} {option}" for option in undocumented(own, section)]
    assert missing == []


def undocumented(parser: argparse.ArgumentParser, section: str) -> list[str]:
    """Options and arguments that the section does not name. Each must have help, too."""
    missing = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            continue
        assert action.help, f"{parser.prog} {action.dest} has help"
        options = set(action.option_strings or [str(action.metavar)]) - {"-h", "--help"}
        missing += [
            option for option in sorted(options) if not re.search(rf"`[^`]*{re.escape(option)}", section)
        ]
    return missing


def test_check_says_ok(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", saved(tmp_path / "h", CLEAN)]) == 0
    assert capsys.readouterr().out.endswith("verdict: ok\n")


def test_check_reads_several_files_as_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [saved(tmp_path / str(n), [line]) for n, line in enumerate(CLEAN)]
    assert main(["check", "--json", *files]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["verdict"], report["leaderships"], report["tokens"]) == ("ok", 2, {"e": [2, 3]})


def test_check_finds_an_overlap(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = [CLEAN[0], CLEAN[1] | {"time_ns": 8}]
    assert main(["check", "--json", saved(tmp_path / "h", bad)]) == 1
    report = json.loads(capsys.readouterr().out)
    assert (report["verdict"], report["overlaps"]) == ("violated", 1)
    assert report["findings"][0]["lines"] == [1, 2]


def test_an_empty_history_is_unknown(tmp_path: Path) -> None:
    assert main(["check", saved(tmp_path / "h", [])]) == 2


@pytest.mark.parametrize(
    ("content", "says"), [("{\n", "line 1: is no JSON"), ("[]\n", "line 1: is no JSON object")]
)
def test_bad_input_is_one_line_on_standard_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, says: str
) -> None:
    (tmp_path / "h").write_text(content)
    assert main(["check", str(tmp_path / "h")]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("incumbent: line 1")
    assert says in err
    assert err.count("\n") == 1


def test_a_missing_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(tmp_path / "nothing")]) == 2
    assert "HISTORY: " in capsys.readouterr().err


@pytest.mark.parametrize("rounds", ["0", "-1", "x", "1.5"])
def test_a_bad_number_of_rounds_is_refused(rounds: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["demo", "--rounds", rounds])
    assert exit_.value.code == 2
    assert "--rounds" in capsys.readouterr().err


def test_keep_refuses_a_directory_in_use(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "something").touch()
    assert main(["demo", "--keep", str(tmp_path)]) == 2
    assert "--keep: " in capsys.readouterr().err
    assert [item.name for item in tmp_path.iterdir()] == ["something"]


def test_version_and_help_work_as_a_module() -> None:
    for option in ("--version", "--help"):
        done = subprocess.run(
            [sys.executable, "-m", "incumbent", option], capture_output=True, text=True, check=True
        )
        assert done.stdout.startswith(("incumbent ", "usage: incumbent"))
        assert done.stderr == ""


@pytest.mark.parametrize(
    ("command", "unwanted"),
    [
        (["--help"], ["asyncio", "msgspec", "importlib.metadata", *LAYERS]),
        (["cluster", "add", "--help"], ["asyncio", "msgspec", "importlib.metadata", *LAYERS]),
        (["leader", "local://{}", "e"], ["kv", "consensus", "node", "sim.run", "server"]),
        (["serve"], ["engines", "leadership", "guardian", "sim.run"]),
    ],
)
def test_a_command_imports_nothing_that_it_does_not_use(
    tmp_path: Path, command: list[str], unwanted: list[str]
) -> None:
    code = "import sys; from incumbent.cli import main; import atexit; atexit.register(lambda: print(*sys.modules)); main(sys.argv[1:])"
    said = [part.format(tmp_path) for part in command]
    done = subprocess.run([sys.executable, "-c", code, *said], capture_output=True, text=True, check=True)
    modules = done.stdout.splitlines()[-1].split()
    assert "incumbent.cli" in modules
    found = [m for m in modules for u in unwanted if f"{m}.".startswith((f"{u}.", f"incumbent.{u}."))]
    assert found == []


def test_every_verb_of_the_parser_is_carried_out() -> None:
    """They stand apart, so that the one costs nothing without the other."""
    assert list(elections.VERBS) == [verb.name for verb in ELECTION_VERBS]
    of_cluster = dict(commands(build_parser()))["cluster"]
    assert [name for name, _ in commands(of_cluster)] == list(cluster.VERBS)


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_the_demo_ends_clean(tmp_path: Path) -> None:
    """The main job, on real processes: every kind of fault, no overlap, rising tokens, the late write refused (P11, P30,
    P33, P34), and a history that `incumbent check` judges the same way."""
    kept = tmp_path / "kept"
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "incumbent",
            "demo",
            "--rounds",
            "1",
            "--json",
            "--seed",
            "7",
            "--keep",
            str(kept),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert (report["verdict"], report["overlaps"], report["seed"]) == ("ok", 0, 7)
    assert report["refused_writes"] >= 1
    assert report["tokens"] == sorted(set(report["tokens"]))
    kinds = {failover["kind"] for failover in report["failovers"]}
    assert kinds == {"holder_killed", "raft_leader_killed", "holder_stopped", "resigned"}
    assert all(failover["ms"] > 0 for failover in report["failovers"])
    histories = sorted(str(path) for path in kept.glob("history-*.jsonl"))
    assert main(["check", *histories]) == 0
