package redisbackend

import (
	"github.com/apium/apium/internal/redischord"
	"github.com/apium/apium/internal/redisconn"
)

// The states of a chord as countScript answers them.
const (
	countOpen int64 = iota
	countComplete
	countClaimed
	countDone
	countRefused
)

// countScript counts parts of chords. The keys are those of Celery 5.7 and mean
// the same: the set .d says which tasks were counted, as "<task id>:<score>"; .c
// holds the token of the one who publishes the body with Celery's code, with a TTL, then "done".
// The token of who does here is in .a, which Celery does not know: see redischord.
//
// KEYS for each group: .j .t .s .d, the group's record, .c .a. ARGV seconds that a
// chord is kept (0: for ever), the same of the group's record, milliseconds that a
// claim lasts, its token, 1 for sorted sets or 0 for lists; then for each part the
// number of its group from 0, task id, score, member, how many bytes of the member
// say which task it is, and chord_size or 0. Returns for each part its state, count
// and total, and 1 if it completes a chord for which it was counted before, or the milliseconds
// the claim of another lasts, or why it was refused.
//
// A token that has a chord already is that of a caller who has not heard the answer. Of the
// parts it counts at a time, one is told so.
//
// Workers before 5.7 keep no .d: where it does not have what .j has, .j is read. A
// .d without .j is left over from a chord that such a worker has finished.
var countScript = redisconn.NewScript(-1, `
local call, sub, match = redis.call, string.sub, string.match
local expires, group_expires = tonumber(ARGV[1]), tonumber(ARGV[2])
local lease, token = ARGV[3], ARGV[4]
local groups = {}

local function open(n)
  local k = 7 * n
  local g = {j = KEYS[k + 1], t = KEYS[k + 2], s = KEYS[k + 3],
             d = KEYS[k + 4], record = KEYS[k + 5], c = KEYS[k + 6], a = KEYS[k + 7]}
  g.celery = call('GET', g.c)
  if g.celery == 'done' then
    g.done = true
    return g
  end
  local kind = call('TYPE', g.j).ok
  g.zset = kind == 'zset' or kind == 'none' and ARGV[5] == '1'
  g.count = call(g.zset and 'ZCARD' or 'LLEN', g.j)
  g.others = call('SCARD', g.d) ~= g.count
  if g.others and g.count == 0 then
    call('DEL', g.d)
    g.others = false
  end
  g.size = tonumber(call('GET', g.s) or nil)
  g.more = tonumber(call('GET', g.t) or 0) or 0
  return g
end

local function counted(g, key, score, head)
  if call('SISMEMBER', g.d, key) == 1 then
    return true
  end
  call('SADD', g.d, key)
  if not g.others then
    return false
  end
  local members
  if g.zset then
    members = call('ZRANGEBYSCORE', g.j, score, score)
  else
    members = call('LRANGE', g.j, 0, -1)
  end
  for _, m in ipairs(members) do
    if sub(m, 1, #head) == head then
      return true
    end
  end
  return false
end

local function distinct(g)
  local members, step, n, seen = nil, 1, 0, {}
  if g.zset then
    members, step = call('ZRANGE', g.j, 0, -1, 'WITHSCORES'), 2
  else
    members = call('LRANGE', g.j, 0, -1)
  end
  for i = 1, #members, step do
    local key = match(members[i], '^%[1, ".-", ') or members[i]
    if g.zset then
      key = members[i + 1] .. key
    end
    if not seen[key] then
      seen[key], n = true, n + 1
    end
  end
  return n
end

local function count(g, id, score, member, head, chord_size)
  if g.done then
    return {3, 0, 0}
  end
  local again = counted(g, id .. ':' .. score, score, head)
  if not again then
    if g.zset then
      call('ZADD', g.j, score, member)
    else
      call('RPUSH', g.j, member)
    end
    g.count = g.count + 1
  end
  local size = g.size or chord_size > 0 and chord_size
  if not size then
    return {0, g.count, 0}
  end
  local total, n = size + g.more, g.count
  if n >= total and g.others then
    n = distinct(g)
  end
  if n < total then
    return {0, n, total}
  end
  if not g.ours and not g.celery and (call('SET', g.a, token, 'NX', 'PX', lease) or call('GET', g.a) == token) then
    g.ours = true
    return {1, n, total, again and 1 or 0}
  end
  return {2, n, total}
end

local out, claimed = {}, {}
for i = 6, #ARGV, 6 do
  local ok, answer = pcall(function()
    local n = tonumber(ARGV[i])
    local g = groups[n] or open(n)
    groups[n] = g
    local member = ARGV[i + 3]
    local a = count(g, ARGV[i + 1], ARGV[i + 2], member, sub(member, 1, tonumber(ARGV[i + 4])), tonumber(ARGV[i + 5]))
    if a[1] == 2 then
      claimed[#claimed + 1] = {a, g.celery and g.c or g.a}
    end
    return a
  end)
  if not ok then
    local why = type(answer) == 'table' and answer.err or answer
    if not string.find(why, 'WRONGTYPE', 1, true) then
      error(answer, 0)
    end
    answer = {4, why}
  end
  out[#out + 1] = answer
end
for _, g in pairs(groups) do
  if expires > 0 and not g.done then
    for _, key in ipairs({g.j, g.t, g.s, g.d}) do
      call('EXPIRE', key, expires)
    end
    if group_expires > 0 then
      call('EXPIRE', g.record, group_expires)
    end
  end
end
for _, c in ipairs(claimed) do
  c[1][4] = call('PTTL', c[2])
end
return out
`)

// sizeScript begins a run of a chord. KEYS mark, .c .a .s; ARGV number of the mark, size, seconds
// that it is kept (0: for ever).
var sizeScript = redisconn.NewScript(-1, redisconn.OnceLua+`
if done_before() then return 0 end
redis.call('DEL', KEYS[2], KEYS[3])
if ARGV[3] == '0' then
  redis.call('SET', KEYS[4], ARGV[2])
else
  redis.call('SET', KEYS[4], ARGV[2], 'EX', ARGV[3])
end
return 1
`)

// growScript adds parts to a chord. KEYS mark, .t; ARGV number of the mark, how many.
var growScript = redisconn.NewScript(-1, redisconn.OnceLua+`
redis.call('GET', KEYS[2]) -- which fails if INCRBY would
if done_before() then return 0 end
return redis.call('INCRBY', KEYS[2], ARGV[2])
`)

// resultsScript returns the members of a chord from one on, as many as have 16 MiB
// together, so that it does not hold up Redis for long, and where the next begin, or -1.
// Those that a worker before Celery 5.7 has counted a second time, with another result,
// are left out: then it returns all at once.
//
// KEYS .j .d; ARGV where to begin.
var resultsScript = redisconn.NewScript(2, `
local call = redis.call
local j, d, at = KEYS[1], KEYS[2], tonumber(ARGV[1])
local zset = call('TYPE', j).ok == 'zset'
local read = zset and 'ZRANGE' or 'LRANGE'
local total, out = call(zset and 'ZCARD' or 'LLEN', j), {}
if call('SCARD', d) == total or at > 0 then
  local budget, largest, portion = 16777216, 1, 1
  while at < total and budget > 0 do
    for _, m in ipairs(call(read, j, at, at + portion - 1)) do
      out[#out + 1] = m
      budget, largest = budget - #m, math.max(largest, #m)
    end
    at = at + portion
    portion = math.max(1, math.min(64, math.floor(budget / largest)))
  end
  return {at < total and at or -1, out}
end
local seen = {}
for _, m in ipairs(call(read, j, 0, -1)) do
  local key = string.match(m, '^%[1, ".-", ') or m
  if zset then
    key = call('ZSCORE', j, m) .. key
  end
  if not seen[key] then
    seen[key] = true
    out[#out + 1] = m
  end
end
return {-1, out}
`)

// renewScript lets a claim last, or takes it again when it has run out and the
// chord has not been finished: then it has its size or, where that was in the message, its
// parts. KEYS .c .a .s .j; ARGV token, milliseconds.
var renewScript = redisconn.NewScript(4, redischord.Lua+`
local call = redis.call
local elsewhere, held = claimed_elsewhere(1, ARGV[1])
if elsewhere then return 0 end
if held then
  return call('PEXPIRE', KEYS[2], ARGV[2])
end
if call('EXISTS', KEYS[3], KEYS[4]) > 0 then
  call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
  return 1
end
return 0
`)

// finishScript forgets a chord whose claim is held, or has run out without anybody
// taking the chord. A chord that has failed keeps its results until they expire, as
// in Celery, but has no size any more.
//
// KEYS .c .a .s, then the other keys of a chord that has not failed; ARGV token,
// seconds that late parts are turned away by "done", and by .s not being there after
// that; the same where the size was in the message, so that only "done" can.
var finishScript = redisconn.NewScript(-1, redischord.Lua+`
if claimed_elsewhere(1, ARGV[1]) then return 0 end
forget_chord(1, #KEYS, ARGV[2], ARGV[3])
return 1
`)

// takeScript forgets a chord whose claim is held. Only its run that does so is noted: one that comes late finds no claim of its token, as who has heard
// that this is lost claims the chord with another one.
//
// KEYS 1 mark, .c .a .s, the other keys of a chord; ARGV number of the mark, token, and the seconds of finishScript.
var takeScript = redisconn.NewScript(-1, redisconn.OnceLua+redischord.Lua+`
if done_already() then return 1 end
if redis.call('GET', KEYS[2]) or redis.call('GET', KEYS[3]) ~= ARGV[2] then return 0 end
done_before()
forget_chord(2, #KEYS, ARGV[3], ARGV[4])
return 1
`)
