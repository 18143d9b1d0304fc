"""`incumbent doctor` and `incumbent engine bump`: what they find, what they return, and what they never show."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from incumbent.cli import main
from incumbent.engines import cluster, registry
from incumbent.engines.api import Session
from incumbent.engines.cluster import doctor as cluster_doctor
from incumbent.engines.examination import Examination, Finding, Severity
from incumbent.errors import InvalidInput
from incumbent.leadership.doctor import Measured, ProbedTtl, Spread, diagnose, findings_of, propose
from incumbent.runtime.clock import BoottimeClock
from incumbent.testing.kubernetes import KubernetesFake
from tests.engines.stranger import GUARANTEES, StrangerEngine, StrangerStore
from tests.runtime.ports import free_addresses

ROOT = Path(__file__).parent.parent.parent
FAST = Spread(0.001, 0.002, 20)


def measured(slowest_s: float = 0.002, *, lag_s: float = 0.0) -> Measured:
    slow = Spread(slowest_s / 2, slowest_s, 20)
    ttls = (ProbedTtl(5.0, 5.0, lag_s), ProbedTtl(0.25, None))
    return Measured(round_trip=FAST, renewal=slow, commit=slow, claim=FAST, ttls=ttls)


def examination(**changes: object) -> Examination:
    return replace(Examination(server="s", ttl_min_s=0.05, ttl_max_s=60.0, clock="c"), **changes)  # type: ignore[arg-type]


def engine() -> StrangerEngine:
    return StrangerEngine(StrangerStore(BoottimeClock().now_ns))


# --- what follows from what was measured --------------------------------------------------------------------------------


def test_a_fast_engine_still_gets_a_second() -> None:
    proposal = propose(measured(), None)
    assert proposal.ttl_s == 1.0
    assert proposal.hold_s < proposal.ttl_s
    assert proposal.failover_proven_s < proposal.failover_silent_min_s < proposal.failover_silent_max_s
    assert proposal.failover_silent_max_s > proposal.ttl_s + proposal.release_delay_s


def test_a_slow_engine_gets_a_ttl_that_covers_its_answers() -> None:
    """P16: a renewal's answer is waited for TTL/12 at least; that is twice the slowest."""
    proposal = propose(measured(0.4), None)
    assert proposal.ttl_s / 12 >= 2 * 0.4
    assert propose(measured(0.4, lag_s=3.0), None).ttl_s >= 12.0


def test_a_proposal_is_what_the_server_grants() -> None:
    """P16."""
    assert propose(measured(), examination(ttl_min_s=4.0)).ttl_s == 4.0
    assert propose(measured(0.06), examination(ttl_step_s=1.0)).ttl_s == 2.0


def test_a_ttl_that_is_changed_is_a_fault() -> None:
    """P16."""
    ttls = (ProbedTtl(1.0, 2.0),)
    found = findings_of(GUARANTEES, replace(measured(), ttls=ttls))
    assert (found[0].severity, found[0].code) == (Severity.FAULT, "ttl-changed")


def test_weak_guarantees_and_slow_answers_are_told() -> None:
    weak = replace(
        GUARANTEES, linearizable=False, fenced=False, survives_partition=False, survives_clock_step=False
    )
    codes = [finding.code for finding in findings_of(weak, measured(3.0))]
    assert {"slow-answers", "not-linearizable", "not-fenced", "splits", "wall-clock", "no-failover"} <= set(
        codes
    )


async def test_an_engine_that_is_measured_is_left_clean_and_closed() -> None:
    stranger = engine()

    async def opened() -> StrangerEngine:
        return stranger

    diagnosis = await diagnose(opened, None)
    assert diagnosis.measured is not None
    assert not diagnosis.is_faulty
    assert not stranger.store.sessions
    assert stranger._closed


async def test_a_fault_that_is_known_is_not_measured() -> None:
    async def opened() -> StrangerEngine:
        raise AssertionError("opened")

    fault = Finding(Severity.FAULT, "f", "w")
    info = Finding(Severity.INFO, "i", "w")
    diagnosis = await diagnose(opened, examination(findings=(info, fault)))
    assert diagnosis.is_faulty
    assert diagnosis.findings == (fault, info)


async def test_an_engine_that_grants_nothing_useful_is_refused() -> None:
    class Stubborn(StrangerEngine):
        async def open_session(self, ttl: float, request_id: str, *, release_delay: float = 0.0) -> Session:
            raise InvalidInput("ttl", "no", "no")

    async def opened() -> StrangerEngine:
        return Stubborn(StrangerStore(BoottimeClock().now_ns))

    with pytest.raises(InvalidInput):
        await diagnose(opened, None)


# --- the command --------------------------------------------------------------------------------------------------------


def test_a_local_directory_is_fit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", f"local://{tmp_path}/e", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["fit"] is True
    assert report["server"].startswith("SQLite ")
    assert report["measured"]["commit"]["median_s"] > 0
    assert report["proposal"]["ttl_s"] >= 1.0
    assert main(["doctor", f"local://{tmp_path}/e"]) == 0
    assert capsys.readouterr().out.endswith("fit to lead on\n")


def test_the_url_comes_from_the_environment_or_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither is in the process list."""
    monkeypatch.setenv("INCUMBENT_URL", f"local://{tmp_path}/e")
    assert main(["doctor"]) == 0
    (tmp_path / "url").write_text(f"local://{tmp_path}/f\n")
    assert main(["doctor", f"@{tmp_path}/url"]) == 0
    assert f"{tmp_path}/f" in capsys.readouterr().out
    monkeypatch.delenv("INCUMBENT_URL")
    for wrong in ([], ["@/nowhere"]):
        assert main(["doctor", *wrong]) == 2
        assert "URL: " in capsys.readouterr().err


@pytest.mark.parametrize("verb", [["doctor"], ["engine", "bump"]])
@pytest.mark.parametrize(
    "url", ["local://me:hush@host/x", "kubernetes://me:hush@ns", "nothing://h?password=hush", "hush"]
)
def test_no_secret_is_ever_shown(verb: list[str], url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*verb, url]) == 2
    out, err = capsys.readouterr()
    assert "hush" not in out + err
    assert err.count("\n") == 1


def test_an_engine_that_needs_no_bump_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["engine", "bump", f"local://{tmp_path}/e"]) == 2
    assert "operator" in capsys.readouterr().err


async def incumbent(*arguments: str) -> tuple[int, dict[str, object]]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "incumbent", *arguments, "--json", stdout=asyncio.subprocess.PIPE, cwd=ROOT
    )
    out, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, json.loads(out)


@pytest.mark.slow
async def test_kubernetes_is_examined_and_bumped(tmp_path: Path) -> None:
    """And the number rises with each bump."""
    async with KubernetesFake() as fake:
        url = f"kubernetes://default?kubeconfig={fake.kubeconfig(tmp_path / 'kubeconfig')}"
        code, report = await incumbent("doctor", url)
        assert (code, report["fit"]) == (0, True)
        assert "v1.31.0" in str(report["server"])
        for expected in (1, 2):
            assert (await incumbent("engine", "bump", url))[1]["incarnation"] == expected
        left = {
            name
            for _, name in fake.store.leases
            if name.startswith(("incumbent-s-", "incumbent-m-", "incumbent-d"))
        }
        assert not left
        fake.forbidden = {"watch"}
        code, report = await incumbent("doctor", url)
        assert (code, report["fit"], report["measured"]) == (1, False, None)
        assert "right-missing" in json.dumps(report["findings"])


@pytest.mark.slow
async def test_a_cluster_is_examined_from_outside(tmp_path: Path) -> None:
    ((host, port),) = free_addresses("a").values()
    voter = await cluster.connect(f"cluster://{tmp_path}/a?cluster=app&node=a&peers=a@{host}:{port}")
    try:
        code, report = await incumbent("doctor", f"cluster://{host}:{port}")
        assert (code, report["fit"]) == (0, True)
        assert "1 of 1 nodes up" in str(report["server"])
        assert "too-few-voters" in json.dumps(report["findings"])
    finally:
        await voter.close()
    with pytest.raises(InvalidInput):
        await registry.examine(f"cluster://{tmp_path}/a?cluster=app&node=a&peers=a@{host}:{port}")


def test_what_the_nodes_tell_together() -> None:
    """Each finding of a cluster is brought about once."""
    node = {"role": "voter", "leader": "a.1", "version": "1", "commit": 20_000, "applied": 20_000}
    assert not cluster_doctor.findings({"a": node, "b": node, "c": node})
    sick: dict[str, dict[str, Any] | str] = {
        "a": node | {"leader": None},
        "b": node | {"leader": None, "version": "2", "applied": 1},
        "c": "no answer",
    }
    codes = {finding.code: finding.severity for finding in cluster_doctor.findings(sick)}
    assert codes == {
        "no-raft-leader": Severity.FAULT,
        "node-unreachable": Severity.WARNING,
        "versions-differ": Severity.WARNING,
        "node-behind": Severity.WARNING,
    }
    assert {finding.code for finding in cluster_doctor.findings({"a": node})} == {"too-few-voters"}


def test_every_code_is_documented() -> None:
    page = (ROOT / "docs" / "reference" / "engines.md").read_text()
    source = ROOT / "src" / "incumbent"
    files = [
        source / "leadership" / "doctor.py",
        *(source / "engines" / e / "doctor.py" for e in ("cluster", "local", "kubernetes")),
    ]
    codes = {code for file in files for code in re.findall(r'"([a-z]+(?:-[a-z]+)+)"', file.read_text())}
    codes |= {"splits"}
    codes -= {"incumbent-doctor"}
    assert len(codes) >= 15
    assert sorted(code for code in codes if f"`{code}`" not in page) == []
