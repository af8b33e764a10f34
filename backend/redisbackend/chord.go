package redisbackend

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gomodule/redigo/redis"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/internal/redischord"
	"github.com/apium/apium/protocol"
)

// DefaultChordLease is how long a claim on a chord's body lasts: for so long others that get its last part wait, if who has claimed it has died. Children have
// theirs for as long, which Celery sees, and takes for a body that is run: so they are to run out before another worker gets the part.
const DefaultChordLease = 3 * time.Second

// lateParts is how long Celery remembers that a chord was finished, in seconds.
const lateParts = 300

// Count implements backend.Chords.
func (b *Backend) Count(ctx context.Context, parts ...backend.ChordPart) ([]backend.ChordCount, error) {
	counts := make([]backend.ChordCount, len(parts))
	var refused []error
	for start := 0; start < len(parts); {
		batch := newChordBatch(b, protocol.NewID())
		end := start
		for end < len(parts) && batch.add(parts[end]) {
			end++
		}
		errs, err := batch.count(ctx, counts[start:end])
		if err != nil {
			return nil, b.error(err)
		}
		refused = append(refused, errs...)
		start = end
	}
	return counts, errors.Join(refused...)
}

// chordBatch is what one run of countScript counts.
type chordBatch struct {
	b       *Backend
	token   string
	parts   []backend.ChordPart
	refused []error
	sent    []int // which of the parts the script gets
	groups  map[string]int
	keys    []any
	args    []any
	size    int
}

func newChordBatch(b *Backend, token string) *chordBatch {
	return &chordBatch{b: b, token: token, groups: make(map[string]int)}
}

// add takes a part, unless the batch is full.
func (c *chordBatch) add(part backend.ChordPart) bool {
	if len(c.parts) == maxGroup || c.size > 0 && c.size+len(part.Result) > maxGroupBytes {
		return false
	}
	c.parts = append(c.parts, part)
	member, size, head, err := c.b.memberArgument(part)
	if err != nil {
		c.refused = append(c.refused, &backend.RecordError{TaskID: part.TaskID, Err: err})
		return true
	}
	c.size += size
	group, ok := c.groups[part.GroupID]
	if !ok {
		group = len(c.groups)
		c.groups[part.GroupID] = group
		for _, suffix := range []string{".j", ".t", ".s", ".d", "", ".c", ".a"} {
			c.keys = append(c.keys, c.b.groupKey(part.GroupID, suffix))
		}
	}
	var score any = "+inf"
	if part.Index != nil {
		score = *part.Index
	}
	c.sent = append(c.sent, len(c.parts)-1)
	c.args = append(c.args, group, part.TaskID, score, member, head, part.Size)
	return true
}

// count runs the script and fills in the answers. refused is about single parts.
func (c *chordBatch) count(ctx context.Context, counts []backend.ChordCount) (refused []error, err error) {
	if len(c.sent) == 0 {
		return c.refused, nil
	}
	b := c.b
	args := append([]any{len(c.keys)}, c.keys...)
	args = append(args, b.chordExpires, b.groupExpires, b.lease.Milliseconds(), c.token, b.chordZset)
	replies, err := redis.Values(b.pipe.Insist(ctx, countScript, append(args, c.args...)...))
	if err != nil {
		return nil, err
	}
	for i, reply := range replies {
		part := c.parts[c.sent[i]]
		answer, err := redis.Values(reply, nil)
		if err != nil {
			return nil, fmt.Errorf("redisbackend: counting task %s: %w", part.TaskID, err)
		}
		if answer[0] == countRefused {
			why, _ := redis.String(answer[1], nil)
			c.refused = append(c.refused, &backend.RecordError{TaskID: part.TaskID, Err: errors.New(why)})
			continue
		}
		counts[c.sent[i]] = c.answer(part, answer)
	}
	return c.refused, nil
}

func (c *chordBatch) answer(part backend.ChordPart, answer []any) backend.ChordCount {
	number := func(i int) int64 {
		n, _ := answer[i].(int64)
		return n
	}
	count := backend.ChordCount{Count: int(number(1)), Total: int(number(2))}
	switch number(0) {
	case countOpen:
		count.State = backend.ChordOpen
	case countComplete:
		count.State = backend.ChordComplete
		count.Claim = backend.ChordClaim{GroupID: part.GroupID, Token: c.token}
		count.Lease = c.b.lease
		count.Again = number(3) == 1
	case countClaimed:
		count.State = backend.ChordClaimed
		count.Lease = time.Duration(max(number(3), 1)) * time.Millisecond
	case countDone:
		count.State = backend.ChordDone
	}
	return count
}

// Results implements backend.Chords.
func (b *Backend) Results(ctx context.Context, groupID string) ([]backend.ChordResult, error) {
	var results []backend.ChordResult
	for next := 0; next >= 0; {
		reply, err := redis.Values(b.pipe.Script(ctx, resultsScript, b.groupKey(groupID, ".j"), b.groupKey(groupID, ".d"), next))
		if err != nil {
			return nil, b.error(err)
		}
		var members [][]byte
		if _, err := redis.Scan(reply, &next, &members); err != nil {
			return nil, fmt.Errorf("redisbackend: results of chord %s: %w", groupID, err)
		}
		results = slices.Grow(results, len(members))
		for _, member := range members {
			result, err := b.decodeMember(member)
			if err != nil {
				return nil, fmt.Errorf("redisbackend: part %d of chord %s: %w: %w", len(results), groupID, backend.ErrUnreadable, err)
			}
			results = append(results, result)
		}
	}
	return results, nil
}

// Renew implements backend.Chords.
func (b *Backend) Renew(ctx context.Context, claim backend.ChordClaim, lease time.Duration) error {
	return b.claimed(b.pipe.Script(ctx, renewScript, b.groupKey(claim.GroupID, ".c"), b.groupKey(claim.GroupID, ".a"),
		b.groupKey(claim.GroupID, ".s"), b.groupKey(claim.GroupID, ".j"), claim.Token, max(lease.Milliseconds(), 1)))
}

// ClaimLease is how long a claim lasts unless it is renewed. Celery's own code has longer ones.
func (b *Backend) ClaimLease() time.Duration { return b.lease }

// Finish implements backend.Chords.
func (b *Backend) Finish(ctx context.Context, claim backend.ChordClaim, failed bool) error {
	end := b.end(claim)
	if failed {
		end.Keys = end.Keys[:3]
	}
	args := end.AppendKeys([]any{len(end.Keys)})
	return b.claimed(b.pipe.Script(ctx, finishScript, append(args, end.Token, end.Late, end.Unsized)...))
}

// TakeBody implements backend.ChordTaker.
func (b *Backend) TakeBody(ctx context.Context, claim backend.ChordClaim) error {
	end := b.end(claim)
	return b.claimed(b.pipe.Once(ctx, b.marks, takeScript, end.AppendKeys([]any{nil}), []any{nil, end.Token, end.Late, end.Unsized}))
}

// EndOf implements backend.ChordEnds.
func (b *Backend) EndOf(claim backend.ChordClaim) any { return b.end(claim) }

func (b *Backend) end(claim backend.ChordClaim) *redischord.End {
	end := &redischord.End{Server: b.redis, Token: claim.Token, Late: lateParts, Unsized: max(b.chordExpires, int64(DefaultExpires/time.Second))}
	for _, suffix := range []string{".c", ".a", ".s", ".j", ".t", ".d"} {
		end.Keys = append(end.Keys, b.groupKey(claim.GroupID, suffix))
	}
	return end
}

func (b *Backend) claimed(reply any, err error) error {
	switch held, err := redis.Bool(reply, err); {
	case err != nil:
		return b.error(err)
	case !held:
		return backend.ErrClaimLost
	}
	return nil
}

// SetSize implements backend.Chords.
func (b *Backend) SetSize(ctx context.Context, groupID string, size int) error {
	_, err := b.pipe.Once(ctx, b.marks, sizeScript,
		[]any{nil, b.groupKey(groupID, ".c"), b.groupKey(groupID, ".a"), b.groupKey(groupID, ".s")}, []any{nil, size, b.chordExpires})
	return b.error(err)
}

// Grow implements backend.Chords.
func (b *Backend) Grow(ctx context.Context, groupID string, by int) error {
	_, err := b.pipe.Once(ctx, b.marks, growScript, []any{nil, b.groupKey(groupID, ".t")}, []any{nil, by})
	return b.error(err)
}
