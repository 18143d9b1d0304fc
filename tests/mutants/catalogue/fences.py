"""Faults of the fences: of what a resource refuses, keeps and counts."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, suite

RULE: Final = "fencing/rule.py"
SQL: Final = "fencing/sql.py"
OF_MEMORY: Final = (suite("tests/fencing/test_memory.py", "tests/fencing/test_rule.py"),)
FILES: Final = "fencing/files.py"
FILE_LOCK: Final = "fencing/filelock.py"
FILE_STATE: Final = "fencing/filestate.py"
OF_FILES: Final = (suite("tests/fencing/test_files.py"),)
OF_HTTP: Final = (suite("tests/fencing/test_http.py"),)
OF_SERVERS: Final = (suite("tests/fencing/test_http_servers.py"),)
POSTGRES: Final = "fencing/postgres.py"
OF_POSTGRES: Final = (suite("tests/fencing/test_postgres.py"),)
OF_REDIS: Final = (suite("tests/fencing/test_redis.py"),)
OF_SQLITE: Final = (suite("tests/fencing/test_sqlite.py"),)

HOLDER: Final = "fencing/holder.py"

FENCES: Final[tuple[Mutant, ...]] = (
    Mutant(
        "who holds a database is asked for by opening it once more",
        HOLDER,
        "        file = Path(path).stat()\n",
        "        file = Path(path).stat()\n        Path(path).read_bytes()\n",
        OF_SQLITE,
    ),
    Mutant(
        "a reader is taken for the writer that holds the database",
        HOLDER,
        "fcntl.F_RDLCK if shared else fcntl.F_WRLCK",
        "fcntl.F_WRLCK",
        OF_SQLITE,
    ),
    Mutant(
        "the fence lets everybody through",
        RULE,
        "            return token < self.token\n",
        "            return False\n",
        OF_MEMORY,
        promises=("P14", "P33", "P34"),
    ),
    Mutant(
        "two holders share a token",
        RULE,
        '        return "" not in (holder, self.holder) and holder != self.holder\n',
        "        return False\n",
        OF_MEMORY,
        promises=("P33",),
    ),
    Mutant(
        "tokens are compared as doubles",
        RULE,
        "            return token < self.token\n",
        "            return float(token) < float(self.token)\n",
        OF_MEMORY,
        promises=("P35",),
    ),
    Mutant(
        "a token above the largest is taken from a text",
        RULE,
        "if not _TOKEN_TEXT.fullmatch(text) or int(text) > TOKEN_MAX:",
        "if not _TOKEN_TEXT.fullmatch(text):",
        OF_MEMORY,
        promises=("P35",),
    ),
    Mutant(
        "long names share a fence",
        RULE,
        "    return _DIGEST + hashlib.sha256(encoded).hexdigest()\n",
        "    return name[:KEY_BYTES_MAX]\n",
        OF_MEMORY,
        promises=("P5",),
    ),
    Mutant(
        "a lower token lowers the fence of a database",
        SQL,
        'f"token = case when {higher} then excluded.token else f.token end, "',
        'f"token = excluded.token, "',
        OF_SQLITE,
        promises=("P33", "P34"),
    ),
    Mutant(
        "a database counts no refusals",
        SQL,
        "compatible}) then 0 else 1 end",
        "compatible}) then 0 else 0 end",
        OF_SQLITE,
    ),
    Mutant(
        "the data of a file is not synced before it is put in place",
        FILES,
        "            os.fsync(self._fd)\n",
        "            pass\n",
        OF_FILES,
    ),
    Mutant(
        "the fence of a file is not synced before the data is put in place",
        FILE_STATE,
        "            os.fsync(file.fileno())\n",
        "            pass\n",
        OF_FILES,
        promises=("P33",),
    ),
    Mutant(
        "a fence that cannot be read is taken for none",
        FILE_STATE,
        "        raise StorageCorrupt(\n",
        "        return {}\n        raise StorageCorrupt(\n",
        OF_FILES,
        promises=("P33",),
    ),
    Mutant(
        "writers of a file share its lock",
        FILE_LOCK,
        "fcntl.LOCK_EX | fcntl.LOCK_NB",
        "fcntl.LOCK_SH | fcntl.LOCK_NB",
        OF_FILES,
        promises=("P33",),
    ),
    Mutant(
        "a deleted lock is not noticed",
        FILE_LOCK,
        "        if not self._is_in_place():\n",
        "        if False:\n",
        OF_FILES,
        promises=("P33",),
    ),
    Mutant(
        "a forked child keeps the lock that it inherits",
        FILE_LOCK,
        "        if self._fd >= 0:\n            self._close()\n",
        "",
        OF_FILES,
        promises=("P50",),
    ),
    Mutant(
        "an exclusive ASGI handler begins before the fence is raised",
        "fencing/asgi.py",
        "            self._fence.prime(admitted.token, admitted.holder)  # durable",
        "            pass  # durable",
        OF_HTTP,
        promises=("P33",),
    ),
    Mutant(
        "an exclusive WSGI handler runs outside the fence",
        "fencing/wsgi.py",
        "                    held.enter_context(self._fence.write(found.token, found.holder))\n",
        "                    pass\n",
        OF_HTTP,
        promises=("P33",),
    ),
    Mutant(
        "a fence without a lock is taken for an exclusive one",
        "fencing/http.py",
        "        if exclusive and not fence.exclusive:",
        "        if False:",
        OF_HTTP,
    ),
    Mutant(
        "of two tokens in one request the first one counts",
        "fencing/http.py",
        "    if len(lines) > 1:",
        "    if False:",
        OF_SERVERS,
        promises=("P35",),
    ),
    Mutant(
        "a transaction that failed passes for committed",
        POSTGRES,
        '            cursor.execute("select 1")\n',
        "            pass\n",
        OF_POSTGRES,
    ),
    Mutant(
        "a fence closes a connection that was given to it",
        POSTGRES,
        "        if self._connect is not None and self._connection is not None:\n            lost",
        "        if self._connection is not None:\n            lost",
        OF_POSTGRES,
    ),
    Mutant(
        "a commit without an answer passes for one that was not done",
        POSTGRES,
        'raise OutcomeUnknown(f"{self.name}: the commit was sent',
        'raise EngineUnavailable(f"{self.name}: the commit was sent',
        OF_POSTGRES,
    ),
    Mutant(
        "Redis compares tokens as Lua's numbers",
        "fencing/redisscript.py",
        "if token < highest or (token == highest and",
        "if tonumber(token) < tonumber(highest) or (token == highest and",
        OF_REDIS,
        promises=("P35",),
    ),
    Mutant(
        "a write to Redis that failed on its way passes for one that was not done",
        "fencing/redis.py",
        "                if done == 0:",
        "                if True:",
        OF_REDIS,
    ),
    Mutant(
        "a request to Redis without an answer passes for one that was not done",
        "fencing/redis.py",
        'raise OutcomeUnknown(f"{self.name}: sent, and no',
        'raise EngineUnavailable(f"{self.name}: sent, and no',
        OF_REDIS,
    ),
)
