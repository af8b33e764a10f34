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
// Nobody else is served meanwhile, so there is a limit of bytes, too: 16 MiB, and at
// least one message. A list does not tell how long its messages are, so they are read in
// portions: first one, then as many as go by the largest so far, but not more than 16.
// Escaping what is no object takes 128 times as long as copying an object. If that is
// more than 64 KiB, nothing is claimed, and unreadScript has to move it out of the way.
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
//	      {number (from 1) of the list of each message}, {messages},
//	      and if there is one to be moved: the number of its list
var claimScript = redisconn.NewScript(-1, giveBackLua+`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return false end
local limit, lists, queues, prefix = tonumber(ARGV[2]), tonumber(ARGV[6]), tonumber(ARGV[7]), ARGV[4]
give_back(4 + lists)

local byte, format = string.byte, string.format
local budget, largest, portion, full = 16777216, 1, 1, false
local tags, entries, first = {}, {}, tonumber(ARGV[5]) - 1
local cycle, places, raws, trims = {}, {}, {}, {}
for q = 1, queues do cycle[q] = q end
for base = 3, 2 + lists, queues do
  if full or #places == limit then break end
  local left, n = {}, 0
  for q = 1, queues do
    left[q] = redis.call('LLEN', KEYS[base + q])
    n = n + left[q]
  end
  n = math.min(n, limit - #places)
  if n > 0 then
    local order, wanted = {}, {}
    for i = 1, n do
      local c = 1
      while left[cycle[c]] == 0 do c = c + 1 end
      local q = cycle[c]
      left[q], wanted[q], order[i] = left[q] - 1, (wanted[q] or 0) + 1, q
      if ARGV[8] == '1' and queues > 1 then
        table.remove(cycle, c)
        cycle[queues] = q
      end
    end
    local tails, at, read, taken = {}, {}, {}, {}
    for _, q in ipairs(order) do
      if not taken[q] then at[q], read[q], taken[q] = 0, 0, 0 end
      if at[q] == 0 then
        local k = math.max(1, math.min(portion, wanted[q] - read[q], math.floor(budget / largest)))
        tails[q] = redis.call('LRANGE', KEYS[base + q], -read[q] - k, -read[q] - 1)
        at[q], read[q], portion = k, read[q] + k, 16
      end
      local raw = tails[q][at[q]] -- the oldest is the last
      local size, i, object = #raw, #places + 1, byte(raw, 1) == 123 and byte(raw, -1) == 125
      local unread = not object and size > 65536
      if size > largest then largest = size end
      budget = budget - (object and size or 128 * size)
      if i > 1 and (budget < 0 or unread) then
        full = true
        break
      end
      if unread then return {{}, {}, base + q - 3} end
      at[q], taken[q], places[i], raws[i] = at[q] - 1, taken[q] + 1, base + q - 3, raw
      if prefix ~= '' then
        if not object then
          local escapes = setmetatable({}, {__index = function(known, c)
            known[c] = format('\\u%04x', byte(c))
            return known[c]
          end})
          raw = '"' .. string.gsub(raw, '[%c"\\\127-\255]', escapes) .. '"'
        end
        local tag = prefix .. format('%.0f', first + i)
        tags[i] = tag
        entries[2 * i - 1], entries[2 * i] = tag, '[' .. raw .. ARGV[8 + q]
      end
    end
    for q, k in pairs(taken) do
      if k > 0 then trims[#trims + 1] = {KEYS[base + q], -k - 1} end
    end
  end
end
if #tags > 0 then
  local index = {}
  for i = #tags, 1, -1 do
    index[#index + 1] = ARGV[3]
    index[#index + 1] = tags[i]
  end
  redis.call('ZADD', KEYS[3], unpack(index))
  redis.call('HMSET', KEYS[2], unpack(entries))
end
for _, trim in ipairs(trims) do
  redis.call('LTRIM', trim[1], 0, trim[2])
end
return {places, raws}
`)
