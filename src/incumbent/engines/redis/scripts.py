"""The operations, each one Lua script on keys of one slot: atomic, in the order in which the server runs them.

    {ns}meta        hash: uuid, format, incarnation, revision (of all changes)
    {ns}s:<id>      hash of a session: ttl, lasts (ms), incarnation, and per group it is in g:<group> = its join revision. The server lets it
                    expire; with it, all its memberships are over at one moment
    {ns}g:<group>   hash, kept for ever: last (the highest join revision), changes
    {ns}m:<group>   sorted set of "<revision, 19 digits>:<session>", all of score 0, so ordered as text
    {ns}v:<group>   hash: the members' values, by session
    {ns}c:<group>   hash: the cells' values;  {ns}n:<group>: their versions, kept for ever

Entries of sessions that expired are swept by whoever looks. Revisions are 51 bits today and tokens 63: Lua's numbers and sorted
sets' scores are doubles, so revisions are text here, compared as text of equal length, and added to by HINCRBY alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha1
from typing import Final

FORMAT: Final = "1"
_PRELUDE: Final = """
local P = string.sub(KEYS[1], 1, -5)
local call = redis.call
local uuid = call('HGET', KEYS[1], 'uuid')
if not uuid then
    call('HSET', KEYS[1], 'uuid', ARGV[1], 'format', '1', 'incarnation', '0', 'revision', '0')
end
local incarnation = call('HGET', KEYS[1], 'incarnation')
local function pad(text) return string.rep('0', 19 - #text) .. text end
local function changed(group)
    call('HINCRBY', KEYS[1], 'revision', 1)
    call('HINCRBY', P .. 'g:' .. group, 'changes', 1)
    call('PUBLISH', P .. 'wake', group)
end
local function changes(group) return call('HGET', P .. 'g:' .. group, 'changes') or '0' end
local function drop(group, entry)
    local session = string.sub(entry, 21)
    call('ZREM', P .. 'm:' .. group, entry)
    if call('HGET', P .. 's:' .. session, 'g:' .. group) == string.gsub(string.sub(entry, 1, 19), '^0+', '') then
        call('HDEL', P .. 's:' .. session, 'g:' .. group)
        call('HDEL', P .. 'v:' .. group, session)
    elseif call('EXISTS', P .. 's:' .. session) == 0 then
        call('HDEL', P .. 'v:' .. group, session)
    end
    changed(group)
end
local function lives(group, entry)
    local revision = call('HGET', P .. 's:' .. string.sub(entry, 21), 'g:' .. group)
    return revision and pad(revision) == string.sub(entry, 1, 19)
end
local function first(group)
    while true do
        local entry = call('ZRANGE', P .. 'm:' .. group, 0, 0)[1]
        if not entry or lives(group, entry) then return entry end
        drop(group, entry)
    end
end
local function find(group, revision)
    local text = pad(revision)
    local entry = call('ZRANGEBYLEX', P .. 'm:' .. group, '[' .. text .. ':', '[' .. text .. ';')[1]
    if entry and lives(group, entry) then return entry end
    if entry then drop(group, entry) end
end
local function current(entry)
    return call('HGET', P .. 's:' .. string.sub(entry, 21), 'incarnation') == incarnation
end
local function answer(...)
    local head = call('HMGET', KEYS[1], 'uuid', 'format', 'incarnation', 'revision')
    return {head, {...}}
end
"""


@dataclass(frozen=True, slots=True)
class Script:
    text: str
    digest: str


def _script(body: str) -> Script:
    text = _PRELUDE + body
    return Script(text, sha1(text.encode()).hexdigest())  # noqa: S324  - Redis names scripts so


HELLO: Final = _script("return answer('ok')")

# session, ttl, lasts
OPEN: Final = _script("""
local key = P .. 's:' .. ARGV[2]
if call('EXISTS', key) == 1 then
    if call('HGET', key, 'ttl') ~= ARGV[3] then return answer('ttl') end
    if call('HGET', key, 'incarnation') ~= incarnation then return answer('incarnation') end
else
    call('HSET', key, 'ttl', ARGV[3], 'lasts', ARGV[4], 'incarnation', incarnation)
    call('HINCRBY', KEYS[1], 'revision', 1)
end
call('PEXPIRE', key, call('HGET', key, 'lasts'))
return answer('ok')
""")

# session
RENEW: Final = _script("""
local key = P .. 's:' .. ARGV[2]
local lasts = call('HGET', key, 'lasts')
if not lasts then return answer('session') end
if call('HGET', key, 'incarnation') ~= incarnation then return answer('incarnation') end
call('PEXPIRE', key, lasts)
return answer('ok')
""")

# session
END: Final = _script("""
local key = P .. 's:' .. ARGV[2]
local fields = call('HGETALL', key)
for at = 1, #fields, 2 do
    local group = string.match(fields[at], '^g:(.*)$')
    if group then drop(group, pad(fields[at + 1]) .. ':' .. ARGV[2]) end
end
return answer(call('DEL', key))
""")

# session, group, value
JOIN: Final = _script("""
local key, group = P .. 's:' .. ARGV[2], ARGV[3]
if call('EXISTS', key) == 0 then return answer('session') end
if call('HGET', key, 'incarnation') ~= incarnation then return answer('incarnation') end
local revision = call('HGET', key, 'g:' .. group)
if not revision then
    local row = P .. 'g:' .. group
    local time = call('TIME')
    local now, last = time[1] .. string.rep('0', 6 - #time[2]) .. time[2], call('HGET', row, 'last') or '0'
    if pad(now) > pad(last) then call('HSET', row, 'last', now) else call('HINCRBY', row, 'last', 1) end
    revision = call('HGET', row, 'last')
    call('ZADD', P .. 'm:' .. group, 0, pad(revision) .. ':' .. ARGV[2])
    call('HSET', P .. 'v:' .. group, ARGV[2], ARGV[4])
    call('HSET', key, 'g:' .. group, revision)
    changed(group)
end
return answer('ok', revision)
""")

# group, revision
CLAIM: Final = _script("""
local group, mine = ARGV[2], find(ARGV[2], ARGV[3])
if not mine then return answer('member') end
if not current(mine) then return answer('incarnation') end
local front = first(group)
if front == mine then return answer('first') end
local before
while true do
    local at = call('ZRANK', P .. 'm:' .. group, mine) - 1
    before = call('ZRANGE', P .. 'm:' .. group, at, at)[1]
    if lives(group, before) then break end
    drop(group, before)
end
local left = call('PTTL', P .. 's:' .. string.sub(front, 21))
left = math.min(left, call('PTTL', P .. 's:' .. string.sub(before, 21)))
return answer('waiting', string.sub(before, 1, 19), changes(group), left)
""")

# group, revision, value
UPDATE: Final = _script("""
local mine = find(ARGV[2], ARGV[3])
if not mine then return answer('member') end
call('HSET', P .. 'v:' .. ARGV[2], string.sub(mine, 21), ARGV[4])
changed(ARGV[2])
return answer('ok')
""")

# group, revision
REMOVE: Final = _script("""
local mine = find(ARGV[2], ARGV[3])
if not mine then return answer(0) end
drop(ARGV[2], mine)
return answer(1)
""")

# group
ROSTER: Final = _script("""
local group, found = ARGV[2], {}
local front = first(group)
local may = 0
if front and current(front) then may = 1 end
for _, entry in ipairs(call('ZRANGE', P .. 'm:' .. group, 0, -1)) do
    if lives(group, entry) then
        table.insert(found, string.sub(entry, 1, 19))
        table.insert(found, call('HGET', P .. 'v:' .. group, string.sub(entry, 21)) or '')
    else
        drop(group, entry)
    end
end
return answer(changes(group), may, found)
""")

# group: for a watch. What has changed, and when the first ends if it is not renewed
PEEK: Final = _script("""
local front = first(ARGV[2])
local left = -1
if front then left = call('PTTL', P .. 's:' .. string.sub(front, 21)) end
return answer(changes(ARGV[2]), left)
""")

# group, name
READ: Final = _script("""
return answer(call('HGET', P .. 'n:' .. ARGV[2], ARGV[3]) or '0', call('HGET', P .. 'c:' .. ARGV[2], ARGV[3]))
""")

# group, the claimed revision or '', then per cell: name, expected version or '', '1' and the value or '0' and ''
WRITE: Final = _script("""
local group = ARGV[2]
local values, versions = P .. 'c:' .. group, P .. 'n:' .. group
if ARGV[3] ~= '' then
    local front = first(group)
    if not front or front ~= find(group, ARGV[3]) then return answer('first') end
    if not current(front) then return answer('incarnation') end
end
for at = 4, #ARGV, 4 do
    local version = call('HGET', versions, ARGV[at]) or '0'
    if ARGV[at + 1] ~= '' and ARGV[at + 1] ~= version then return answer('conflict', ARGV[at], version) end
end
changed(group)
local version = changes(group)
for at = 4, #ARGV, 4 do
    call('HSET', versions, ARGV[at], version)
    if ARGV[at + 2] == '1' then call('HSET', values, ARGV[at], ARGV[at + 3]) else call('HDEL', values, ARGV[at]) end
end
return answer('ok', version)
""")

BUMP: Final = _script("""
if tonumber(incarnation) >= 127 then return answer('highest') end
call('HINCRBY', KEYS[1], 'incarnation', 1)
call('HINCRBY', KEYS[1], 'revision', 1)
return answer('ok')
""")
