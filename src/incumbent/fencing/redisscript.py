"""The script that checks a token and writes, and what may be written with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from incumbent.errors import InvalidInput
from incumbent.fencing.rule import TOKEN_DIGITS

Value = str | bytes | int | float

CALLS_MAX: Final = 1000
"""Commands in one block."""
ARGUMENTS_MAX: Final = 1000
"""Words of one command; Lua's stack takes 8000."""
BODY_BYTES_MAX: Final = 64 * 1024

COMMANDS: Final = frozenset(
    {
        *("SET", "SETEX", "PSETEX", "SETNX", "APPEND", "SETRANGE", "SETBIT", "GETSET", "GETDEL"),
        *("INCR", "INCRBY", "INCRBYFLOAT", "DECR", "DECRBY"),
        *("DEL", "UNLINK", "EXPIRE", "PEXPIRE", "EXPIREAT", "PEXPIREAT", "PERSIST"),
        *("HSET", "HSETNX", "HDEL", "HINCRBY", "HINCRBYFLOAT"),
        *("LPUSH", "RPUSH", "LPUSHX", "RPUSHX", "LPOP", "RPOP", "LREM", "LSET", "LTRIM", "LINSERT"),
        *("SADD", "SREM", "SPOP"),
        *("ZADD", "ZREM", "ZINCRBY", "ZREMRANGEBYRANK", "ZREMRANGEBYSCORE", "ZREMRANGEBYLEX"),
        *("XADD", "XDEL", "XTRIM", "PFADD", "GEOADD"),
    }
)
"""Writes whose first word is their key. Of those that take several keys (DEL, UNLINK) only the first one is allowed."""
ONE_KEY: Final = frozenset({"DEL", "UNLINK"})

# The rule of `incumbent.fencing.rule` in Lua. Both tokens are texts of one length, so their order is that of the numbers.
_CHECK: Final = f"""\
local token, holder = ARGV[1], ARGV[2]
local highest = redis.call('HGET', KEYS[1], 'token') or '{"0" * TOKEN_DIGITS}'
local owner = redis.call('HGET', KEYS[1], 'holder') or ''
if token < highest or (token == highest and holder ~= '' and owner ~= '' and holder ~= owner) then
  redis.call('HINCRBY', KEYS[1], 'refused', 1)
  return {{0, highest, owner}}
end
if token > highest then
  redis.call('HSET', KEYS[1], 'token', token, 'holder', holder)
elseif owner == '' and holder ~= '' then
  redis.call('HSET', KEYS[1], 'holder', holder)
end
"""
# Each command comes as the number of its words, and they.
_CALLS: Final = """\
local results, at = {}, 3
while at <= #ARGV do
  local count = tonumber(ARGV[at])
  local result = redis.pcall(unpack(ARGV, at + 1, at + count))
  if type(result) == 'table' and result.err then return {2, #results, result.err} end
  results[#results + 1] = result
  at = at + count + 1
end
return {1, results}
"""
_BODY: Final = """\
local function body(KEYS, ARGV)
%s
end
local keys, args = {unpack(KEYS, 2)}, {unpack(ARGV, 3)}
local ok, result = pcall(body, keys, args)
if not ok then return {2, 1, type(result) == 'table' and result.err or tostring(result)} end
return {1, result}
"""


def script_for(body: str | None) -> str:
    """The script's text: for a batch, or around a body of the caller's. Raises InvalidInput."""
    if body is None:
        return _CHECK + _CALLS
    if len(body.encode()) > BODY_BYTES_MAX:
        raise InvalidInput("body", "is too long", f"use at most {BODY_BYTES_MAX} bytes")
    return _CHECK + _BODY % body


class Batch:
    """The writes of one block, in order. `results` has their replies once the block has ended."""

    def __init__(self, tag: str | None) -> None:
        self._tag = tag
        self._calls = 0
        self.keys: list[Value] = []
        self.words: list[Value] = []
        self.results: Any = None

    def call(self, command: str, key: Value, *arguments: Value) -> None:
        """Add one of COMMANDS. Raises InvalidInput for others, for a key without the tag, and for too many."""
        name = command.upper()
        if name not in COMMANDS or (name in ONE_KEY and arguments):
            fix = "use one of incumbent.fencing.redisscript.COMMANDS on one key, or fence.run with a script"
            raise InvalidInput("command", f"{command!r} is not for a batch", fix)
        if self._calls >= CALLS_MAX or len(arguments) > ARGUMENTS_MAX:
            fix = f"at most {CALLS_MAX} commands of {ARGUMENTS_MAX} words each"
            raise InvalidInput("command", "is one too many, or too long", fix)
        check_keys(self._tag, (key,))
        self._calls += 1
        self.keys.append(key)
        self.words += (2 + len(arguments), name, key, *arguments)


def check_keys(tag: str | None, keys: Sequence[Value]) -> None:
    """Raises InvalidInput for a key that a cluster may keep on another node than the fence."""
    if tag is None:
        return
    for key in keys:
        text = key.decode(errors="replace") if isinstance(key, bytes) else str(key)
        found, closed, _ = text.partition("{")[2].partition("}")
        if not closed or found != tag:
            raise InvalidInput(
                "key", f"{text[:40]!r} has not the tag of the fence", f"let {{{tag}}} stand in it"
            )
