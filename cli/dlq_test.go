package cli

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/broker/redisbroker"
	"github.com/apium/apium/internal/envelopetest"
	"github.com/apium/apium/internal/redistest"
)

// buried returns the URL of a Redis with three dead letters, and their ids.
func buried(t *testing.T) (s *redistest.Server, ids []string) {
	t.Helper()
	s = redistest.Start(t)
	c, err := redisbroker.Open(t.Context(), redisbroker.Config{URL: s.URL(0), Queues: broker.Named("q"), Hostname: "w@h"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for i, raw := range [][]byte{envelopetest.New("q", "id0", 0), envelopetest.New("q", "id1", 0), []byte("\xff")} {
		s.Do(t, "LPUSH", "q", raw)
		ds, err := c.Claim(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		letter := broker.DeadLetter{Delivery: ds[0], Reason: "poison", At: time.Unix(int64(1900000000+i), 0)}
		if err := c.Bury(t.Context(), letter); err != nil {
			t.Fatal(err)
		}
	}
	_, out, _ := call(t, "-b", s.URL(0), "dlq", "list", "--json")
	for line := range strings.Lines(out) {
		var l broker.Letter
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatalf("dlq list --json: %q: %v", line, err)
		}
		ids = append(ids, l.ID)
	}
	if len(ids) != 3 {
		t.Fatalf("dlq list --json: %q", out)
	}
	return s, ids
}

func TestDLQ(t *testing.T) {
	t.Parallel()
	s, ids := buried(t)
	tests := []struct {
		args           string
		status         int
		stdout, stderr string // what they contain
	}{
		{"list --limit 1 --offset 1", 0, "ID                TIME                  QUEUE  TASK  REASON\n" + ids[1] + "  2030-03-17T17:46:41Z  q      t     poison\n", "1 more"},
		{"show " + ids[0], 0, "Task ID:       id0\nRedeliveries:  0\nMessage:\n{\n  \"body\": ", ""},
		{"show " + ids[0], 0, "Worker:        w@h\n", ""},
		{"show " + ids[2], 0, "Message (no text):\n\"\\xff\"\n", ""},
		{"show --json " + ids[2], 0, `"queue":"q","reason":"poison","time":"2030-03-17T17:46:42Z","hostname":"w@h","redeliveries":0,"raw":"/w=="`, ""},
		{"show none", 1, "", `"none": no such dead letter`},
		{"replay none " + ids[0], 1, "Replayed 1 of 2.\n", "no such dead letter: none"},
		{"drop " + ids[1], 0, "Dropped 1 of 1.\n", ""},
		{"replay --all", 0, "Replayed 1 of 1.\n", ""},
		{"list", 0, "", "There are no dead letters."},
	}
	for _, test := range tests {
		status, stdout, stderr := call(t, append([]string{"-b", s.URL(0), "dlq"}, strings.Fields(test.args)...)...)
		if status != test.status || !strings.Contains(stdout, test.stdout) || !strings.Contains(stderr, test.stderr) {
			t.Errorf("dlq %s: status %d, stdout:\n%s\nstderr:\n%s\nwant %+v", test.args, status, stdout, stderr, test)
		}
	}
	if n, _ := s.Do(t, "LLEN", "q").(int64); n != 2 {
		t.Errorf("%d messages were replayed, want 2", n)
	}
}

func TestDLQMistakes(t *testing.T) {
	t.Parallel()
	for args, message := range map[string]string{
		"":                "Missing argument: one of list, show, replay, drop",
		"lsit":            "No such action 'lsit'. Did you mean 'list'?",
		"list 5":          "Got unexpected argument '5'; 'show' takes an ID",
		"show":            "'show' takes one ID; 'list' prints them",
		"drop":            "'drop' takes IDs, or --all; 'list' prints them",
		"drop 1 --all":    "Give IDs or --all, not both",
		"list --limit=-1": "--limit and --offset cannot be negative",
	} {
		status, _, stderr := call(t, append([]string{"dlq"}, strings.Fields(args)...)...)
		if status != exitUsage || !strings.HasSuffix(stderr, "Error: "+message+"\n") {
			t.Errorf("dlq %s: status %d, %q, want %q", args, status, stderr, message)
		}
	}
}
