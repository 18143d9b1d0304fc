"""The resource of a failure run refuses a lower token, and takes as many writers at once as there may be."""

from __future__ import annotations

import asyncio
from pathlib import Path

from incumbent.check.history import Kind, parse
from tests.torture.engines.sink import sink

AT_ONCE = 20


async def test_a_lower_token_is_refused_however_many_come_at_once(tmp_path: Path) -> None:
    history = tmp_path / "history"

    async def write(path: Path, token: int) -> bytes:
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"%d\n" % token)
        answer = await reader.readline()
        writer.close()
        await writer.wait_closed()
        return answer

    with sink(tmp_path, history) as path:
        assert await write(path, 7) == b"yes\n"
        assert set(await asyncio.gather(*(write(path, 5) for _ in range(AT_ONCE)))) == {b"no\n"}
        assert await write(path, 7) == b"yes\n"
    told = [(event.kind, event.token) for event in parse(history.read_text().splitlines())]
    assert told == [(Kind.ACCEPTED, 7), *[(Kind.REFUSED, 5)] * AT_ONCE, (Kind.ACCEPTED, 7)]
