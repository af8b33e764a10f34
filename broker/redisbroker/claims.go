package redisbroker

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/gomodule/redigo/redis"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/protocol"
)

var _ broker.ClaimLister = (*Management)(nil)

// largestClaim is how many bytes of a message are read to tell what its task is.
const largestClaim = 1 << 20

// Claims implements [broker.ClaimLister]. Of parked messages, which may be many, a limited number is passed over.
func (m *Management) Claims(ctx context.Context, limit int) (claims []broker.Claim, err error) {
	for start := 0; start < oldestBatches*oldestBatch && len(claims) < limit; start += oldestBatch {
		members, err := redis.Strings(m.pipe.Do(ctx, "ZRANGE", m.keys.index, start, start+oldestBatch-1, "WITHSCORES"))
		if err != nil {
			return nil, fmt.Errorf("unacked messages: %w", err)
		}
		for i := 0; i+1 < len(members) && len(claims) < limit; i += 2 {
			if strings.HasPrefix(members[i], parkedPrefix) {
				continue
			}
			claim, err := m.claim(ctx, members[i], members[i+1])
			if err != nil {
				return nil, fmt.Errorf("unacked message %q: %w", members[i], err)
			}
			claims = append(claims, claim)
		}
		if len(members) < 2*oldestBatch {
			break
		}
	}
	return claims, nil
}

func (m *Management) claim(ctx context.Context, tag, score string) (claim broker.Claim, err error) {
	claim.Tag = tag
	if claim.Since, err = unscore(score); err != nil {
		return claim, err
	}
	if id, _, ours := strings.Cut(tag, ":"); ours && strings.HasPrefix(tag, idPrefix) {
		claim.Worker = id
	}
	size, err := redis.Int(m.pipe.Do(ctx, "HSTRLEN", m.keys.unacked, tag))
	if err != nil || size > largestClaim {
		return claim, err
	}
	record, err := redis.Bytes(m.pipe.Do(ctx, "HGET", m.keys.unacked, tag))
	if errors.Is(err, redis.ErrNil) {
		return claim, nil // it has just been settled
	}
	if err != nil {
		return claim, err
	}
	if e, err := decodeEntry(record); err == nil {
		if task, _ := new(protocol.Decoder).DecodeHeaders(read(e.raw)); task != nil {
			claim.Task, claim.TaskID = task.Name, task.ID
		}
	}
	return claim, nil
}

// Registered implements [broker.ClaimLister].
func (m *Management) Registered(ctx context.Context) (all []broker.Registration, err error) {
	texts, err := redis.StringMap(m.pipe.Do(ctx, "HGETALL", m.keys.workers()))
	if err != nil {
		return nil, fmt.Errorf("registered workers: %w", err)
	}
	for id, text := range texts {
		var reg registration
		_ = json.Unmarshal([]byte(text), &reg) // its id is known, at least
		alive, err := redis.Bool(m.pipe.Do(ctx, "EXISTS", m.keys.alive(id)))
		if err != nil {
			return nil, fmt.Errorf("registered workers: %w", err)
		}
		all = append(all, broker.Registration{ID: id, Hostname: reg.Hostname, Queues: reg.Queues, Alive: alive})
	}
	slices.SortFunc(all, func(a, b broker.Registration) int {
		return cmp.Or(strings.Compare(a.Hostname, b.Hostname), strings.Compare(a.ID, b.ID))
	})
	return all, nil
}
