package compat_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/gomodule/redigo/redis"
)

// TestChordsOfChildrenThatDie has a child that has run the last part of a chord die before it has counted it, with a claim on the body,
// and when it has just published that; and it kills a worker whose child has such a claim. Celery 5.7 loses the body in
// all these cases but the last but one: a part whose success is stored is done for it, and a chord that is claimed has its body published.
func TestChordsOfChildrenThatDie(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		start  brokerKind
		venv   string
		claims bool // its Celery does
	}{
		"5.7 on Redis":    {startRedis, celery57, true},
		"5.7 on RabbitMQ": {startRabbit, celery57, true},
		"5.2 on Redis":    {startRedis, celery52, false},
		"4.4 on Redis":    {startRedis, celery44, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := test.start(t)
			a := server.app()
			a.module, a.venv = "chordkills", test.venv
			begin := func() *process {
				words := a.apiumCommand(nil, []string{"-c", "4", "-l", "info"})
				w := start(t, words[0], appDir, a.env(t), words[0], words[1:]...)
				w.waitLog(t, " ready.")
				return w
			}
			w := begin()
			var held, others map[string]string
			a.run(t, &held, "chordkills.py", "send", "held", "late ignored")
			for key := range held {
				eventually(t, patience, "a child is about to publish "+key, func() bool {
					n, err := redis.Int(server.tryJournal("EXISTS", "reached "+key))
					return err == nil && n == 1
				})
			}
			claims := server.strings(t, "KEYS", "*.c")
			if (len(claims) == len(held)) != test.claims {
				t.Errorf("claims: %q", claims)
			}
			for _, claim := range claims {
				if lasts := server.int(t, "PTTL", claim); lasts > 3000 {
					t.Errorf("a claim lasts %d ms longer: others have its message sooner", lasts)
				}
			}
			w.kill()
			begin()
			a.run(t, &others, "chordkills.py", "send", "counting publishing published", "late ignored early failing")
			for _, ids := range []map[string]string{held, others} {
				text, err := json.Marshal(ids)
				if err != nil {
					t.Fatal(err)
				}
				var got map[string]any
				a.run(t, &got, "chordkills.py", "get", string(text))
				for key := range ids {
					result, _ := json.Marshal(got[key])
					ran := slices.Contains([]string{"[0,1]", "[1,0]"}, string(result)) // 4.4 keeps no order
					if ran == strings.Contains(key, "failing") {
						t.Errorf("%s: the body's result is %s", key, result)
					}
				}
			}
		})
	}
}

// TestChordOfAChildEndsWithItsBody has a child die that has just published the body of a chord, which nobody runs for long: the chord has ended
// with that, and whoever gets its last part again knows it. A child whose claim runs out while it publishes the body does so, and ends the chord, too, as
// nobody else will. Bodies of several tasks are Celery's own matter.
func TestChordOfAChildEndsWithItsBody(t *testing.T) {
	t.Parallel()
	for name, queue := range map[string]struct {
		settings map[string]any
		list     string
	}{
		"":                {nil, "later"},
		"with priorities": {map[string]any{"task_default_priority": 6}, "later\x06\x166"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := startRedis(t)
			a := server.app()
			a.module, a.settings = "chordkills", queue.settings
			a.startChildren(t)
			var ids map[string]string
			a.run(t, &ids, "chordkills.py", "send", "published lapsing", "late ignored", "later")
			for key := range ids {
				eventually(t, patience, "a child is about to publish, or has published, "+key, func() bool {
					n, err := redis.Int(server.tryJournal("EXISTS", "reached "+key))
					return err == nil && n == 1
				})
			}
			eventually(t, patience, "all parts are acknowledged", func() bool {
				return server.int(t, "HLEN", "unacked") == 0 && server.int(t, "LLEN", "celery") == 0 && server.int(t, "LLEN", "celery\x06\x166") == 0
			})
			if n := server.int(t, "LLEN", queue.list); n != len(ids) {
				t.Errorf("%d bodies of %d chords", n, len(ids))
			}
			for _, key := range server.strings(t, "KEYS", "celery-taskset-meta-*.c") {
				if claim := server.strings(t, "MGET", key)[0]; claim != "done" {
					t.Errorf("a chord is %q", claim)
				}
			}
		})
	}
}
