"""Wake-ups between processes: they say which groups changed, and may be lost, forged or for others."""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from incumbent.engines.api import CellWrite
from incumbent.engines.local.engine import LocalEngine
from incumbent.engines.local.store import Peek, Store
from incumbent.engines.local.wakeup import GROUPS_MAX, Mailbox, Postbox, mark_of


@pytest.fixture
def boxes(tmp_path: Path) -> Iterator[tuple[Postbox, Mailbox]]:
    postbox = Postbox(tmp_path / "wake")
    mailbox = postbox.bind()
    yield postbox, mailbox
    mailbox.close()
    postbox.close()


def test_a_poke_names_the_groups_and_the_revision(boxes: tuple[Postbox, Mailbox]) -> None:
    postbox, mailbox = boxes
    postbox.poke_all(7, {"a", "b"})
    postbox.poke_all(9, {"b"})
    assert mailbox.drain() == {mark_of("a"): 7, mark_of("b"): 9}
    assert mailbox.drain() == {}


def test_more_groups_than_fit_are_not_named(boxes: tuple[Postbox, Mailbox]) -> None:
    postbox, mailbox = boxes
    postbox.poke_all(7, [f"g{n}" for n in range(2 * GROUPS_MAX)])
    assert len(mailbox.drain()) == GROUPS_MAX


@pytest.mark.parametrize("forged", [b"", b"\1", b"1234567", b"123456789"])
def test_what_nobody_of_us_sent_says_nothing(
    boxes: tuple[Postbox, Mailbox], tmp_path: Path, forged: bytes
) -> None:
    _, mailbox = boxes
    (path,) = (tmp_path / "wake").iterdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stranger:
        stranger.sendto(forged, str(path))
    assert mailbox.drain() == {}


async def test_who_is_told_of_its_group_is_woken_without_a_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nobody is woken for the groups of others, which every process is told of."""
    one, two = await LocalEngine.open(tmp_path), await LocalEngine.open(tmp_path)
    session = await one.open_session(30.0, secrets.token_hex(16))
    member = await one.join(session, "g", "r", b"")
    looks: list[str] = []
    peek = Store.peek

    def counted(store: Store, group: str) -> Peek:
        looks.append(group)
        return peek(store, group)

    monkeypatch.setattr(Store, "peek", counted)
    watch = two.watch("g", (await two.roster("g")).cursor)
    waiting = asyncio.ensure_future(anext(watch))
    while not looks:
        await asyncio.sleep(0.001)
    await one.write_cells("other", [CellWrite("c", b"", None)], None)
    while len(looks) < 2:
        await asyncio.sleep(0.001)
    assert not waiting.done()
    await one.leave(member)
    await asyncio.wait_for(waiting, 5)
    assert looks == ["g", "g"]
    again = asyncio.ensure_future(anext(watch))
    await asyncio.sleep(0.05)
    assert not again.done()  # once for each change
    await one.join(session, "g", "r", b"")
    await asyncio.wait_for(again, 5)
    await watch.aclose()
    await one.close()
    await two.close()
