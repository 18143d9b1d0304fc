"""The helper's decisions, in this process."""

from __future__ import annotations

import asyncio
import os

import pytest

from incumbent.errors import ProtocolViolation
from incumbent.guardian.watchman import Inbox, Outbox, Watchman, _until_quit_or_death
from incumbent.guardian.wire import Command, Hello, Quit, encode


class Pipes:
    """What the helper hears commands and the kernel's word from."""

    def __init__(self) -> None:
        self.command_out, self.command_in = os.pipe()
        self.death_out, self.death_in = os.pipe()  # becomes readable as a pidfd does
        self.reply_out, self.reply_in = os.pipe()

    def say(self, command: Command) -> None:
        os.write(self.command_in, encode(command))

    def die(self) -> None:
        os.write(self.death_in, b"x")

    async def started(self) -> asyncio.Task[bool]:
        watchman = Watchman(Outbox(self.reply_in), 1.0)
        task = asyncio.create_task(_until_quit_or_death(Inbox(self.command_out), watchman, self.death_out))
        await asyncio.sleep(0)
        return task

    def close(self) -> None:
        for fd in (self.command_out, self.command_in, self.death_in, self.reply_out, self.reply_in):
            os.close(fd)


async def test_a_quit_that_was_said_before_the_death_counts() -> None:
    """Even when the kernel's word is seen first."""
    pipes = Pipes()
    task = await pipes.started()
    pipes.die()
    pipes.say(Quit())
    assert await task is True
    pipes.close()


async def test_a_death_is_a_death() -> None:
    pipes = Pipes()
    task = await pipes.started()
    pipes.die()
    assert await task is False
    pipes.close()


async def test_a_second_hello_is_refused() -> None:
    """P77: nobody can turn the helper to another process."""
    pipes = Pipes()
    task = await pipes.started()
    pipes.say(Hello(1, 1, 1.0))
    with pytest.raises(ProtocolViolation):
        await task
    pipes.close()
