package compat_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/apium/apium/internal/sqltest"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/settings"
)

var idInBody = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)

// TestUnlockMessagesAreCelerys: where results are in Celery's database backend, what polls a chord is
// the message that Celery sends, to the place to which it sends it.
func TestUnlockMessagesAreCelerys(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	results := resultsDBIn(t, sqltest.New(t, sqltest.SQLite), false)
	a := results.app(server)
	a.run(t, nil, `import tapp
from celery import chord, group, signature
def s(name, *args): return signature(name, args=args, app=tapp.app)
header = [s("other.one", 1), s("other.two", 2)]
chord(header)(s("other.body"))
chord(header)(s("other.body", "x").set(queue="elsewhere", priority=3))
chord(header, interval=3, max_retries=5)(s("other.body"))
(group(header) | s("other.body") | s("other.next")).apply_async()
chord(header)(group([s("other.body"), s("other.next")]))
`)
	theirs := unlockMessages(t, server)
	conf := settings.Default()
	conf.BrokerURL, conf.ResultBackend = server.url(0), results.ours
	c := openApp(t, conf)
	header := []canvas.Signature{canvas.Sig("other.one", 1), canvas.Sig("other.two", 2)}
	body, next := canvas.Sig("other.body"), canvas.Sig("other.next")
	for _, sig := range []canvas.Signature{
		canvas.Chord(header, body),
		canvas.Chord(header, canvas.Sig("other.body", "x").Set(canvas.Queue("elsewhere"), canvas.Priority(3))),
		canvas.Chord(header, body).Set(canvas.Opt("interval", 3), canvas.Opt("max_retries", 5)),
		canvas.Chain(canvas.Group(header...), body, next),
		canvas.Chord(header, canvas.Group(body, next)),
	} {
		if _, err := c.Send(t.Context(), sig); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(theirs, unlockMessages(t, server)); diff != "" || len(theirs) != 5 {
		t.Errorf("%d messages (-Celery +ours):\n%s", len(theirs), diff)
	}
}

// unlockMessages takes all messages out of the queues, and returns those that poll chords, with ids by
// their order and without what no two have in common; reprs do not tell tuples from lists here.
func unlockMessages(t *testing.T, server *redisServer) (list []map[string]any) {
	t.Helper()
	queues := server.strings(t, "KEYS", "*")
	slices.Sort(queues)
	for _, queue := range queues {
		name, _, _ := strings.Cut(queue, "\x06")
		if name != "celery" && name != "elsewhere" {
			continue
		}
		for _, raw := range server.strings(t, "LRANGE", queue, 0, -1) {
			var message struct {
				Body       string
				Headers    map[string]any
				Properties map[string]any
			}
			if err := json.Unmarshal([]byte(raw), &message); err != nil {
				t.Fatal(err)
			}
			if message.Headers["task"] != "celery.chord_unlock" {
				continue
			}
			text, err := base64.StdEncoding.DecodeString(message.Body)
			if err != nil {
				t.Fatal(err)
			}
			for _, varies := range []string{"id", "root_id", "eta", "origin", "lang", "argsrepr", "kwargsrepr"} {
				delete(message.Headers, varies)
			}
			list = append(list, map[string]any{
				"queue": queue, "headers": message.Headers, "body": byOrder(string(text)),
				"priority": message.Properties["priority"], "delivery": message.Properties["delivery_info"],
			})
		}
		server.do(t, "DEL", queue)
	}
	return list
}

// byOrder writes numbers in the place of ids.
func byOrder(text string) string {
	seen := map[string]string{}
	return idInBody.ReplaceAllStringFunc(text, func(id string) string {
		if seen[id] == "" {
			seen[id] = fmt.Sprint("#", len(seen))
		}
		return seen[id]
	})
}
