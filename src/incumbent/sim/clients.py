"""Clients of the key-value machine in the fast gear, and what may be said of their answers.

What they saw is judged as it comes, against the revisions that anybody was shown, and once more at the end by
`incumbent.check.linear`, which knows of no revision and no log.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, NamedTuple

from incumbent.errors import invariant
from incumbent.ids import LeaseId, RequestId
from incumbent.kv.api import (
    Code,
    Command,
    Compare,
    Condition,
    DeleteRange,
    Is,
    LeaseGrant,
    Once,
    Put,
    Query,
    Range,
    Txn,
)
from incumbent.node.api import Done, Outcome, Refused
from incumbent.sim.kernel import Kernel
from incumbent.sim.leases import Ask

MS: Final = 1_000_000
KEYS: Final = 5
PATIENCE_NS: Final = 1_500 * MS
"""After this long without an answer a client asks no more: the outcome is unknown."""
THINK_MAX_NS: Final = 40 * MS
SESSION_TTL_NS: Final = 3_600_000 * MS


class Call(NamedTuple):
    """One operation, as a client saw it. `outcome` None: nobody ever answered."""

    client: int
    call_ns: int
    return_ns: int | None
    request: Command | Query
    outcome: Outcome | None


class Register:
    """What reads may show: nothing older than what anybody has been shown (`read_lin`)."""

    def __init__(self) -> None:
        self.acknowledged = 0
        self.reads = 0
        self.highest = 1  # the highest revision that any client knows of

    def returned(self, floor: int, outcome: Outcome, *, wrote: bool) -> None:
        """An answer came to a request that was sent when `floor` was the highest."""
        if not isinstance(outcome, Done):
            return
        revision = outcome.result.revision
        if wrote:
            self.acknowledged += 1
        else:
            self.reads += 1
        if revision < floor:
            invariant(False, "read_lin: an answer shows the past", revision=revision, floor=floor)
        self.highest = max(self.highest, revision)


class Client:
    """Asks one thing after another, of anybody."""

    def __init__(self, number: int, kernel: Kernel, ask: Ask, register: Register) -> None:
        self.over = False
        self._calls: list[Call] = []  # that have ended
        self._open: Call | None = None  # waiting for its answer
        self._number = number
        self._kernel = kernel
        self._ask = ask
        self._register = register
        self._chance = kernel.stream(f"client {number}").random
        self._count = 0
        self._versions: dict[bytes, int] = {}  # as last read
        self._think()

    @property
    def calls(self) -> Sequence[Call]:
        """Everything it asked and was not refused, whether or not an answer came."""
        return [*self._calls, self._open] if self._open is not None else self._calls

    def _think(self) -> None:
        if not self.over:
            self._kernel.after(int(self._chance() * THINK_MAX_NS), self._next)

    def _next(self) -> None:
        if self.over:
            return
        self._count += 1
        request = self._choose()
        call = self._open = Call(self._number, self._kernel.now_ns, None, request, None)
        then = partial(self._answered, call, self._register.highest)
        if isinstance(request, Range):
            self._ask(lambda number: lambda node, now_ns: node.read(number, request, now_ns), then)
        else:
            self._ask(lambda number: lambda node, now_ns: node.submit(number, request, now_ns), then)
        self._kernel.after(PATIENCE_NS, self._end, call)

    def _choose(self) -> Put | DeleteRange | Range | Txn:
        key = b"key/%d" % int(self._chance() * KEYS)
        value = b"%d-%d" % (self._number, self._count)
        kind = self._chance()
        if kind < 0.4:
            return Range(key)
        if kind < 0.75:
            return Put(key, value)
        if kind < 0.8:
            return DeleteRange(key)
        seen = Condition(key, Compare.VERSION, Is.EQUAL, self._versions.get(key, 0))
        return Txn((seen,), (Put(key, value),))

    def _answered(self, call: Call, floor: int, outcome: Outcome) -> None:
        if self._open is not call:
            return
        request = call.request
        self._register.returned(floor, outcome, wrote=not isinstance(request, Range))
        if isinstance(request, Range) and isinstance(outcome, Done):
            found = outcome.result.results[0].kvs
            self._versions[request.key] = found[0].version if found else 0
        if isinstance(outcome, Done):
            self._open = call._replace(return_ns=self._kernel.now_ns, outcome=outcome)
        elif isinstance(outcome, Refused):
            self._open = None
        self._end(self._open)

    def _end(self, call: Call | None) -> None:
        """It was answered, or nobody waits for the answer any more."""
        if self._open is call:
            self._open = None
            if call is not None:
                self._calls.append(call)
            self._think()


class Retrier:
    """Sends every command until somebody says that it is done, and wants each applied once."""

    def __init__(self, number: int, kernel: Kernel, ask: Ask) -> None:
        self.over = False
        self.done = 0
        self.retried = 0
        self._kernel = kernel
        self._ask = ask
        self._chance = kernel.stream(f"retrier {number}").random
        self._session = LeaseId(1 << 48 | number)
        self._prefix = b"once/%d/" % number
        self._sequence = 0  # 0: no session yet
        self._kernel.after(int(self._chance() * THINK_MAX_NS), self._try, 0)

    def _command(self) -> Command:
        if not self._sequence:
            return LeaseGrant(self._session, SESSION_TTL_NS)
        put = Put(self._prefix + b"%d" % self._sequence, b"")
        return Once(self._session, self._sequence, self._sequence - 1, put)

    def _try(self, sequence: int) -> None:
        if sequence != self._sequence:
            return
        command = self._command()
        self._ask(
            lambda number: lambda node, now_ns: node.submit(number, command, now_ns),
            partial(self._answered, sequence),
        )
        self.retried += 1
        self._kernel.after(int((0.5 + self._chance()) * PATIENCE_NS / 4), self._try, sequence)

    def _answered(self, sequence: int, outcome: Outcome) -> None:
        if sequence != self._sequence or not isinstance(outcome, Done):
            return
        result = outcome.result
        invariant(result.code is Code.OK, "once: a command of a live session fails", result=result)
        if sequence:
            self.done += 1
        self._sequence += 1
        if not self.over:
            self._kernel.after(int(self._chance() * 4 * THINK_MAX_NS), self._try, self._sequence)

    def check(self, query: Callable[[Query], Done]) -> None:
        """At the end: what was done was done once."""
        for sequence in range(1, self.done + 1):
            key = self._prefix + b"%d" % sequence
            found = query(Range(key)).result.results[0].kvs
            invariant(
                len(found) == 1 and found[0].version == 1,
                "once: a retried command was applied several times, or lost",
                key=key,
                found=found,
            )


class Requests:
    """Who waits for which answer; a request is told at most one end (`requests_once`)."""

    def __init__(self) -> None:
        self._waiting: dict[RequestId, Callable[[Outcome], None]] = {}
        self._count = 0

    def open(self, then: Callable[[Outcome], None]) -> RequestId:
        self._count += 1
        request = RequestId(self._count)
        self._waiting[request] = then
        return request

    def ended(self, request: RequestId, outcome: Outcome) -> None:
        then = self._waiting.pop(request, None)
        invariant(then is not None, "requests_once: a request ended twice", request=request, outcome=outcome)
        if then is not None:
            then(outcome)
