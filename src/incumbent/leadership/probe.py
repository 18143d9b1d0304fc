"""Asking the user's code whether it is well, so that a question which hangs costs that one term and nothing else."""

from __future__ import annotations

import asyncio
import inspect
import threading
from typing import Any

from incumbent.leadership.oversight import Healthy
from incumbent.leadership.world import Tasks


class Probe:
    """One election's probe. One question at a time, also over terms: one that hangs is not asked again."""

    def __init__(self, healthy: Healthy, timeout_s: float, tasks: Tasks) -> None:
        self._healthy = healthy
        self._timeout_s = timeout_s
        self._tasks = tasks
        self._hanging: asyncio.Future[Any] | None = None

    async def complaint(self) -> str | None:
        """What is wrong; None when it is well."""
        answer = self._hanging
        if answer is None or answer.done():
            answer = self._hanging = self._ask()
        await asyncio.wait({answer}, timeout=self._timeout_s)
        if not answer.done():
            if isinstance(answer, asyncio.Task):  # in a thread it goes on, and is waited for until it answers
                answer.cancel()
            return f"said nothing for {self._timeout_s} s"
        if answer.cancelled():
            return "was cancelled"
        error = answer.exception()
        if error is not None:
            return f"failed with {error!r}"
        return None if answer.result() else f"said {answer.result()!r}"

    def _ask(self) -> asyncio.Future[Any]:
        if inspect.iscoroutinefunction(self._healthy):
            return self._tasks.spawn(self._healthy(), "incumbent-probe")
        return _in_a_thread(self._healthy)


def _in_a_thread(healthy: Healthy) -> asyncio.Future[Any]:
    """Not in asyncio's pool of threads: the interpreter waits for those at its end, and for one that hangs it would for
    ever."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Any] = loop.create_future()

    def settle(result: object, error: Exception | None) -> None:
        if answer.done():
            return
        if error is None:
            answer.set_result(result)
        else:
            answer.set_exception(error)
            answer.exception()  # perhaps nobody asks any more

    def run() -> None:
        result: object = None
        error: Exception | None = None
        try:
            result = healthy()
        except Exception as raised:
            error = raised
        try:
            loop.call_soon_threadsafe(settle, result, error)
        except RuntimeError:
            return  # the loop is closed: nobody waits for it any more

    threading.Thread(target=run, name="incumbent-probe", daemon=True).start()
    return answer
