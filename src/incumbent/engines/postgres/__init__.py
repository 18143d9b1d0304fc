"""The engine on a PostgreSQL that is there anyway: rows of one schema, in ordinary transactions.

    postgresql://user:password@host:5432/database?schema=incumbent&sslmode=verify-full

No advisory locks, no sequences, nothing that a connection pool or a failover forgets. Nobody's wall clock decides: a session
ends when somebody has seen its counter of renewals stand still for a whole TTL on a clock of its own.
"""

from __future__ import annotations

from incumbent.engines.api import Engine
from incumbent.engines.postgres.settings import OPTIONS, Settings
from incumbent.errors import Unsupported

__all__ = ["OPTIONS", "connect"]


async def connect(url: str) -> Engine:
    """Open the engine on the database that `url` names; the schema is made when it is not there.

    Raises InvalidInput for a wrong URL, Unsupported where the client library is missing, for a database that is not in UTF-8,
    or that has no synchronous standby although the URL says so; NotAllowed, EngineUnavailable.
    """
    settings = Settings.parse(url)
    try:
        from incumbent.engines.postgres.engine import PostgresEngine
    except ModuleNotFoundError as error:
        raise Unsupported("the client library is missing: pip install incumbent[postgres]") from error

    return await PostgresEngine.open(settings)
