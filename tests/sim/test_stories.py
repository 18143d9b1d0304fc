"""Every story is told as its file says, and a story that is told otherwise, or makes no sense, is found."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from incumbent.consensus.api import Committed
from incumbent.consensus.raft.notes import Code
from incumbent.errors import InvalidInput, InvariantViolated
from incumbent.ids import Index, NodeId, Term
from incumbent.sim.stories import commands
from incumbent.sim.stories.command import main
from incumbent.sim.stories.commands import COMMANDS
from incumbent.sim.stories.runner import difference, retell
from incumbent.sim.stories.stage import Stage
from incumbent.sim.stories.words import KINDS

ROOT = Path(__file__).parent.parent.parent
STORIES = sorted((ROOT / "tests" / "stories").glob("*.story"))
OPENING = "A title\n\nWhat it tells.\n\n"
SMALL = OPENING + "> cluster a b c\n> campaign a\n> settle\n> show\n"


@pytest.mark.parametrize("path", STORIES, ids=lambda path: path.stem)
def test_a_story_is_told_as_it_is_written(path: Path) -> None:
    name = str(path.relative_to(ROOT))
    found = difference(name, path.read_text(encoding="utf-8"))
    rewrite = f"python -m incumbent.sim.stories --rewrite {name}"
    assert not found, f"\n{found}\nif this is right: {rewrite}"


def test_every_story_says_why_it_matters() -> None:
    """The name is the title, and the opening names the pitfall or the place in the paper that it holds."""
    assert len(STORIES) >= 40
    for path in STORIES:
        title, _, rest = path.read_text(encoding="utf-8").partition("\n")
        prose, _, _ = rest.partition("\n> ")
        plain = "".join(c for c in title.lower().replace(" ", "-") if c.isalnum() or c == "-")
        assert plain == path.stem, path.name
        assert any(word in prose for word in ("Raft section", "figure", "issertation", "P4", "P5")), path.name


def test_every_note_and_every_message_is_told_somewhere() -> None:
    told = "".join(path.read_text(encoding="utf-8") for path in STORIES)
    assert [code.value for code in Code if not re.search(rf" {code.value}[ ;\n]", told)] == []
    assert [kind for kind in KINDS if f"→ {kind}(" not in told] == []


def test_a_wrong_expectation_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "small.story"
    path.write_text(retell("small", SMALL).replace("became_leader", "became_king"))
    assert main([str(path)]) == 1
    told = capsys.readouterr().out
    assert [line for line in told.splitlines() if line.startswith("-  ") and "became_king" in line]
    assert [line for line in told.splitlines() if line.startswith("+  ") and "became_leader" in line]
    assert told.endswith("1 stories, 1 not as expected\n")


def test_rewriting_makes_it_right_and_twice_changes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "small.story"
    path.write_text(SMALL)
    assert main(["--rewrite", str(path)]) == 0
    once = path.read_text()
    assert "became_leader" in once
    assert main(["--rewrite", str(path)]) == 0
    assert path.read_text() == once
    assert main([str(path)]) == 0
    assert capsys.readouterr().out.count("rewritten") == 1


def test_prose_between_commands_stays(tmp_path: Path) -> None:
    text = OPENING + "> cluster a b\n\nMeanwhile.\n\n> wait 1s\n"
    told = retell("s", text)
    assert "\n\nMeanwhile.\n\n> wait 1s\n" in told


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("> cluster a b c\n\n> elekt a\n", "s:7: there is no command 'elekt'"),
        ("> cluster a b c\n> deliver a->b vot\n", "s:6: 'vot' is no kind of message"),
        ("> cluster a b c\n> deliver a->b\n", "s:6: nothing like that is in flight"),
        ("> cluster a b c\n> crash d\n", "s:6: there is no node 'd'"),
        ("> cluster a b c\n> crash a after lunch\n", "s:6: 'lunch' is no moment"),
        ("> cluster a b c\n> crash a after write\n", "s:6: a is not writing"),
        ("> cluster a b c\n> crash a\n> campaign a\n", "s:7: a does not run"),
        ("> cluster a b c\n> restart a\n", "s:6: a runs"),
        ("> cluster a b c\n> forget a from 1\n", "s:6: a runs"),
        ("> cluster a b c\n> wait 50\n", "s:6: '50' is not a duration"),
        ("> cluster a b c\n> settle now\n", "s:6: 'now' is too much"),
        ("> cluster a b c\n> transfer a b\n", "s:6: 'b' is not 'to'"),
        ("> cluster a b c\n> propose a\n", "s:6: nothing is proposed"),
        ('> cluster a b c\n> propose a "x\n', "close the quotes"),
        ("> cluster a b c\n> cut\n", "s:6: nobody is named"),
        ("> cluster a b c\n> cluster a b c\n", "s:6: there is a cluster already"),
        ("> cluster a b c\n> join a\n", "s:6: a is there already"),
        ("> cluster a b c logs d=1\n", "s:5: logs of 'd', who is no member"),
        ("> cluster a b c logs a\n", "s:5: 'a' is not NAME=VALUE"),
        ("> cluster a b c limits courage=1\n", "s:5: there is no 'courage'"),
        ("> cluster a learners a\n", "s:5: both voter and learner"),
        ("> cluster a b c logs a=1 logs b=1\n", "s:5: 'logs' stands there twice"),
        ("> show\n", "s:5: there is no cluster yet"),
        ("  a trace of nothing\n> cluster a\n", "s:5: an indented line that follows no command"),
        ("No command.\n", "s:5: nothing happens"),
    ],
)
def test_what_makes_no_sense_is_named_by_file_and_line(body: str, says: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        retell("s", OPENING + body)
    assert says in str(caught.value)


def test_a_story_without_an_opening_is_refused() -> None:
    with pytest.raises(InvalidInput, match="s:1: the story has no opening"):
        retell("s", "> cluster a b c\n")


def test_a_senseless_story_ends_the_command_with_its_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.story"
    path.write_text(OPENING + "> cluster a b c\n> elekt a\n")
    assert main(["--rewrite", str(path)]) == 1
    assert f"{path}:6: there is no command 'elekt'" in capsys.readouterr().out


def test_no_stories_at_all_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([]) == 2
    assert "no stories" in capsys.readouterr().err


# --- what every story promises, whatever its trace ------------------------------------------------------------------


def led() -> Stage:
    """a leads, and has applied one entry."""
    stage = Stage()
    for line in ("cluster a b c", "elect a"):
        commands.perform(stage, line)
    return stage


def second_leader(stage: Stage) -> None:
    raft = stage.running("a").raft
    assert raft is not None
    stage._promises._leaders[raft.state.term] = NodeId("b")


def another_entry(stage: Stage) -> None:
    stage._promises._applied[Index(2)] = Committed(Index(2), Term(1), b"other")


def another_history(stage: Stage) -> None:
    stage._promises._applied[Index(1)] = Committed(Index(1), Term(9), None)


def empty_disks(stage: Stage) -> None:
    def nothing(index: int, term: int) -> bool:
        return False

    for name in "bc":
        stage.actor(name).disk.holds = nothing  # type: ignore[method-assign]


def inconsistent(stage: Stage) -> None:
    raft = stage.running("a").raft
    assert raft is not None
    raft.state.commit = Index(99)


@pytest.mark.parametrize(
    ("plant", "says"),
    [
        (second_leader, "a term has one leader"),
        (another_entry, "all machines apply the same"),
        (another_history, "a leader has all that was committed"),
        (empty_disks, "what is applied is on the disks of a quorum"),
        (inconsistent, "forgotten <= snapshot <= commit <= last"),
    ],
)
def test_a_broken_promise_stops_the_story(plant: Callable[[Stage], None], says: str) -> None:
    stage = led()
    plant(stage)
    with pytest.raises(InvariantViolated, match=says):
        for line in ('propose a "x"', "settle"):
            commands.perform(stage, line)


def test_a_broken_promise_is_never_written_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("incumbent.sim.stories.promises.majority", lambda half: 99)
    path = tmp_path / "small.story"
    path.write_text(SMALL)
    assert main(["--rewrite", str(path)]) == 1
    assert path.read_text() == SMALL
    told = capsys.readouterr().out
    assert f"{path}:7: settle" in told
    assert "on the disks of a quorum" in told


def test_the_language_is_documented() -> None:
    page = (ROOT / "docs" / "reference" / "stories.md").read_text(encoding="utf-8")
    missing = [c.name for c in COMMANDS.values() if f"- `{c.usage}`: {c.meaning}\n" not in page]
    assert missing == []
