"""``incumbent VERB [URL] ELECTION`` on a directory of this machine, beside candidates that stand there."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import incumbent
from incumbent.cli import main
from incumbent.cli.elections import WORDS, _record
from incumbent.cli.options import URL_VARIABLE
from incumbent.leadership.history import NOT_KNOWN, Record
from incumbent.leadership.outcome import Done
from incumbent.leadership.term import Term
from tests.leadership.lab import until


class Shell:
    """Runs commands on threads, so that the candidates of this loop go on."""

    def __init__(self, url: str, capsys: pytest.CaptureFixture[str]) -> None:
        self._url = url
        self._capsys = capsys

    async def __call__(self, verb: str, *more: str) -> tuple[int, str]:
        code = await asyncio.to_thread(main, [verb, self._url, "e", *more])
        return code, self._capsys.readouterr().out

    async def json(self, verb: str, *more: str) -> dict[str, Any]:
        _, out = await self(verb, *more, "--json")
        assert out.count("\n") == 1
        found: dict[str, Any] = json.loads(out)
        assert found["election"] == "e"
        return found


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"local://{tmp_path}/app"


async def test_an_empty_election_is_explained(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    shell = Shell(url, capsys)
    assert await shell("leader") == (1, "nobody leads\n")
    assert await shell("candidates") == (0, "none\n")
    assert await shell("history") == (0, "none\n")
    assert await shell("why") == (0, "nobody leads: no candidate stands\n")
    assert await shell("status") == (0, "nobody leads\nno candidate stands\n")
    assert await shell("resign") == (1, "no_leader: nobody leads\n")
    assert await shell("evict", "a") == (1, "no_candidate a: nobody of that name stands who could\n")
    assert (await shell.json("why"))["why"][0]["code"] == "no_candidates"


@pytest.mark.slow
async def test_an_election_is_operated(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """P42 and P40 from the command line: every verb, once for people and once for programs."""
    shell = Shell(url, capsys)
    terms: list[Term] = []
    async with (
        incumbent.connect(url) as one,
        incumbent.connect(url) as two,
        asyncio.TaskGroup() as tasks,
    ):
        preference = incumbent.Preference(priority=1, tags={"zone": "x"})
        work: Callable[[Term], Any] = lambda term: stay(term, terms)  # noqa: E731
        running = [tasks.create_task(one.election("e", candidate="a", preference=preference).run(work))]
        await until(lambda: terms)
        running.append(tasks.create_task(two.election("e", candidate="b").run(work)))
        while len((await shell.json("candidates"))["candidates"]) < 2:
            await asyncio.sleep(0.05)

        status = await shell.json("status")
        assert (status["leader"], status["token"]) == ("a", terms[0].token)
        assert status["token_text"] == str(terms[0].token)
        assert [c["candidate"] for c in status["candidates"]] == ["a", "b"]
        assert status["candidates"][0]["tags"] == {"zone": "x"}
        code, out = await shell("status")
        assert (code, out.splitlines()[1]) == (0, "  1  a  leads, priority 1, zone=x")

        assert await shell("pause", "--why", "disks") == (0, "done\n")
        assert (await shell.json("pause"))["code"] == "already"
        assert (await shell.json("status"))["control"]["paused"]["why"] == "disks"
        assert "disks" in (await shell("why"))[1]
        assert await shell("handover") == (1, "paused a: the election is paused, so nobody could follow\n")
        assert await shell("resume") == (0, "done\n")
        assert (await shell.json("handover", "--to", "z"))["candidate"] == "z", (
            "who is missing, not who leads"
        )

        done = await shell.json("handover", "--to", "b", "--warm", "5", "--drain", "1")
        assert (done["ok"], done["candidate"]) == (True, "b")
        await until(lambda: len(terms) == 2)
        assert await shell("drain", "b") == (0, "done b\n")
        await until(lambda: len(terms) == 3)
        assert await shell("undrain", "b") == (0, "done b\n")
        while len((await shell.json("candidates"))["candidates"]) < 2:
            await asyncio.sleep(0.05)
        assert (await shell("anoint", "b"))[0] == 0
        await until(lambda: len(terms) == 4)
        while len((await shell.json("candidates"))["candidates"]) < 2:
            await asyncio.sleep(0.05)
        assert (await shell("evict", "a"))[0] == 0
        assert (await shell("resign"))[0] == 0
        await until(lambda: len(terms) == 5)
        await asyncio.sleep(0.2)
        history = (await shell.json("history"))["history"]
        assert [record["token"] for record in history] == [term.token for term in terms]
        assert [record["reason"] for record in history[:4]] == [
            "handed_over",
            "drained",
            "handed_over",
            "resigned",
        ]
        lines = (await shell("history"))[1].splitlines()
        assert len(lines) == 5
        assert lines[4].endswith("Z to now") or " to now  after" in lines[4]
        for task in running:
            task.cancel()


async def stay(term: Term, terms: list[Term]) -> None:
    terms.append(term)
    await asyncio.Event().wait()


async def test_the_url_may_come_from_the_environment(
    url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(URL_VARIABLE, url)
    assert await asyncio.to_thread(main, ["leader", "e"]) == 1
    monkeypatch.delenv(URL_VARIABLE)
    assert await asyncio.to_thread(main, ["leader", "e"]) == 2
    assert "URL: is missing" in capsys.readouterr().err
    assert await asyncio.to_thread(main, ["leader", url]) == 2
    assert "ELECTION: is missing; give its name after the URL" in capsys.readouterr().err


def test_whether_somebody_still_leads_is_not_the_historys_to_say() -> None:
    """Who was killed has written no end."""
    record = Record(7, "a", 0)
    assert _record(record, leads=True) == "7  a  1970-01-01T00:00:00Z to now"
    assert _record(record, leads=False).endswith("to an end that is not written down")
    gone = Record(7, "a", 0, ended_ms=1000, reason=NOT_KNOWN)
    assert _record(gone, leads=False).endswith("to 1970-01-01T00:00:01Z  at the latest, unknown")


def test_every_code_but_the_good_one_has_words() -> None:
    assert set(WORDS) == set(Done) - {Done.DONE}


def test_seconds_that_make_no_sense_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["handover", "local:///x", "e", "--warm", "long"])
    assert "no number of seconds" in capsys.readouterr().err
