"""What the etcd engine does beyond the suite, on a real etcd: etcdctl in the same queue, what lies deeper, incarnations, logins,
TLS, what it refuses, and how its watches end."""

from __future__ import annotations

import asyncio
import base64
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from itertools import count
from pathlib import Path

import pytest

import incumbent
from incumbent.engines import registry
from incumbent.engines.api import Cell, CellWrite, Claimed, Engine, Member, Session, Waiting
from incumbent.engines.etcd import parse, watching
from incumbent.engines.etcd.access import Context
from incumbent.engines.etcd.engine import STEP_BYTES_MAX, EtcdEngine
from incumbent.engines.etcd.gateway import CONNECTIONS_MAX
from incumbent.engines.etcd.layout import lease_for, member_id
from incumbent.engines.examination import Examination, Severity
from incumbent.errors import (
    EngineUnavailable,
    IncarnationChanged,
    InvalidInput,
    MemberGone,
    NotAllowed,
    NotFirst,
    Overloaded,
    ProtocolViolation,
    SessionGone,
    WatchLost,
)
from incumbent.ids import LeaseId, split_token
from incumbent.kv.api import Range, Txn
from incumbent.leadership.roll import leader_of
from tests.engines.etcd_service import EtcdService, serving
from tests.runtime.certificates import Authority
from tests.servers.etcd import VERSION, VERSION_DEBIAN, program

pytestmark = pytest.mark.slow

PATIENCE_S = 10.0
NUMBERS = count()


@pytest.fixture(scope="module", params=[VERSION, VERSION_DEBIAN])
def service(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[EtcdService]:
    with serving(tmp_path_factory.mktemp("etcd"), version=request.param) as running:
        yield running


@asynccontextmanager
async def engine_on(url: str) -> AsyncIterator[EtcdEngine]:
    engine = await registry.connect(url)
    assert isinstance(engine, EtcdEngine)
    try:
        yield engine
    finally:
        await engine.close()


@pytest.fixture
async def engine(service: EtcdService) -> AsyncIterator[EtcdEngine]:
    async with engine_on(service.url(path="/t")) as opened:
        yield opened


def name() -> str:
    return f"name-{next(NUMBERS)}"


async def joined(engine: Engine, group: str, value: bytes = b"") -> tuple[Session, Member]:
    session = await engine.open_session(60.0, f"request {next(NUMBERS)} of many")
    return session, await engine.join(session, group, "r", value)


async def first(engine: Engine, member: Member) -> Claimed:
    answer = await engine.claim(member)
    assert isinstance(answer, Claimed)
    return answer


async def until_first(engine: Engine, member: Member) -> Claimed:
    async with asyncio.timeout(PATIENCE_S):
        while isinstance(answer := await engine.claim(member), Waiting):
            async with aclosing(engine.watch(member.group, answer.cursor)) as watch:  # type: ignore[type-var]
                await anext(watch)
    return answer


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


# --- sharing an election ---------------------------------------------------------------------------------------------


@contextmanager
def etcdctl_elect(service: EtcdService, key: str, candidate: str) -> Iterator[subprocess.Popen[str]]:
    """A foreign candidate. It says its key and its name once it leads."""
    host, port = service.server.clients["m0"]
    process = subprocess.Popen(
        [str(program("etcdctl")), f"--endpoints=http://{host}:{port}", "elect", key, candidate],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout
        process.stdout.close()


async def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    async with asyncio.timeout(PATIENCE_S):
        return (await asyncio.to_thread(process.stdout.readline)).strip()


async def test_etcdctl_in_front_of_ours(service: EtcdService, engine: EtcdEngine) -> None:
    """One queue, one token: theirs leads with its key's create revision, ours waits, is woken, and leads after it."""
    group = name()
    with etcdctl_elect(service, f"/t/{group}", "theirs") as process:
        their_key = await said(process)
        assert await said(process) == "theirs"
        _, member = await joined(engine, group, b"ours")
        answer = await engine.claim(member)
        assert isinstance(answer, Waiting)
        assert f"/t/{group}/{answer.behind}" == their_key
        roster = await engine.roster(group)
        assert [(e.value, e.ours) for e in roster.members] == [(b"theirs", False), (b"ours", True)]
        leader = leader_of(roster)
        assert leader is not None
        assert (leader.candidate, leader.token) == ("theirs", roster.members[0].order)
        process.send_signal(signal.SIGTERM)  # it resigns
        claimed = await until_first(engine, member)
    assert claimed.token == member.revision > leader.token


async def test_ours_in_front_of_etcdctl(service: EtcdService, engine: EtcdEngine) -> None:
    """It waits for ours, and leads with a higher create revision once ours has left; its entry can be evicted."""
    group = name()
    _, member = await joined(engine, group, b"ours")
    claimed = await first(engine, member)
    with etcdctl_elect(service, f"/t/{group}", "theirs") as process:
        async with asyncio.timeout(PATIENCE_S):
            while len((roster := await engine.roster(group)).members) < 2:
                await asyncio.sleep(0.02)
        assert (await first(engine, member)) == claimed
        theirs = roster.members[1]
        assert not theirs.ours
        await engine.leave(member)
        assert (await said(process)).endswith(theirs.id)
        assert await said(process) == "theirs"
        assert theirs.order > claimed.token
        assert await engine.remove(group, theirs.id, theirs.order)
        assert not await engine.remove(group, theirs.id, theirs.order)


async def test_etcdctl_listens_to_ours(service: EtcdService, engine: EtcdEngine) -> None:
    group = name()
    _, member = await joined(engine, group, b"node-a")
    await first(engine, member)
    host, port = service.server.clients["m0"]
    command = [str(program("etcdctl")), f"--endpoints=http://{host}:{port}", "elect", "-l", f"/t/{group}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert await said(process) == f"/t/{group}/{member.id}"
            assert await said(process) == "node-a"
        finally:
            process.kill()


async def test_a_name_with_a_slash_is_shared_only_when_asked_for(
    service: EtcdService, engine: EtcdEngine
) -> None:
    """P5."""
    group = f"team/{name()}"
    async with engine_on(service.url(path="/t?names=plain")) as plain:
        with etcdctl_elect(service, f"/t/{group}", "theirs") as process:
            await said(process)
            assert [e.ours for e in (await plain.roster(group)).members] == [False]
            assert (await engine.roster(group)).members == ()


async def test_what_lies_deeper_is_not_in_the_queue(service: EtcdService) -> None:
    """P5: groups of others below ours, older than ours, neither lead it nor keep it waiting; guarded writes pass too."""
    group = name()
    async with engine_on(service.url(path="/t?names=plain")) as engine:
        for below in ("x", "x/y", "z"):
            _, deep = await joined(engine, f"{group}/{below}")
            await first(engine, deep)
        _, member = await joined(engine, group)
        claimed = await first(engine, member)
        _, second = await joined(engine, group)
        answer = await engine.claim(second)
        assert isinstance(answer, Waiting)
        assert answer.behind == member.id
        assert len((await engine.roster(group)).members) == 2
        await engine.write_cells(group, [CellWrite("c", b"1", None)], claimed)
        with pytest.raises(NotFirst):
            await engine.write_cells(group, [CellWrite("c", b"2", None)], Claimed(second, claimed.token + 1))
    async with engine_on(service.url(path="/t?names=plain")) as stranger:  # has set nothing aside yet
        with pytest.raises(NotFirst):
            await stranger.write_cells(
                group, [CellWrite("c", b"2", None)], Claimed(second, claimed.token + 1)
            )
        assert await first(stranger, member) == claimed


async def test_who_stands_behind_others_does_not_claim(service: EtcdService, engine: EtcdEngine) -> None:
    """P7: in the step that joins it sees whoever is there, a candidate of another library, too."""
    group = name()
    with etcdctl_elect(service, f"/t/{group}", "theirs") as process:
        their_key = await said(process)
        session = await engine.open_session(60.0, f"request {next(NUMBERS)} of many")
        member, answer = await engine.stand(session, group, "r", b"ours")
        assert isinstance(answer, Waiting)
        assert f"/t/{group}/{answer.behind}" == their_key
        process.send_signal(signal.SIGTERM)
        claimed = await until_first(engine, member)
    assert await engine.stand(session, group, "r", b"ours") == (member, claimed)


async def test_what_lies_deeper_is_no_reason_to_wait_for_who_stands(service: EtcdService) -> None:
    """P5: it hides from a short look who else is there, so a claim tells."""
    group = name()
    async with engine_on(service.url(path="/t?names=plain")) as engine:
        await joined(engine, f"{group}/x")
        first_session = await engine.open_session(60.0, f"request {next(NUMBERS)} of many")
        member, answer = await engine.stand(first_session, group, "r", b"", "c")
        assert answer == Claimed(member, member.revision)
        assert isinstance(answer, Claimed)
        assert answer.cell == Cell(None, 0)
        second_session = await engine.open_session(60.0, f"request {next(NUMBERS)} of many")
        _, answer = await engine.stand(second_session, group, "r", b"")
        assert isinstance(answer, Waiting)
        assert answer.behind == member.id


# --- sessions --------------------------------------------------------------------------------------------------------


async def test_seconds_are_whole_and_enough_or_refused(service: EtcdService, engine: EtcdEngine) -> None:
    """P16: the release delay counts too."""
    for ttl, delay in ((1.5, 0.0), (2.0, 0.25), (0.4, 0.0), (2.0000123, 0.0)):
        with pytest.raises(InvalidInput, match="whole seconds"):
            await engine.open_session(ttl, "r" * 32, release_delay=delay)
    session = await engine.open_session(1.7, "s" * 32, release_delay=0.3)
    assert session.ttl == 1.7
    await engine.renew(session)


async def test_less_than_this_etcd_gives_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    """P16: at default settings an etcd makes 2 seconds of one, without a word."""
    with serving(tmp_path, 1, "--heartbeat-interval", "100", "--election-timeout", "1000") as service:
        async with engine_on(service.url()) as engine:
            with pytest.raises(InvalidInput, match="gives 2 s"):
                await engine.open_session(1.0, "r" * 32)
            await engine._store.grant(lease_for("s" * 32, 0), 1, timeout=5.0)  # whose answer was lost
            with pytest.raises(InvalidInput, match="gives 2 s"):
                await engine.open_session(1.0, "s" * 32)
            assert service.server.ask("m0", "/v3/lease/leases").get("leases", []) == []
            await engine.open_session(2.0, "r" * 32)
        examination = await registry.examine(service.url())
        assert (examination.ttl_min_s, examination.ttl_step_s) == (2.0, 1.0)


async def test_a_lease_id_that_another_session_has_is_left_to_it(engine: EtcdEngine) -> None:
    """P6: ids are shorter than what they are made from, so two requests may draw the same one."""
    server = engine._store
    request = "collides" * 4
    taken = lease_for(request, 0)
    await server.grant(taken, 60, timeout=5.0)
    key = engine._layout.session_key(taken)
    put = {"key": text(key), "value": text(b"somebody else 60"), "lease": str(taken)}
    await engine._gateway.ask("/v3/kv/put", put, timeout_s=5.0)
    session = await engine.open_session(60.0, request)
    member = await engine.join(session, name(), "r", b"")
    assert member.id == member_id(lease_for(request, 1))
    assert await engine.open_session(60.0, request) == session  # a retry finds its own
    await engine.end_session(session.ref)
    assert await server.revoke(LeaseId(taken), timeout=5.0)  # the other one's lived on


async def test_a_request_opens_one_ttl(engine: EtcdEngine) -> None:
    request = "same" * 8
    await engine.open_session(60.0, request)
    with pytest.raises(InvalidInput, match="another ttl"):
        await engine.open_session(61.0, request)


async def test_a_session_belongs_to_its_etcd(
    service: EtcdService, engine: EtcdEngine, tmp_path: Path
) -> None:
    session, _ = await joined(engine, name())
    with serving(tmp_path, 1, "--initial-cluster-token", "another") as other:
        async with engine_on(other.url(path="/t")) as stranger:
            with pytest.raises(InvalidInput, match="another etcd"):
                await stranger.end_session(session.ref)
    await engine.renew(session)


async def test_a_join_that_arrives_after_the_leave_is_void(engine: EtcdEngine) -> None:
    """P2: out of a server that had been stopped, for instance; nobody would ever claim for that member."""
    group = name()
    session, member = await joined(engine, group)
    lease = LeaseId(int(member.id, 16))
    late = engine._groups.join(lease, group, b"", engine._sight.revision - 1)
    await engine.leave(member)
    result = await engine._store.submit(late, timeout=5.0)
    assert not result.succeeded
    assert engine._groups.joined(lease, group, result) is None
    assert (await engine.roster(group)).members == ()
    again = await engine.join(session, group, "r", b"")
    assert again.revision > member.revision


async def test_a_renewal_across_a_change_of_term_is_not_counted(engine: EtcdEngine) -> None:
    """P12: whoever said yes may have been deposed. The next attempt, within one term, counts."""
    session, _ = await joined(engine, name())
    ((member, term),) = engine._sight.terms.items()
    engine._sight.terms[member] = term - 1  # as if it had moved on just now
    asked: list[str] = []
    gateway = engine._gateway
    ask_at = gateway.ask_at

    async def listen(*arguments: object, **settings: object) -> object:
        asked.append(str(arguments[1]))
        return await ask_at(*arguments, **settings)  # type: ignore[arg-type]

    gateway.ask_at = listen  # type: ignore[assignment,method-assign]
    await engine.renew(session)
    assert asked.count("/v3/lease/keepalive") == 2


# --- incarnations ----------------------------------------------------------------------------------------------------


async def test_a_bump_ends_what_was_before(service: EtcdService) -> None:
    """P31: members and sessions of before lead no more; tokens after it are above all of before."""
    url = service.url(path=f"/bump-{next(NUMBERS)}")
    async with engine_on(url) as engine:
        session, member = await joined(engine, "g")
        claimed = await first(engine, member)
        assert split_token(claimed.token) == (0, member.revision)
        assert await registry.bump(url) == 1
        with pytest.raises(IncarnationChanged):
            await engine.claim(member)
        with pytest.raises(NotFirst):
            await engine.write_cells("g", [CellWrite("c", b"", None)], claimed)
        with pytest.raises(IncarnationChanged):
            await engine.renew(session)
        assert (await engine.roster("g")).token is None
        await engine.leave(member)
        session, member = await joined(engine, "g")
        await engine.renew(session)
        raised = await first(engine, member)
        assert await engine.stand(session, "g", "r", b"") == (member, raised)
        assert split_token(raised.token) == (1, member.revision)
        assert raised.token > claimed.token
        assert (await engine.roster("g")).token == raised.token
        assert await registry.bump(url) == 2
        with pytest.raises(IncarnationChanged):
            await engine.stand(session, "g", "r", b"")


async def test_who_stands_where_the_incarnation_is_unreadable_leaves_nothing(service: EtcdService) -> None:
    async with engine_on(service.url(path=f"/unreadable-{next(NUMBERS)}")) as engine:
        session = await engine.open_session(60.0, f"request {next(NUMBERS)} of many")
        put = {"key": text(engine._layout.incarnation_key), "value": text(b"junk")}
        await engine._gateway.ask("/v3/kv/put", put, timeout_s=5.0)
        with pytest.raises(ProtocolViolation, match="no incarnation"):
            await engine.stand(session, "g", "r", b"")
        found = await engine._store.read(Txn(then=(Range(*engine._layout.members("g")),)), timeout=5.0)
        assert found.results[0].kvs == ()


def replace(service: EtcdService, directory: Path, backup: Path | None, kind: str = "") -> None:
    """Bring the one member up again with the data of `backup`, or empty: same name, same addresses. As "another" cluster, too."""
    server = service.server
    server.kill("m0")
    data = server._directory / "m0"
    data.rename(directory / f"old-{next(NUMBERS)}")
    if kind == "another":
        server._options = (*server._options, "--initial-cluster-token", "another")
    if backup is not None:
        host, port = server._peers["m0"]
        peer = f"http://{host}:{port}"
        subprocess.run(
            [str(program("etcdutl")), "snapshot", "restore", str(backup), "--name", "m0", "--data-dir", str(data),
             "--initial-cluster", f"m0={peer}", "--initial-advertise-peer-urls", peer],
            check=True, capture_output=True,
        )  # fmt: skip
    server.start("m0")
    server.wait()


def save(service: EtcdService, path: Path) -> Path:
    host, port = service.server.clients["m0"]
    command = [str(program("etcdctl")), f"--endpoints=http://{host}:{port}", "snapshot", "save", str(path)]
    subprocess.run(command, check=True, capture_output=True)
    return path


@pytest.mark.parametrize("kind", ["empty", "backup", "another"])
async def test_who_was_connected_sees_a_restored_etcd_and_leads_nothing_until_a_bump(
    kind: str, tmp_path: Path
) -> None:
    """P31: it has no memory of its own, so whoever has some must use it. A newcomer gets a low token: that is the sink's."""
    with serving(tmp_path) as service:
        url = service.url()
        async with engine_on(url) as engine:
            session, _ = await joined(engine, "g")
            backup = save(service, tmp_path / "backup") if kind == "backup" else None
            for _ in range(5):
                await joined(engine, name())
            session, member = await joined(engine, "h")
            claimed = await first(engine, member)
            await asyncio.to_thread(replace, service, tmp_path, backup, kind)

            with pytest.raises(IncarnationChanged, match="restored or replaced"):
                await engine.renew(session)
            with pytest.raises((IncarnationChanged, MemberGone)):
                await engine.claim(member)
            with pytest.raises(IncarnationChanged):
                await engine.write_cells("h", [CellWrite("c", b"", None)], claimed)
            if kind == "another":
                with pytest.raises(IncarnationChanged, match="replaced"):
                    await engine.renew(session)
                assert not await engine.end_session(session.ref)
            _, mine = await joined(engine, "other")
            with pytest.raises(IncarnationChanged, match="bump"):
                await engine.claim(mine)

            async with engine_on(url) as newcomer:
                _, theirs = await joined(newcomer, "h")
                assert (await first(newcomer, theirs)).token < claimed.token  # nothing here can know better
                await newcomer.leave(theirs)

            assert await registry.bump(url) == 1
            with pytest.raises(IncarnationChanged):
                await engine.claim(mine)  # it joined before
            await engine.leave(mine)
            session, member = await joined(engine, "h")
            await engine.renew(session)
            assert (await first(engine, member)).token > claimed.token


# --- logins and TLS --------------------------------------------------------------------------------------------------


def enable_logins(service: EtcdService, password: str) -> None:
    """root, and `app`, which may do everything below /t/."""
    ask = service.server.ask
    for user, secret in (("root", "root"), ("app", password)):
        ask("m0", "/v3/auth/user/add", name=user, password=secret)
        ask("m0", "/v3/auth/role/add", name=user)
        ask("m0", "/v3/auth/user/grant", user=user, role=user)
    below = {"permType": "READWRITE", "key": text(b"/t/"), "range_end": text(b"/t0")}
    ask("m0", "/v3/auth/role/grant", name="app", perm=below)
    ask("m0", "/v3/auth/enable")


async def test_a_token_that_runs_out_ends_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """P48: tokens are taken back all the time. A term is held over that, who waits is woken, and no password is said."""
    with serving(tmp_path, 1, "--auth-token-ttl", "1") as service:
        enable_logins(service, "hush")
        plain = service.url(path="/t")
        url = plain.replace("etcd://", "etcd://app:hush@")
        async with (
            engine_on(plain.replace("etcd://", "etcd://root:root@")) as operator,
            incumbent.connect(url, ttl=2.0, guardian=False) as one,
            incumbent.connect(url, ttl=2.0, guardian=False) as two,
        ):
            taking = asyncio.create_task(_take_tokens_back(operator))
            heir = asyncio.create_task(_lead_for(two, 0.0, after=one))
            term = await _lead_for(one, 2.5)
            assert await heir > term
            taking.cancel()
            await asyncio.gather(taking, return_exceptions=True)
        async with engine_on(url) as engine:
            (session, _), (lasting, _) = await joined(engine, name()), await joined(engine, name())
            token = engine._gateway._token
            ender = registry.ender("etcd")
            await ender.prepare(session.ref)
            await asyncio.sleep(2.5)  # nobody uses the tokens, so they run out
            assert await ender.end(session.ref)
            assert not await ender.end(session.ref)
            await ender.close()
            await engine.renew(lasting)
            assert engine._gateway._token != token
            with pytest.raises(NotAllowed):
                await engine._gateway.ask("/v3/kv/put", {"key": text(b"/elsewhere")}, timeout_s=5.0)
        for wrong in ("etcd://app:hush2@", "etcd://", "etcd://nobody:hush@"):
            with pytest.raises(NotAllowed) as caught:
                await registry.connect(plain.replace("etcd://", wrong))
            assert "hush" not in str(caught.value)
        examination = await registry.examine(service.url().replace("etcd://", "etcd://root:root@"))
        assert not {"etcd-open", "etcd-login-useless"} & codes(examination)
    assert "hush" not in caplog.text


async def _take_tokens_back(operator: EtcdEngine) -> None:
    """A password that is set, be it to the same one, ends the user's logins."""
    while True:
        await asyncio.sleep(0.4)
        body = {"name": "app", "password": "hush"}
        await operator._gateway.ask("/v3/auth/user/changepw", body, timeout_s=5.0)


async def _lead_for(
    cluster: incumbent.Cluster, seconds: float, after: incumbent.Cluster | None = None
) -> int:
    if after is not None:
        async with asyncio.timeout(PATIENCE_S):
            while not await after.election("e").leader():
                await asyncio.sleep(0.05)
    async with cluster.election("e", fenced=True).campaign() as term:
        await asyncio.sleep(seconds)
        term.check()
        return term.token


async def test_tls_both_ways(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    server, client = authority.issue("127.0.0.1"), authority.issue("client")
    (tmp_path / "etcd").mkdir()
    with serving(tmp_path / "etcd", tls=server) as service:
        files = f"?tls_ca={authority.file}&tls_certificate={client.certificate}&tls_key={client.key}"
        async with engine_on(service.url(path=f"/t{files}")) as engine:
            session, member = await joined(engine, "g")
            await first(engine, member)
            ender = registry.ender("etcd")
            await ender.prepare(session.ref)
            assert await ender.end(session.ref)
            await ender.close()
            with pytest.raises(SessionGone):
                await engine.renew(session)
            former = engine._gateway._clients
            authority.issue("client", into=client)
            engine._gateway._context._looked_s = 0.0
            assert (await engine.roster("g")).members == ()  # over new connections
            assert engine._gateway._clients is not former
        expired = authority.issue("client", expired=True)
        files = f"?tls_ca={authority.file}&tls_certificate={expired.certificate}&tls_key={expired.key}&timeout=0.5"
        with pytest.raises(EngineUnavailable):
            await registry.connect(service.url(path=f"/t{files}"))
        context = Context(parse(service.url(path=f"/t{files}"))[0])
        before = context.current()
        authority.issue("client", into=expired)
        context._looked_s = 0.0
        assert context.current() is not before
        renewed = context.current()
        expired.certificate.write_text("garbage")
        context._looked_s = 0.0
        assert context.current() is renewed
        stranger = Authority(tmp_path / "other")
        for wrong in (
            f"?tls_ca={stranger.file}&tls_certificate={client.certificate}&tls_key={client.key}",
            "",
            f"?tls_ca={authority.file}",
        ):
            with pytest.raises(EngineUnavailable):
                await registry.connect(service.url(path=f"/t{wrong}{'&' if wrong else '?'}timeout=0.5"))


# --- watches ---------------------------------------------------------------------------------------------------------


async def test_a_watch_from_before_a_compaction_is_lost(service: EtcdService, engine: EtcdEngine) -> None:
    """P36: read again, and watch from there."""
    group = name()
    roster = await engine.roster(group)
    for _ in range(3):
        await engine.write_cells(group, [CellWrite("c", b"", None)], None)
    now = (await engine.roster(group)).cursor
    service.server.ask("m0", "/v3/kv/compaction", revision=str(now))
    with pytest.raises(WatchLost, match="compacted"):
        async with asyncio.timeout(PATIENCE_S):
            await anext(engine.watch(group, roster.cursor))
    await joined(engine, group)
    async with asyncio.timeout(PATIENCE_S):
        await anext(engine.watch(group, now))


async def test_a_watch_without_a_quorum_ends_in_time(tmp_path: Path) -> None:
    """P38: two of three members are gone; the one that is watched answers, and has nothing to say."""
    with serving(tmp_path, 3) as service:
        (watched, address), *others = service.server.clients.items()
        async with engine_on(f"etcd://{address[0]}:{address[1]}?timeout=1") as engine:
            roster = await engine.roster("g")
            watch = asyncio.ensure_future(anext(engine.watch("g", roster.cursor)))
            await asyncio.sleep(0.2)
            for other, _ in others:
                service.server.kill(other)
            with pytest.raises(WatchLost):
                async with asyncio.timeout(watching.PULSE_S + watching.PULSE_TIMEOUT_S + 2.0):
                    await watch
            with pytest.raises(EngineUnavailable):
                await engine.roster("g")
        assert watched in service.server.processes


async def test_a_watch_of_a_member_that_is_stopped_ends_in_time(tmp_path: Path) -> None:
    """P38: its sockets stay open, and nothing ever comes."""
    with serving(tmp_path) as service:
        async with engine_on(service.url(path="/?timeout=1")) as engine:
            roster = await engine.roster("g")
            watch = asyncio.ensure_future(anext(engine.watch("g", roster.cursor)))
            await asyncio.sleep(0.2)
            service.server.signal("m0", signal.SIGSTOP)
            with pytest.raises(WatchLost, match="does not serve"):
                async with asyncio.timeout(watching.PULSE_S + watching.PULSE_TIMEOUT_S + 2.0):
                    await watch
            with pytest.raises(WatchLost):
                await anext(engine.watch("g", roster.cursor))
            service.server.signal("m0", signal.SIGCONT)
            assert await engine.roster("g") == roster


async def test_watches_have_a_bound(engine: EtcdEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "STREAMS_MAX", 2)
    cursor = (await engine.roster("g")).cursor
    watches = [asyncio.ensure_future(anext(engine.watch("g", cursor))) for _ in range(2)]
    await asyncio.sleep(0.1)
    with pytest.raises(WatchLost, match="no more"):
        await anext(engine.watch("g", cursor))
    for watch in watches:
        watch.cancel()
    await asyncio.gather(*watches, return_exceptions=True)
    await joined(engine, "g")
    await anext(engine.watch("g", cursor))


# --- the rest --------------------------------------------------------------------------------------------------------


async def test_more_than_an_etcd_takes_at_once_is_refused(engine: EtcdEngine) -> None:
    """Each cell fits, all together do not; what is just allowed goes through."""
    group, cell = name(), 256 * 1024
    full = STEP_BYTES_MAX // cell
    written = await engine.write_cells(group, [CellWrite(str(n), bytes(cell), 0) for n in range(full)], None)
    assert [w.version for w in written] == [1] * full
    with pytest.raises(InvalidInput, match="writes"):
        await engine.write_cells(group, [CellWrite(str(n), bytes(cell), 1) for n in range(full + 1)], None)


async def test_endpoints_that_are_not_there_are_passed_over(service: EtcdService) -> None:
    host, port = service.server.clients["m0"]
    async with engine_on(f"etcd://127.0.0.1:1,{host}:{port}/t") as engine:
        session, member = await joined(engine, name())
        await engine.renew(session)
        await first(engine, member)
    with pytest.raises(EngineUnavailable, match="cannot be reached"):
        await registry.connect("etcd://127.0.0.1:1?timeout=0.3")


async def test_requests_wait_for_others_and_not_for_ever(service: EtcdService) -> None:
    """Many at once share some connections; when none of them comes to an end, who waits is told that nothing was done."""
    async with engine_on(service.url(path="/t?timeout=0.3")) as engine:
        assert len(await asyncio.gather(*(engine.roster("g") for _ in range(100)))) == 100
        places = engine._gateway._places[engine._gateway.endpoint]
        for _ in range(CONNECTIONS_MAX):
            await places.acquire()
        async with asyncio.timeout(PATIENCE_S):
            with pytest.raises(EngineUnavailable, match="under way"):
                await engine.roster("g")


def codes(examination: Examination) -> set[str]:
    return {finding.code for finding in examination.findings}


async def test_the_doctor_knows_its_etcd(service: EtcdService) -> None:
    examination = await registry.examine(service.url())
    assert examination.server.startswith("etcd 3.")
    assert examination.server.endswith(", 1 member")
    assert (examination.ttl_min_s, examination.ttl_step_s) == (1.0, 1.0)
    assert examination.clock.startswith("monotonic")
    expected = {"etcd-one-member", "etcd-open", "etcd-early-revoke"}
    if VERSION in examination.server:
        expected |= {"etcd-inconsistent", "etcd-deposed-renewal", "etcd-learners"}
    assert codes(examination) == expected
    page = (Path(__file__).parents[2] / "docs" / "reference" / "engines.md").read_text()
    for finding in examination.findings:
        assert f"| `{finding.code}` | {finding.severity.value} |" in page
    with_login = await registry.examine(service.url().replace("etcd://", "etcd://a:hush@"))
    assert "etcd-login-useless" in codes(with_login)


async def test_the_doctor_sees_the_quota_used_up(tmp_path: Path) -> None:
    with serving(tmp_path, 1, "--quota-backend-bytes", "200000") as service:
        async with engine_on(service.url()) as engine:
            with pytest.raises(Overloaded):
                for _ in range(20):
                    await engine.write_cells("g", [CellWrite("c", bytes(100_000), None)], None)
            faults = {
                f.code
                for f in (await registry.examine(service.url())).findings
                if f.severity is Severity.FAULT
            }
            assert "etcd-no-space" in faults
