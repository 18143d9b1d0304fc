"""One connection to Redis, and what its errors mean. Nothing is sent twice behind our back: redis-py's own retries are off."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, Final

from redis import exceptions
from redis.asyncio.connection import Connection, SSLConnection

from incumbent.engines.redis.settings import Settings
from incumbent.errors import (
    EngineError,
    EngineUnavailable,
    IncumbentError,
    NotAllowed,
    OutcomeUnknown,
    Overloaded,
)

_NOT_NOW: Final = (
    "READONLY",
    "LOADING",
    "MASTERDOWN",
    "CLUSTERDOWN",
    "TRYAGAIN",
    "NOREPLICAS",
    "BUSY",
    "UNBLOCKED",
)
_NOT_YOU: Final = ("NOAUTH", "WRONGPASS", "NOPERM", "The user executing the script can't")


class Link:
    """Used by one call at a time. Times out by itself, so that nothing hangs."""

    def __init__(self, settings: Settings, host: str, port: int) -> None:
        self._settings = settings
        options: dict[str, Any] = {
            "host": host,
            "port": port,
            "db": settings.database,
            "username": settings.user,
            "password": settings.password,
            # Ours: with one of its own redis-py sends by wait_for(), which before Python 3.12 may swallow a cancellation.
            "socket_timeout": None,
            "socket_connect_timeout": settings.timeout_s,
            "protocol": 2,
            "driver_info": None,
            "maint_notifications_config": None,
        }
        if settings.tls:
            options["ssl_ca_certs"] = settings.tls_ca
            options["ssl_certfile"] = settings.tls_certificate
            options["ssl_keyfile"] = settings.tls_key
            self._connection: Connection = SSLConnection(**options)
        else:
            self._connection = Connection(**options)

    async def open(self) -> None:
        """Raises EngineUnavailable, NotAllowed."""
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                await self._connection.connect()  # type: ignore[no-untyped-call]
        except (exceptions.RedisError, OSError, TimeoutError) as error:
            await self.close()
            refused = isinstance(error, exceptions.AuthenticationError | exceptions.AuthorizationError)
            if refused or str(error).startswith(_NOT_YOU):
                raise NotAllowed(f"{self._settings.shown}: {error}") from error
            raise EngineUnavailable(f"{self._settings.shown}: {error}") from error
        except BaseException:
            await self.close()
            raise

    async def ask(self, *words: bytes | str | int) -> Any:
        """One command. Raises redis.exceptions.ResponseError for an answer that is one, OutcomeUnknown where none came."""
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                await self._connection.send_command(*words, check_health=False)
                return await self._connection.read_response(disable_decoding=True)
        except exceptions.ResponseError:
            raise
        except (exceptions.RedisError, OSError, TimeoutError) as error:
            await self.close()
            if str(error).startswith(_NOT_NOW):  # "LOADING" is a lost connection to redis-py
                raise EngineUnavailable(str(error)) from error
            raise OutcomeUnknown(f"{self._settings.shown}: no answer: {error!r}") from error
        except BaseException:
            # Cancelled: an answer may still come, and it would be taken for the next one's.
            await self.close()
            raise

    async def hear(self, timeout_s: float) -> Any:
        """What comes next by itself. None when nothing does in that time. Raises EngineUnavailable."""
        try:
            return await self._connection.read_response(disable_decoding=True, timeout=timeout_s)
        except (exceptions.RedisError, OSError) as error:
            raise EngineUnavailable(f"{self._settings.shown}: {error}") from error

    async def is_idle(self) -> bool:
        """Whether the connection is there and the server has not closed it."""
        if not self._connection.is_connected:
            return False
        try:
            return not await self._connection.can_read()
        except (exceptions.RedisError, OSError):
            return False

    async def close(self) -> None:
        with suppress(exceptions.RedisError, OSError, TimeoutError):
            await self._connection.disconnect(nowait=True)


def translated(error: exceptions.ResponseError) -> IncumbentError:
    """An error that the server answered with: the script did nothing."""
    words = str(error)
    if isinstance(error, exceptions.NoPermissionError) or words.startswith(_NOT_YOU):
        return NotAllowed(words)
    if isinstance(error, exceptions.OutOfMemoryError):
        return Overloaded(f"the server's memory is full: {words}")
    if isinstance(error, exceptions.ReadOnlyError | exceptions.ClusterDownError | exceptions.MasterDownError):
        return EngineUnavailable(words)
    if words.startswith(_NOT_NOW) or "READONLY" in words:
        return EngineUnavailable(words)
    return EngineError(words)
