package redisbroker

import "github.com/apium/apium/internal/redisconn"

// maxBatch bounds a batch: Lua's unpack must hold two values per message.
const maxBatch = 1000

// giveBackLua defines give_back(i): what lies in the inboxes goes back to the
// tails it came from. From KEYS[i] on, the keys are pairs of list and inbox.
// An inbox is filled at its head, so its tail is the oldest, as in the list.
const giveBackLua = `
local function give_back(i)
  local inboxes = {}
  for j = i + 1, #KEYS, 2 do inboxes[#inboxes + 1] = KEYS[j] end
  if #inboxes == 0 or redis.call('EXISTS', unpack(inboxes)) == 0 then return end
  for i = i, #KEYS, 2 do
    local held = redis.call('LRANGE', KEYS[i + 1], 0, -1)
    if #held > 0 then
      redis.call('RPUSH', KEYS[i], unpack(held))
      redis.call('DEL', KEYS[i + 1])
    end
  end
end
`

// claimScript takes up to limit messages in kombu's order and records them as
// unacked. Inboxes are emptied first, into the tails they came from: list and
// inbox together are the list as it would be had nobody waited on it, so the
// order holds, and what is not claimed is back in its place.
//
// It writes before it removes: an error of Redis (out of memory, a key of the
// wrong type) leaves at worst index members without a record, which sweeps drop.
//
//	KEYS  1 liveness key, 2 unacked, 3 unacked_index,
//	      then the lists, step by step, within a step in the order of the cycle,
//	      then pairs of list and inbox
//	ARGV  1 epoch, 2 limit, 3 score, 4 tag prefix ("" = do not record),
//	      5 number of the first tag, 6 number of lists, 7 number of queues,
//	      8 "1" = the queue that delivers goes to the end of the cycle,
//	      then per queue the end of its entries: ,"","<queue as JSON>"]
//	return nil if the liveness key does not hold the epoch, else
//	      {number (from 1) of the list of each message}, {messages}
var claimScript = redisconn.NewScript(-1, giveBackLua+`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return false end
local limit, lists, queues = tonumber(ARGV[2]), tonumber(ARGV[6]), tonumber(ARGV[7])
give_back(4 + lists)

local cycle, picks, places, raws, trims = {}, {}, {}, {}, {}
for q = 1, queues do cycle[q] = q end
for base = 3, 2 + lists, queues do
  if #picks == limit then break end
  local left, n = {}, 0
  for q = 1, queues do
    left[q] = redis.call('LLEN', KEYS[base + q])
    n = n + left[q]
  end
  n = math.min(n, limit - #picks)
  if n > 0 then
    local taken, from = {}, #picks
    for i = from + 1, from + n do
      local c = 1
      while left[cycle[c]] == 0 do c = c + 1 end
      local q = cycle[c]
      left[q], taken[q], picks[i], places[i] = left[q] - 1, (taken[q] or 0) + 1, q, base + q - 3
      if ARGV[8] == '1' and queues > 1 then
        table.remove(cycle, c)
        cycle[queues] = q
      end
    end
    local tails = {}
    for q, k in pairs(taken) do
      tails[q] = redis.call('LRANGE', KEYS[base + q], -k, -1)
      trims[#trims + 1] = {KEYS[base + q], -k - 1}
    end
    for i = from + 1, from + n do
      local q = picks[i]
      raws[i] = tails[q][taken[q]] -- the oldest is the last
      taken[q] = taken[q] - 1
    end
  end
end
if #raws == 0 then return {places, raws} end

if ARGV[4] ~= '' then
  local index, entries = {}, {}
  local byte, format, prefix, score, first = string.byte, string.format, ARGV[4], ARGV[3], tonumber(ARGV[5]) - 1
  for i, raw in ipairs(raws) do
    local tag = prefix .. format('%.0f', first + i)
    if byte(raw, 1) ~= 123 or byte(raw, -1) ~= 125 then
      raw = '"' .. string.gsub(raw, '[%c"\\\127-\255]', function(c)
        return format('\\u%04x', byte(c))
      end) .. '"'
    end
    index[2 * i - 1], index[2 * i] = score, tag
    entries[2 * i - 1], entries[2 * i] = tag, '[' .. raw .. ARGV[8 + picks[i]]
  end
  redis.call('ZADD', KEYS[3], unpack(index))
  redis.call('HMSET', KEYS[2], unpack(entries))
end
for _, trim in ipairs(trims) do
  redis.call('LTRIM', trim[1], 0, trim[2])
end
return {places, raws}
`)
