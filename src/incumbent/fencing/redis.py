"""Refuse a stale leader over Redis: one script checks the token and does the write.

The highest token seen is a hash beside the data; with a hash tag both are on one node of a cluster. Tokens are compared as text of
19 digits: Lua's numbers and the scores of sorted sets are doubles, which above 2**53 do not know every integer (P35).

The fence is as durable as the data in that Redis, and no more: a failover to a replica that has not got the last writes forgets tokens
together with the writes that they guarded. See docs/how-to/fence-redis.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from incumbent.errors import EngineUnavailable, InvalidInput, OutcomeUnknown, Unsupported
from incumbent.fencing.redisscript import Batch, Value, check_keys, script_for
from incumbent.fencing.refusals import OnRefused, Refusals
from incumbent.fencing.rule import TOKEN_DIGITS, Seen, check_holder, check_token, key_of

REFUSED: Final = 0
DONE: Final = 1
FAILED: Final = 2


class Check:
    """The check of one election's fence, without a connection: for redis.asyncio, a cluster's client, or any other.

    Execute the words that `command` or `script` gives, and hand the reply to `read`. Clients that send a command again when its answer
    is lost do the write twice: switch that off, or write only what may be written twice.

    `tag` is the hash tag of every key, without braces; it is needed in a cluster. Raises InvalidInput.
    """

    def __init__(self, name: str, *, tag: str | None = None, on_refused: OnRefused | None = None) -> None:
        if tag is not None and (not tag or "{" in tag or "}" in tag):
            raise InvalidInput(
                "tag", f"{tag!r} is no hash tag", "give what stands between the braces of your keys"
            )
        self.name = name
        self.refusals = Refusals(name, on_refused)
        self.tag = tag
        prefix = "incumbent:fence:" if tag is None else f"{{{tag}}}:incumbent:fence:"
        self.key: Final = prefix + key_of(name)
        """Where the fence stands: a hash of `token`, `holder` and `refused`."""

    def command(self, token: int, holder: str = "", batch: Batch | None = None) -> Sequence[Value]:
        """The words of an EVAL that checks the token, and does what `batch` collected. Raises InvalidInput."""
        calls = batch or Batch(self.tag)
        keys = (self.key, *calls.keys)
        return ("EVAL", script_for(None), len(keys), *keys, *self._who(token, holder), *calls.words)

    def script(
        self, token: int, body: str, keys: Sequence[Value] = (), args: Sequence[Value] = (), holder: str = ""
    ) -> Sequence[Value]:
        """The words of an EVAL that checks the token, and runs `body`: Lua that finds `keys` and `args` in KEYS and ARGV, as ever.

        Never put data into its text: each text is a script that the server keeps. Raises InvalidInput.
        """
        check_keys(self.tag, keys)
        return (
            "EVAL", script_for(body), 1 + len(keys), self.key, *keys, *self._who(token, holder), *args
        )  # fmt: skip

    def read(self, reply: Any, token: int, holder: str = "") -> Any:
        """What the write gave back: a list for a batch, the body's value for a script.

        Raises StaleToken: nothing was written. InvalidInput: the first command failed, and nothing was written. OutcomeUnknown: a later
        one, or a script, failed on its way; what it had done stands, for Redis takes nothing back.
        """
        match int(reply[0]):
            case code if code == REFUSED:
                raise self.refusals.refuse(token, holder, Seen(int(reply[1]), _text(reply[2])))
            case code if code == DONE:
                return reply[1] if len(reply) > 1 else None
            case _:
                done, problem = int(reply[1]), _text(reply[2])
                if done == 0:
                    raise InvalidInput("command", f"failed: {problem}", "nothing was written")
                raise OutcomeUnknown(
                    f"{self.name}: failed on its way, and what was done before stands: {problem}"
                )

    def _who(self, token: int, holder: str) -> tuple[str, str]:
        return str(check_token(token)).zfill(TOKEN_DIGITS), check_holder(holder)


class Fence:
    """The fence of one election in one Redis; `client` is a ``redis.Redis`` with a ``socket_timeout``. Threads may share it.

    What a block writes is collected, and done at its end by one script. A command is sent once: the client's own retries are not used.

    Raises InvalidInput; Unsupported for a client without a connection pool of its own, as a cluster's: use `Check` with it.
    """

    exclusive: Final = False

    def __init__(
        self, client: Any, name: str, *, tag: str | None = None, on_refused: OnRefused | None = None
    ) -> None:
        from redis.exceptions import BusyLoadingError, NoScriptError, RedisError, ResponseError

        self._check = Check(name, tag=tag, on_refused=on_refused)
        self.name = name
        self.refusals = self._check.refusals
        self._client = client
        self._pool: Any = getattr(client, "connection_pool", None)
        if self._pool is None:
            raise Unsupported(
                f"{name}: {type(client).__name__} has no connection pool; execute Check.command with it"
            )
        if not self._pool.connection_kwargs.get("socket_timeout"):
            raise InvalidInput("client", "waits for an answer without end", "make it with socket_timeout=5")
        self._no_script: type[Exception] = NoScriptError
        self._declined = (ResponseError, BusyLoadingError)
        self._failed = (RedisError, OSError)

    @contextmanager
    def write(self, token: int, holder: str = "") -> Iterator[Batch]:
        """``with fence.write(term.token) as batch: batch.call("SET", "{orders}:1", "paid")`` All of it under `token`, or nothing.

        Reads in the block are not part of the step; use `run` to read and write in one. `batch.results` has the replies afterwards.

        Raises StaleToken, InvalidInput, EngineUnavailable: nothing was written. OutcomeUnknown: no answer, or a command after the first
        one failed, and those before it stand.
        """
        check_token(token)
        check_holder(holder)
        batch = Batch(self._check.tag)
        yield batch
        words = self._check.command(token, holder, batch)
        batch.results = self._check.read(self._once(words), token, holder)

    def run(
        self, token: int, body: str, keys: Sequence[Value] = (), args: Sequence[Value] = (), holder: str = ""
    ) -> Any:
        """Check the token and run `body`, in one step: Lua that finds `keys` and `args` in KEYS and ARGV. Gives back what it returns.

        Raises as `write` does; OutcomeUnknown when the body fails, for Redis takes nothing back.
        """
        words = self._check.script(token, body, keys, args, holder)
        return self._check.read(self._once(words), token, holder)

    def prime(self, token: int, holder: str = "") -> None:
        """Raise the fence without a write. Raises as `write` does."""
        with self.write(token, holder):
            pass

    def highest(self) -> int:
        """The highest token accepted so far; 0 before the first. Raises EngineUnavailable."""
        return self._kept("token")

    def refused(self) -> int:
        """How many writes were refused so far, by any process. Raises EngineUnavailable."""
        return self._kept("refused")

    def _kept(self, field: str) -> int:
        try:
            return int(self._client.hget(self._check.key, field) or 0)
        except self._failed as error:
            raise EngineUnavailable(f"{self.name}: Redis cannot be had: {error}") from error

    def _once(self, words: Sequence[Value]) -> Any:
        """By its digest first; a server that does not know the script has done nothing."""
        _, script, *rest = words
        digest = hashlib.sha1(str(script).encode(), usedforsecurity=False).hexdigest()
        try:
            return self._exchange(("EVALSHA", digest, *rest))
        except self._no_script:
            return self._exchange(words)

    def _exchange(self, words: Sequence[Value]) -> Any:
        """One request on one connection: what fails before it is sent was certainly not done, and after it nobody knows."""
        connection = self._reached(self._pool.get_connection)
        try:
            connection.send_packed_command(connection.pack_command(*words))
            return connection.read_response()
        except self._no_script:
            raise
        except self._declined as error:  # the script as a whole: it fails before its first write
            if "compiling" in str(error):
                raise InvalidInput(
                    "body", f"is no Lua: {error}", "correct it; nothing was written"
                ) from error
            raise EngineUnavailable(f"{self.name}: Redis declined: {error}") from error
        except self._failed as error:
            connection.disconnect()
            raise OutcomeUnknown(f"{self.name}: sent, and no answer came: {error}") from error
        except BaseException:
            connection.disconnect()  # an answer that nobody waits for must not be taken for another's
            raise
        finally:
            self._pool.release(connection)

    def _reached(self, get_connection: Callable[[], Any]) -> Any:
        try:
            return get_connection()
        except self._failed as error:
            raise EngineUnavailable(f"{self.name}: Redis cannot be reached: {error}") from error


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
