package redisbackend

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/gomodule/redigo/redis"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/internal/redisconn"
	"github.com/apium/apium/protocol"
)

const (
	// One script stores at most this much, so that it does not hold up Redis for long.
	maxGroup      = 1024
	maxGroupBytes = 16 << 20
)

// storeLua stores records and wakes their clients, except where a SUCCESS is. The first shift
// of KEYS and ARGV are not its own.
//
// KEYS the keys, which are also the channels; ARGV[1] seconds or 0 for ever, then
// the records; last, when there is one key only, a record that is known not to be
// a SUCCESS. Returns for each: 1 stored; 0 there is a SUCCESS, of which clients are told again if it is large; a string: there is
// this record, large, compressed or in another serializer, which only the caller can read;
// an error: the key is no string.
//
// Most tasks have no record yet, so SET NX comes first. The same record once more
// is a caller that has not heard our answer: clients are woken again.
const storeLua = `
local call, sub, large = redis.call, string.sub, 65536
local expires = tonumber(ARGV[shift + 1])
local known = ARGV[#KEYS + 2]
local function set(key, record, ...)
  if expires > 0 then
    return call('SET', key, record, 'EX', expires, ...)
  end
  return call('SET', key, record, ...)
end
local function success(old)
  if sub(old, 1, 12) == '{"status": "' then
    return sub(old, 13, 20) == 'SUCCESS"'
  end
  if #old > large then return nil end -- it would take long
  local ok, meta = pcall(cjson.decode, old)
  if ok then
    return type(meta) == 'table' and meta.status == 'SUCCESS'
  end
  return nil
end
local function present(old, record)
  if type(old) == 'table' then return old end
  if old == record then return nil end
  local done = success(old)
  if done then return 0 end
  if done == nil and old ~= known then return old end
end
local out = {}
for i = 1, #KEYS - shift do
  local key, record = KEYS[shift + i], ARGV[shift + i + 1]
  local refused
  if not set(key, record, 'NX') then
    local old = redis.pcall('GET', key)
    refused = present(old, record)
    if not refused then
      set(key, record)
    elseif refused == 0 and #old >= large then
      call('PUBLISH', key, old) -- who has stored it may have died before that: see storeNew
    end
  end
  if not refused then call('PUBLISH', key, record) end
  out[i] = refused or 1
end
return out
`

var storeScript = redisconn.NewScript(-1, `local shift = 0`+storeLua)

// storeLatestScript is for records that are not all of a SUCCESS, which nothing overwrites: one
// that comes late would take the place of what the task has become since.
var storeLatestScript = redisconn.NewScript(-1, redisconn.LatestLua+`
if overtaken() then return {} end
local shift = 1`+storeLua)

// Store implements backend.Store.
func (b *Backend) Store(ctx context.Context, records ...backend.Record) error {
	var refused []error
	for len(records) > 0 { // in order, those that are kept equally long together
		n, expires := len(records), b.expires
		if b.failureExpires != b.expires {
			n, expires = 1, b.keptFor(records[0])
			for n < len(records) && b.keptFor(records[n]) == expires {
				n++
			}
		}
		errs, err := b.storeFor(ctx, expires, records[:n])
		if err != nil {
			return b.error(err)
		}
		refused = append(refused, errs...)
		records = records[n:]
	}
	return errors.Join(refused...)
}

// keptFor is how long a record is kept, in seconds.
func (b *Backend) keptFor(r backend.Record) int64 {
	if state, err := backend.State(r.Document); err == nil && state == protocol.Failure {
		return b.failureExpires
	}
	return b.expires
}

// storeFor stores records that are kept for the same time. refused is about single records.
func (b *Backend) storeFor(ctx context.Context, expires int64, records []backend.Record) (refused []error, err error) {
	records, refused = b.encodeAll(records)
	if records, err = b.storeLarge(ctx, expires, records); err != nil {
		return nil, err
	}
	for len(records) > 0 {
		n, size := 0, 0
		for n < len(records) && n < maxGroup && (n == 0 || size+len(records[n].Document) <= maxGroupBytes) {
			size += len(records[n].Document)
			n++
		}
		errs, err := b.storeGroup(ctx, expires, records[:n])
		if err != nil {
			return nil, err
		}
		refused = append(refused, errs...)
		records = records[n:]
	}
	return refused, nil
}

// storeLarge stores large records of a SUCCESS without a script, which would take three times as long for one of 1 MB: Redis' Lua
// copies it and hashes all of it. It returns the records that are left: small ones, those of other states, and those of tasks
// that have a record, which the script compares.
func (b *Backend) storeLarge(ctx context.Context, expires int64, records []backend.Record) (left []backend.Record, err error) {
	isLarge := func(r backend.Record) bool {
		return len(r.Document) >= redisconn.LargeText && len(r.Document) <= redisconn.MaxString && bytes.HasPrefix(r.Document, successStatus)
	}
	if !slices.ContainsFunc(records, isLarge) {
		return records, nil
	}
	var storing sync.WaitGroup
	stored, errs := make([]bool, len(records)), make([]error, len(records))
	for i, r := range records {
		if isLarge(r) {
			storing.Go(func() { stored[i], errs[i] = b.storeNew(ctx, expires, r) })
		}
	}
	storing.Wait()
	for i, r := range records {
		if !stored[i] {
			left = append(left, r)
		}
	}
	return left, errors.Join(errs...)
}

// storeNew stores a record of a task that has none, and wakes its clients. If the caller dies in between, they are woken by whoever
// stores one for the task again; and if it loses its connection, by itself, as it gets an error.
func (b *Backend) storeNew(ctx context.Context, expires int64, r backend.Record) (stored bool, err error) {
	key := b.key(r.TaskID)
	args := []any{key, r.Document, "NX"}
	if expires > 0 {
		args = append(args, "EX", expires)
	}
	if reply, err := b.pipe.Do(ctx, "SET", args...); reply == nil || err != nil {
		return false, err
	}
	_, err = b.pipe.Do(ctx, "PUBLISH", key, r.Document)
	return true, err
}

// storeGroup stores records by one script. refused is about single records.
func (b *Backend) storeGroup(ctx context.Context, expires int64, records []backend.Record) (refused []error, err error) {
	sent, refused := fitting(records)
	if len(sent) == 0 {
		return refused, nil
	}
	replies, err := b.runStore(ctx, expires, sent)
	if err != nil {
		return nil, err
	}
	for i, reply := range replies {
		switch reply := reply.(type) {
		case []byte:
			err = b.storeOver(ctx, expires, sent[i], reply)
		case redis.Error:
			err = &backend.RecordError{TaskID: sent[i].TaskID, Err: reply}
		}
		if err == nil {
			continue
		}
		if !errors.As(err, new(*backend.RecordError)) {
			return nil, err
		}
		refused, err = append(refused, err), nil
	}
	return refused, nil
}

// fitting returns the records that Redis takes. refused are the others.
func fitting(records []backend.Record) (sent []backend.Record, refused []error) {
	tooLarge := func(r backend.Record) bool { return len(r.Document) > redisconn.MaxString }
	if !slices.ContainsFunc(records, tooLarge) {
		return records, nil
	}
	for _, r := range records {
		if tooLarge(r) {
			refused = append(refused, &backend.RecordError{
				TaskID: r.TaskID,
				Err:    fmt.Errorf("the record has %d bytes; Redis stores at most 512 MiB", len(r.Document)),
			})
		} else {
			sent = append(sent, r)
		}
	}
	return sent, refused
}

// successStatus is how JSON records of a SUCCESS begin. Others cost a little more.
var successStatus = []byte(`{"status": "SUCCESS"`)

// runStore runs the script that is right for the records.
func (b *Backend) runStore(ctx context.Context, expires int64, records []backend.Record) ([]any, error) {
	ids, documents, final := 0, 0, true
	for _, r := range records {
		ids += len(r.TaskID)
		if len(r.Document) < redisconn.LargeText {
			documents += len(r.Document)
		}
		final = final && bytes.HasPrefix(r.Document, successStatus)
	}
	prefix := b.key("")
	keys := redisconn.NewTexts(len(records), ids+len(records)*len(prefix))
	texts := redisconn.NewTexts(len(records), documents)
	args := []any{nil, expires, texts}
	for _, r := range records {
		keys.Add(prefix, r.TaskID)
		args = redisconn.AppendText(args, r.Document)
	}
	var replies []any
	var err error
	if final {
		replies, err = redis.Values(b.pipe.Script(ctx, storeScript, append([]any{len(records), keys}, args[1:]...)...))
	} else {
		replies, err = redis.Values(b.pipe.Latest(ctx, b.marks, storeLatestScript, []any{nil, keys}, args))
	}
	if err == nil {
		keys.Free()
		texts.Free()
	}
	return replies, err
}

// storeOver stores a record where one is that only we can read, unless that is a
// SUCCESS. What cannot be read at all is no SUCCESS, but a compressed record may be.
func (b *Backend) storeOver(ctx context.Context, expires int64, r backend.Record, packed []byte) error {
	for {
		present, err := b.decode(packed)
		if err != nil && bytes.HasPrefix(packed, compressedMark) {
			return &backend.RecordError{TaskID: r.TaskID, Err: fmt.Errorf("the present record: %w", err)}
		}
		if state, err := backend.State(present); err == nil && state == protocol.Success {
			return nil
		}
		replies, err := redis.Values(b.pipe.Script(ctx, storeScript, 1, b.key(r.TaskID), expires, r.Document, packed))
		if err != nil {
			return err
		}
		var ok bool
		if packed, ok = replies[0].([]byte); !ok {
			return nil
		}
	}
}
