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
local meta = call('HMGET', KEYS[1], 'uuid', 'format', 'incarnation', 'revision')
if not meta[1] then
    meta = {ARGV[1], '1', '0', '0'}
    call('HSET', KEYS[1], 'uuid', meta[1], 'format', meta[2], 'incarnation', meta[3], 'revision', meta[4])
end
local incarnation = meta[3]
local function answer(...) return {table.concat(meta, ' '), ...} end
local function pad(text) return string.rep('0', 19 - #text) .. text end
local function count(key, field) return string.format('%.0f', call('HINCRBY', key, field, 1)) end
local function moved() meta[4] = count(KEYS[1], 'revision') end
local function changed(group)
    moved()
    call('PUBLISH', P .. 'wake', group)
    return count(P .. 'g:' .. group, 'changes')
end
local function changes(group) return call('HGET', P .. 'g:' .. group, 'changes') or '0' end
local function lives(group, entry)
    local revision = call('HGET', P .. 's:' .. string.sub(entry, 21), 'g:' .. group)
    return revision and pad(revision) == string.sub(entry, 1, 19)
end
local function drop(group, entry)
    local session = string.sub(entry, 21)
    call('ZREM', P .. 'm:' .. group, entry)
    if lives(group, entry) then
        call('HDEL', P .. 's:' .. session, 'g:' .. group)
        call('HDEL', P .. 'v:' .. group, session)
    elseif call('EXISTS', P .. 's:' .. session) == 0 then
        call('HDEL', P .. 'v:' .. group, session)
    end
    changed(group)
end
local function living(group, place)
    while true do
        local entry = call('ZRANGE', P .. 'm:' .. group, place, place)[1]
        if not entry or lives(group, entry) then return entry end
        drop(group, entry)
    end
end
local function first(group) return living(group, 0) end
local function find(group, revision)
    local text = pad(revision)
    local entry = call('ZRANGEBYLEX', P .. 'm:' .. group, '[' .. text .. ':', '[' .. text .. ';')[1]
    if entry and lives(group, entry) then return entry end
    if entry then drop(group, entry) end
end
local function current(entry)
    return call('HGET', P .. 's:' .. string.sub(entry, 21), 'incarnation') == incarnation
end
local function left(entry) return call('PTTL', P .. 's:' .. string.sub(entry, 21)) end
local function beside(group, name)
    if name then return call('HGET', P .. 'n:' .. group, name) or '0', call('HGET', P .. 'c:' .. group, name) end
end
"""
_JOIN: Final = """
local function found(session, group)
    local fields = call('HMGET', P .. 's:' .. session, 'incarnation', 'g:' .. group)
    if not fields[1] then return 'session' end
    if fields[1] ~= incarnation then return 'incarnation' end
    return 'ok', fields[2]
end
local function join(session, group, value)
    local row, time = P .. 'g:' .. group, call('TIME')
    local revision, last = time[1] .. string.rep('0', 6 - #time[2]) .. time[2], call('HGET', row, 'last') or '0'
    if pad(revision) > pad(last) then
        call('HSET', row, 'last', revision)
    else
        call('HINCRBY', row, 'last', 1)
        revision = call('HGET', row, 'last')
    end
    call('ZADD', P .. 'm:' .. group, 0, pad(revision) .. ':' .. session)
    call('HSET', P .. 'v:' .. group, session, value)
    call('HSET', P .. 's:' .. session, 'g:' .. group, revision)
    return revision, changed(group)
end
"""
_CLAIM: Final = """
local function claim(group, mine, cell)
    local front = first(group)
    if front == mine then return 'first', beside(group, cell) end
    local before
    while true do
        local at = call('ZRANK', P .. 'm:' .. group, mine) - 1
        before = call('ZRANGE', P .. 'm:' .. group, at, at)[1]
        if lives(group, before) then break end
        drop(group, before)
    end
    return 'waiting', string.sub(before, 1, 19), changes(group), math.min(left(front), left(before))
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
    moved()
end
call('PEXPIRE', key, call('HGET', key, 'lasts'))
return answer('ok')
""")

# session
RENEW: Final = _script("""
local key = P .. 's:' .. ARGV[2]
local fields = call('HMGET', key, 'lasts', 'incarnation')
if not fields[1] then return answer('session') end
if fields[2] ~= incarnation then return answer('incarnation') end
call('PEXPIRE', key, fields[1])
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
JOIN: Final = _script(
    _JOIN
    + """
local said, revision = found(ARGV[2], ARGV[3])
if said ~= 'ok' then return answer(said) end
return answer('ok', revision or join(ARGV[2], ARGV[3], ARGV[4]))
"""
)

# group, revision, and the name of a cell or nothing
CLAIM: Final = _script(
    _CLAIM
    + """
local mine = find(ARGV[2], ARGV[3])
if not mine then return answer('member') end
if not current(mine) then return answer('incarnation') end
return answer(claim(ARGV[2], mine, ARGV[4]))
"""
)

# session, group, value, and the name of a cell or nothing. All is read before anything is written: what this user may not do is
# refused before there is a member. Who comes new waits for the last one who lives, since revisions rise
STAND: Final = _script(
    _JOIN
    + _CLAIM
    + """
local group = ARGV[3]
local said, revision = found(ARGV[2], group)
if said ~= 'ok' then return answer(said) end
if revision then return answer('ok', revision, claim(group, pad(revision) .. ':' .. ARGV[2], ARGV[5])) end
local before, changes = living(group, -1)
if before then
    local retry = math.min(left(first(group)), left(before))
    revision, changes = join(ARGV[2], group, ARGV[4])
    return answer('ok', revision, 'waiting', string.sub(before, 1, 19), changes, retry)
end
local version, value = beside(group, ARGV[5])
return answer('ok', join(ARGV[2], group, ARGV[4]), 'first', version, value)
"""
)

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
return answer(changes(ARGV[2]), front and left(front) or -1)
""")

# group, name
READ: Final = _script("""
return answer(beside(ARGV[2], ARGV[3]))
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
local version = changed(group)
for at = 4, #ARGV, 4 do
    call('HSET', versions, ARGV[at], version)
    if ARGV[at + 2] == '1' then call('HSET', values, ARGV[at], ARGV[at + 3]) else call('HDEL', values, ARGV[at]) end
end
return answer('ok', version)
""")

BUMP: Final = _script("""
if tonumber(incarnation) >= 127 then return answer('highest') end
meta[3] = count(KEYS[1], 'incarnation')
moved()
return answer('ok')
""")
