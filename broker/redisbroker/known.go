package redisbroker

import (
	"fmt"
	"math"
	"strconv"
	"sync"
	"time"

	"github.com/gomodule/redigo/redis"

	"github.com/apium/apium/broker"
)

// Each beat looks for all that a worker looks for besides messages: peers that show no sign of life, parked messages, claims that
// have expired. So nobody else asks Redis for what the last beat knew was not there:
//
//   - What others have parked since the last beat is known with the next one, two seconds later. Workers park what is due in more
//     than ten seconds, and what they park sooner, as their memory is full, they know themselves: only if they are killed it may be
//     two seconds late.
//   - Claims get no older score than they have; a message that is parked has the time it is due.
//   - A peer that is missing in a beat is looked at at once, and again two seconds later.
//
// What is older than three beats is not known: then all ask.
type known struct {
	mu    sync.Mutex
	lasts time.Duration
	saw
	parked uint64 // how often this worker has parked something
}

// saw is what a beat saw.
type saw struct {
	at      time.Time // when it was sent
	missing bool      // a peer's sign of life
	due     float64   // score of the first parked message; +Inf: none is
	oldest  float64   // score of the oldest claim; +Inf: there is none
	empty   bool      // there was nothing in any list or inbox
	unheard bool      // a waiter has claimed a message, or was about to
}

// learn notes what a beat saw, which was sent when something had been parked so often.
func (k *known) learn(news saw, parks uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if parks != k.parked {
		news.due = min(news.due, k.due)
	}
	k.saw = news
}

// parks tells how often this worker has parked something.
func (k *known) parks() uint64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.parked
}

// park notes what is about to be parked, and again what was: a beat that is sent in between may not see it.
func (k *known) park(batch []broker.Parked) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.parked++
	for i := range batch {
		k.due = min(k.due, scoreOf(batch[i].Due))
	}
}

// mayBeDue tells whether a parked message may be due by a time.
func (k *known) mayBeDue(by time.Time) bool {
	return k.may(func() bool { return k.due <= scoreOf(by) })
}

// mayHaveExpired tells whether there may be a claim of before a time.
func (k *known) mayHaveExpired(before time.Time) bool {
	return k.may(func() bool { return before.After(k.at) || k.oldest <= scoreOf(before) })
}

// mayMiss tells whether a peer may show no sign of life.
func (k *known) mayMiss() bool { return k.may(func() bool { return k.missing }) }

// isUnheard tells whether a waiter had claimed a message at the last beat, which it may not have heard.
func (k *known) isUnheard() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.unheard
}

func (k *known) may(seen func() bool) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return time.Since(k.at) > k.lasts || seen()
}

// scoreOf is score as a number.
func scoreOf(t time.Time) float64 { return float64(t.UnixMicro()) / 1e6 }

// readBeat reads the answer of beatScript.
func readBeat(reply []any) (alive bool, s saw, err error) {
	var missing, there, claimed int
	var due, oldest string
	if _, err = redis.Scan(reply, &alive, &missing, &due, &oldest, &there, &claimed); err != nil {
		return false, saw{}, fmt.Errorf("answer to a sign of life: %w", err)
	}
	s.missing, s.empty, s.unheard = missing > 0, there == 0, claimed > 0
	s.due, err = orNever(due)
	if err == nil {
		s.oldest, err = orNever(oldest)
	}
	return alive, s, err
}

func orNever(score string) (float64, error) {
	if score == "" {
		return math.Inf(1), nil
	}
	return strconv.ParseFloat(score, 64)
}
