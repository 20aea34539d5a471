#!lua
-- Appends a batch to a run, all or nothing: everything is checked before the first write.
-- Redis refuses a script without the flag `allow-oom` before it starts when memory is full, so that no
-- write can fail half way.
--
-- KEYS[1]  root of the run's keys, `<prefix>:{<run>}`; the script makes the others, all in one hash slot:
--   :meta           hash    head, digest (of the last batch with events), format, time, skew, expires_ms
--   :lease          string  the leader's token, PX
--   :log            stream  one entry per batch, id `<position of its last event>-0`, field `e`: a frame
--   :row:<kind>     hash    row key -> value
--   :art            hash    artifact id -> its digest, a line feed, its value
--   :ix:<term>      zset    artifact id by artifact number
--   :terms          set     every term that has an index
--   :time           zset    artifact number, 12 digits, by the latest creation time up to that number
--   :body:<digest>  string  a whole body; persistent once an artifact or a step names it
--   :bodies         hash    digest of a body that artifacts and steps name -> how many of them do
-- `skew` is the largest step back that creation times ever made, in ms. `expires_ms` is there once the run
-- has been finished: keys made after that expire with the rest.
--
-- ARGV  1 token, "" to create the run   2 head before the batch   3 number of events   4 digest of the batch
--       5 ms of the lease   6 format   7 frame of the events
--       8 position before which groups of events leave the log, or 0
--       9 number of row kinds, then for each: kind, 2 x number of rows, then key and value of each row
--       then the number of row kinds of which rows go, then for each: kind, number of rows, the key of each
--       then the number of artifacts, then for each:
--         id, number (12 digits), digest, created_ms, body or "", stored value, number of terms, terms
--       then the number of further bodies that stay, then the digest of each
--       then ms, the number of bodies that are named once less, then the digest of each: for so many ms a body
--       stays that nothing names any more
--
-- Returns the new head, or a refusal: {"stale"}, {"head", actual}, {"conflict", artifact id}, {"body", digest}.

local UNPACK = 4000 -- Lua's stack ends near 8,000 values

local root = KEYS[1]
local token, expected, events, digest = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local meta = redis.call('HMGET', root .. ':meta', 'head', 'digest', 'time', 'skew', 'expires_ms')
local head = tonumber(meta[1] or 0)
local expires_ms = meta[5]
local holds = token ~= '' and redis.call('GET', root .. ':lease') == token

local function renew()
  if holds then
    redis.call('PEXPIRE', root .. ':lease', ARGV[5])
  end
end

-- Checks

if events > 0 and head == expected + events and meta[2] == digest then
  renew()
  return head
end
local creates = token == '' and expected == 0 and events > 0
if not holds and not creates then
  return { 'stale' }
end
if head ~= expected then
  return { 'head', head }
end

local rows_at = 10
local at = rows_at
local function skip_kinds()
  for _ = 1, tonumber(ARGV[at - 1]) do
    at = at + 2 + tonumber(ARGV[at + 1])
  end
end
skip_kinds()
at = at + 1
skip_kinds()

local artifacts, given = {}, {}
local artifacts_at = at + 1
at = artifacts_at
for _ = 1, tonumber(ARGV[artifacts_at - 1]) do
  local id, artifact_digest, body = ARGV[at], ARGV[at + 2], ARGV[at + 4]
  local known = given[id]
  if not known then
    local stored = redis.call('HGET', root .. ':art', id)
    known = stored and string.sub(stored, 1, string.find(stored, '\n', 1, true) - 1)
  end
  if known and known ~= artifact_digest then
    return { 'conflict', id }
  end
  if body ~= '' and redis.call('EXISTS', root .. ':body:' .. body) == 0 then
    return { 'body', body }
  end
  if not known then
    given[id] = artifact_digest
    artifacts[#artifacts + 1] = at
  end
  at = at + 7 + tonumber(ARGV[at + 6])
end
local bodies_at = at + 1
for number = bodies_at, at + tonumber(ARGV[at]) do
  if redis.call('EXISTS', root .. ':body:' .. ARGV[number]) == 0 then
    return { 'body', ARGV[number] }
  end
end

-- Writes

local made = {}
local function key(name)
  local full = root .. name
  if expires_ms then
    made[full] = true
  end
  return full
end

local function call_in_parts(command, name, first, last)
  for from = first, last, UNPACK do
    redis.call(command, name, unpack(ARGV, from, math.min(from + UNPACK - 1, last)))
  end
end

renew()
if events > 0 then
  head = expected + events
  redis.call('XADD', key(':log'), head .. '-0', 'e', ARGV[7])
  redis.call('HSET', key(':meta'), 'head', head, 'digest', digest, 'format', ARGV[6])
end
if ARGV[8] ~= '0' then
  redis.call('XTRIM', root .. ':log', 'MINID', ARGV[8] .. '-0')
end

at = rows_at
for _, command in ipairs({ 'HSET', 'HDEL' }) do
  for _ = 1, tonumber(ARGV[at - 1]) do
    local last = at + 1 + tonumber(ARGV[at + 1])
    call_in_parts(command, key(':row:' .. ARGV[at]), at + 2, last)
    at = last + 1
  end
  at = at + 1
end

local time, skew = tonumber(meta[3] or 0), tonumber(meta[4] or 0)
for _, from in ipairs(artifacts) do
  local id, number, created_ms, body = ARGV[from], ARGV[from + 1], tonumber(ARGV[from + 3]), ARGV[from + 4]
  redis.call('HSET', key(':art'), id, ARGV[from + 5])
  skew = math.max(skew, time - created_ms)
  time = math.max(time, created_ms)
  redis.call('ZADD', key(':time'), time, number)
  if body ~= '' then
    redis.call('PERSIST', key(':body:' .. body))
    redis.call('HINCRBY', key(':bodies'), body, 1)
  end
  local terms = tonumber(ARGV[from + 6])
  if terms > 0 then
    call_in_parts('SADD', key(':terms'), from + 7, from + 6 + terms)
  end
  for term = from + 7, from + 6 + terms do
    redis.call('ZADD', key(':ix:' .. ARGV[term]), number, id)
  end
end
if #artifacts > 0 then
  redis.call('HSET', key(':meta'), 'time', string.format('%.0f', time), 'skew', string.format('%.0f', skew))
end

at = bodies_at + tonumber(ARGV[bodies_at - 1])
for number = bodies_at, at - 1 do
  redis.call('PERSIST', key(':body:' .. ARGV[number]))
  redis.call('HINCRBY', key(':bodies'), ARGV[number], 1)
end
for number = at + 2, at + 1 + tonumber(ARGV[at + 1]) do
  if redis.call('HINCRBY', key(':bodies'), ARGV[number], -1) < 1 then
    redis.call('HDEL', root .. ':bodies', ARGV[number])
    redis.call('PEXPIRE', root .. ':body:' .. ARGV[number], ARGV[at])
  end
end

for name in pairs(made) do
  redis.call('PEXPIREAT', name, expires_ms)
end
return head
