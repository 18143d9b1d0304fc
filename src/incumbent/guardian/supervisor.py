"""The guarded process's side: starts the helper, tells it which sessions to end, and starts another when it dies.

Whatever goes wrong here costs time, never safety: a session that nobody ends is over after its TTL.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
from typing import Final

from incumbent.engines.api import Ref
from incumbent.engines.inputs import check_ref, check_release_delay
from incumbent.errors import (
    IncumbentError,
    InvalidInput,
    OutcomeUnknown,
    Overloaded,
    ProtocolViolation,
    Unsupported,
)
from incumbent.guardian.helper import Helper
from incumbent.guardian.wire import Forget, Hello, Refused, Reply, Said, Watch, Watching
from incumbent.runtime.process import process_start_ticks

logger = logging.getLogger(__name__)

SESSIONS_MAX: Final = 64
END_TIMEOUT_S: Final = 60.0
"""How long the helper tries to end a dead process's sessions. Beyond their TTLs there is nothing left to end."""
ANSWER_TIMEOUT_S: Final = 5.0
RESTARTS_MAX: Final = 5
"""Helpers that die young, one after the other, before this process does without."""
LIVED_S: Final = 60.0
"""A helper that lived this long did not die young."""
RESTART_PAUSE_MIN_S: Final = 0.1
RESTART_PAUSE_MAX_S: Final = 5.0


class Guardian:
    """Guards this process, not its forked children. Bound to the event loop that started it."""

    def __init__(self, hello: Hello, helper: Helper) -> None:
        self._hello = hello
        self._helper: Helper | None = helper
        self._pid = os.getpid()
        self._watches: dict[bytes, Watch] = {}
        self._answers: dict[int, asyncio.Future[None]] = {}
        self._last_id = 0
        self._given_up = False
        self._closing = False
        self._keeper = asyncio.create_task(self._keep(helper), name="incumbent keeps its guardian")
        self._keeper.add_done_callback(self._on_keeper_done)

    @classmethod
    async def start(cls, *, end_timeout: float = END_TIMEOUT_S) -> Guardian:
        """Start the helper process; when this returns, the kernel will tell it of this process's death.

        `end_timeout` in seconds bounds how long it tries to end sessions. You owe a `close`.
        Raises Unsupported where there is no pidfd (Linux 5.3 has it), or no process can be had: the TTL alone protects.
        """
        if not (0 < end_timeout < math.inf):
            raise InvalidInput("end_timeout", f"{end_timeout!r} is no bound", "give seconds, above 0")
        ticks = process_start_ticks(os.getpid())
        if not hasattr(os, "pidfd_open") or ticks is None:
            raise Unsupported("the kernel cannot tell of a process's death here; the TTL alone protects")
        hello = Hello(os.getpid(), ticks, end_timeout)
        return cls(hello, await Helper.start(hello))

    @property
    def helper_pid(self) -> int | None:
        """The helper process; None while there is none."""
        return None if self._helper is None else self._helper.pid

    async def watch(self, scheme: str, ref: Ref, release_delay: float) -> None:
        """From here on, when this process dies, the session is ended `release_delay` seconds later.

        Raises InvalidInput (a scheme without an ender), Overloaded, Unsupported (no helper can be had any more) and
        OutcomeUnknown (no answer in time; the helper may or may not guard it).
        """
        check_ref(ref)
        check_release_delay(release_delay)
        self._check_usable()
        if len(self._watches) >= SESSIONS_MAX and ref not in self._watches:
            raise Overloaded(f"{SESSIONS_MAX} sessions of this process are guarded already")
        self._last_id += 1
        watch = Watch(self._last_id, scheme, ref, release_delay)
        answer = self._answers[watch.id] = asyncio.get_running_loop().create_future()
        self._watches[ref] = watch
        if self._helper is not None:  # else it is told to the next one
            self._helper.send(watch)
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                await answer
        except TimeoutError as error:
            raise OutcomeUnknown(f"the guardian said nothing for {ANSWER_TIMEOUT_S} s") from error
        except InvalidInput:
            self._watches.pop(ref, None)
            raise
        finally:
            del self._answers[watch.id]

    async def forget(self, ref: Ref) -> None:
        """The session is over or left to its TTL: it will not be ended."""
        if self._watches.pop(ref, None) is not None and self._helper is not None and not self._is_forked():
            self._helper.send(Forget(ref))

    async def close(self) -> None:
        """Let the helper exit with nothing ended: a clean close ends its sessions itself. In a forked child it does
        nothing: the helper is the parent's."""
        if self._closing or self._is_forked():
            return
        self._closing = True
        self._keeper.cancel()
        try:
            await asyncio.wait({self._keeper})
        finally:
            helper, self._helper = self._helper, None
            if helper is not None:
                await helper.quit()

    # --- keeping one alive ----------------------------------------------------------------------------------------

    async def _keep(self, helper: Helper) -> None:
        """Listen to the helper; when it dies, get another. Ends when none can be had any more."""
        loop = asyncio.get_running_loop()
        restarts = 0
        while True:
            started_s = loop.time()
            why = await self._listen(helper)
            self._helper = None
            helper.kill()
            restarts = 1 if loop.time() - started_s >= LIVED_S else restarts + 1
            while restarts <= RESTARTS_MAX:
                logger.warning("guardian process %d %s; starting another", helper.pid, why)
                await asyncio.sleep(min(RESTART_PAUSE_MAX_S, RESTART_PAUSE_MIN_S * 2 ** (restarts - 1)))
                try:
                    helper = await Helper.start(self._hello)
                    break
                except IncumbentError as error:
                    why = f"was not replaced: {error}"
                    restarts += 1
            else:
                logger.error("guardian process %d %s; from now on the TTL alone protects", helper.pid, why)
                return
            self._helper = helper
            for watch in self._watches.values():
                helper.send(watch)

    def _on_keeper_done(self, keeper: asyncio.Task[None]) -> None:
        """Without a keeper there is no guardian, whatever the reason."""
        if not keeper.cancelled() and (error := keeper.exception()) is not None:
            logger.error("the guardian is lost; from now on the TTL alone protects", exc_info=error)
        self._given_up = True
        self._fail_answers("the guardian is over")

    async def _listen(self, helper: Helper) -> str:
        """Returns why there is nothing more to hear."""
        try:
            while (reply := await helper.hear()) is not None:
                self._on_reply(reply)
        except ProtocolViolation as error:
            return str(error)
        return "died"

    def _on_reply(self, reply: Reply) -> None:
        match reply:
            case Watching(id):
                self._answer(id, None)
            case Refused(id, field, problem, fix):
                self._answer(id, InvalidInput(field, problem, fix))
            case Said(level, text):
                logger.log(level, "guardian: %s", text)
            case _:
                raise ProtocolViolation(f"the guardian says {reply!r}")

    def _answer(self, id: int, error: IncumbentError | None) -> None:  # noqa: A002  - the watch's id
        answer = self._answers.get(id)
        if answer is None or answer.done():
            return  # nobody waits for it any more
        if error is None:
            answer.set_result(None)
        else:
            answer.set_exception(error)

    def _fail_answers(self, why: str) -> None:
        for id in self._answers:  # noqa: A001
            self._answer(id, Unsupported(f"{why}; the TTL alone protects"))

    def _check_usable(self) -> None:
        if self._is_forked():
            raise Unsupported(f"this guardian guards process {self._pid}; after a fork, start another")
        if self._closing or self._given_up:
            raise Unsupported("the guardian is over; the TTL alone protects")

    def _is_forked(self) -> bool:
        return os.getpid() != self._pid
