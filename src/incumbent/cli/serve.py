"""``incumbent serve``: one voter of a cluster, for as long as the process runs."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
from contextlib import AsyncExitStack

from incumbent.cli.options import ENVIRONMENT_PREFIX
from incumbent.cli.settings import Settings, settings
from incumbent.runtime.voter import Voter
from incumbent.server.http import StatusServer
from incumbent.server.voter import pages


def serve(arguments: argparse.Namespace) -> int:
    """Run until SIGTERM or SIGINT: leadership is handed over first. Raises IncumbentError."""
    said = settings(
        arguments.config or os.environ.get(f"{ENVIRONMENT_PREFIX}CONFIG"), os.environ, vars(arguments)
    )
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    asyncio.run(_serve(said))
    return 0


async def _serve(said: Settings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await _run(said, stop)


async def _run(said: Settings, stop: asyncio.Event) -> None:
    async with AsyncExitStack() as stack:
        opening = asyncio.create_task(stack.enter_async_context(Voter.open(said.voter)))
        stopping = asyncio.create_task(stop.wait())
        stack.callback(stopping.cancel)
        await asyncio.wait({opening, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not opening.done():  # it waits for its cluster, and is told to stop: there is nothing to finish
            opening.cancel()
            await asyncio.wait({opening})
            return
        voter = opening.result()
        if said.http is not None:
            stack.enter_context(StatusServer(pages(voter, asyncio.get_running_loop()), said.http))
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, voter.reload_certificates)
        stopped = asyncio.create_task(voter.wait_stopped())
        await asyncio.wait({stopping, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if stopped.done():
            stopped.result()  # raises what stopped it
        stopped.cancel()
