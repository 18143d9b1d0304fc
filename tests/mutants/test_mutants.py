"""The planted faults: each can still be planted, and the laboratory kills them. `make mutants` runs them all."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest

from tests.mutants import __main__ as command
from tests.mutants.catalogue import MUTANTS
from tests.mutants.laboratory import (
    RED,
    ROOT,
    Fate,
    Verdict,
    copy_everything,
    false_alarm,
    mutated,
    run,
    try_to_kill,
)
from tests.mutants.mutant import Explorer, Finding, Mutant, Seeds, Stories, suite

SLICE = MUTANTS[::5]
"""So many are killed by `make test`; the others by `make mutants`."""
IDS = suite("tests/test_ids.py")
HARMLESS = Mutant(
    "harmless", "ids.py", "TOKEN_NATIVE_BITS: Final = 56", "TOKEN_NATIVE_BITS: Final = 28 * 2", (IDS,)
)
HARMFUL = Mutant(
    "harmful", "ids.py", "TOKEN_NATIVE_BITS: Final = 56", "TOKEN_NATIVE_BITS: Final = 60", (IDS,)
)
GONE = Mutant("no such text", "ids.py", "no such text", "whatever")


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_can_be_planted(mutant: Mutant) -> None:
    """Its text stands exactly once, and what comes out is still Python: nobody dies of a typing mistake."""
    planted = ast.dump(ast.parse(mutated(mutant, ROOT)))
    assert planted != ast.dump(ast.parse((ROOT / "src" / "incumbent" / mutant.file).read_text()))


def test_a_text_that_is_gone_is_noticed() -> None:
    with pytest.raises(ValueError, match="stands 0 times"):
        mutated(GONE, ROOT)


def test_each_mutant_has_a_name_of_its_own() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)
    assert len({(mutant.file, mutant.text, mutant.instead) for mutant in MUTANTS}) == len(MUTANTS)


def test_promises_are_named_by_their_numbers() -> None:
    named = {promise for mutant in MUTANTS for promise in mutant.promises}
    assert [promise for promise in named if not re.fullmatch(r"P\d{1,2}", promise)] == []


def test_every_mutant_has_a_killer() -> None:
    assert [mutant.name for mutant in MUTANTS if not mutant.killers] == []


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_laboratory_kills_a_slice_of_the_mutants() -> None:
    verdicts = command.judge(SLICE, jobs=2, quiet=True)
    assert all(verdict.fate is Fate.KILLED for verdict in verdicts), "\n" + command.table(verdicts)


# --- the laboratory's own tests: it would notice a survivor, and who cannot run ----------------------------------------


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_everything(tmp_path_factory.mktemp("mutants") / "tree")


@pytest.mark.slow
def test_a_harmless_change_survives(tree: Path, tmp_path: Path) -> None:
    assert try_to_kill(HARMLESS, tree, tmp_path).fate is Fate.SURVIVED


@pytest.mark.slow
def test_a_harmful_one_is_killed_in_the_copy_and_not_in_the_original(tree: Path, tmp_path: Path) -> None:
    verdict = try_to_kill(HARMFUL, tree, tmp_path)
    assert verdict.fate is Fate.KILLED
    assert verdict.by.startswith("test_ids.py::")
    assert try_to_kill(HARMLESS, tree, tmp_path).fate is Fate.SURVIVED


@pytest.mark.slow
def test_a_killer_that_cannot_run_kills_nobody(tree: Path) -> None:
    fate, finding = run(suite("tests/no_such_file.py"), tree)
    assert fate is Fate.NOT_RUN
    assert "exit code" in finding.what


@pytest.mark.slow
def test_a_killer_that_is_red_without_a_mutant_kills_nobody(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    always_red = tmp_path / "tree" / "test_always_red.py"
    always_red.write_text("def test_red() -> None:\n    assert False\n")
    why = false_alarm(suite(str(always_red)), tree)
    assert why is not None
    assert "red without any mutant" in why


@pytest.mark.slow
def test_a_survivor_makes_the_command_fail(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:  # fmt: skip
    monkeypatch.setattr(command, "MUTANTS", (HARMLESS, HARMFUL))
    monkeypatch.setattr(command, "RESULTS", tmp_path / "mutants.json")
    assert command.main(["--only", "harm", "--jobs", "2"]) == RED
    printed = capsys.readouterr()
    assert "1 of 2 killed" in printed.out
    assert "SURVIVED: harmless" in printed.err
    assert command.main(["--only", "harmful", "--json"]) == 0  # known by now: nothing runs
    again = capsys.readouterr()
    assert json.loads(again.out)[0]["fate"] == "killed"
    assert again.err == ""


def test_a_red_seed_is_told_with_what_it_says() -> None:
    red = {
        "replay": "python -m incumbent.sim --seed 7 --nodes 3",
        "what": "InvariantViolated: P51 [voter=1]\nand more",
    }
    finding = Seeds().finding(json.dumps({"violation_list": [red]}))
    assert finding == Finding("seed 7 of 3 nodes: InvariantViolated: P51", 8)


def test_what_the_explorer_found_is_told_with_the_length_of_its_way() -> None:
    printed = (
        "9 states, 3 transitions: broken\n  1 a campaigns\n  2 a crashes\nvote_once: two votes [voter='b']\n"
    )
    assert Explorer().finding(printed) == Finding("explorer, 2 steps: vote_once: two votes")


def test_a_story_that_is_told_otherwise_is_named() -> None:
    printed = "--- tests/stories/a-late-append.story (expected)\n+++ …\n45 stories, 1 not as expected\n"
    assert Stories().finding(printed) == Finding("story a-late-append")


def test_the_table_has_a_row_for_each() -> None:
    verdicts = [Verdict("one", "ids.py", Fate.KILLED, "seed 3 of 3 nodes", 4, 1.25)]
    assert command.table(verdicts).splitlines()[1].split() == [
        "one", "ids.py", "killed", "seed", "3", "of", "3", "nodes", "4", "1.2",
    ]  # fmt: skip
