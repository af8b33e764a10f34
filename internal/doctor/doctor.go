// Package doctor looks at settings, broker, result backend and the workers of either kind, and says what is wrong
// there, what that means and what to do about it. It changes nothing.
//
// First all facts are gathered (facts.go), then each check looks at them. A further check is a function and a line
// in checks.
package doctor

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/apium/apium/internal/fromsettings"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/settings"
)

// Severity says how bad a finding is.
type Severity string

// Severities, the worst first.
const (
	Error   Severity = "error"   // tasks are lost, fail or do not run, now or when it comes to it
	Warning Severity = "warning" // it works, and will not under some circumstances
	Note    Severity = "note"    // good to know
)

var order = []Severity{Error, Warning, Note}

// Finding is something that a check has found.
type Finding struct {
	Check    string   `json:"check"` // stays the same from version to version
	Severity Severity `json:"severity"`
	Title    string   `json:"title"`             // what is wrong
	Details  []string `json:"details,omitempty"` // where, one a line
	Meaning  string   `json:"meaning,omitempty"` // what comes of it
	Advice   string   `json:"advice,omitempty"`  // what to do
}

// Unseen is something that could not be looked at.
type Unseen struct {
	What string `json:"what"`
	Why  string `json:"why"`
}

// Report is what an examination has come to.
type Report struct {
	Seen     Seen      `json:"seen"`
	Findings []Finding `json:"findings"` // the worst first
	Unseen   []Unseen  `json:"not_looked_at"`
	// Unreachable says that broker or result backend could not be reached, so that the rest was not looked at.
	Unreachable bool `json:"unreachable"`
}

// Count returns how many findings there are of a severity.
func (r *Report) Count(s Severity) (n int) {
	for _, f := range r.Findings {
		if f.Severity == s {
			n++
		}
	}
	return n
}

// Patient is what is to be examined. Settings and Places are required.
type Patient struct {
	Settings *settings.Settings
	Places   *fromsettings.Connections // read
	// Software are the versions that a Python app would run with, by Celery's words: celery, kombu and so on; nil:
	// there is no app.
	Software map[string]string
	Decoder  protocol.Decoder
	Signed   protocol.Serializer // what the app signs with; nil: it does not
	// Program is what this one is called, for the commands in advice. Default: apium.
	Program string
	// Timeout is how long workers have for an answer. Default: 1 s.
	Timeout time.Duration
	// Now is this machine's clock. Default: time.Now.
	Now func() time.Time
}

// check looks at the facts for one kind of trouble.
type check struct {
	name string
	look func(f *facts) []Finding
}

// checks are all there are, in the order in which findings of the same severity are told.
var checks = []check{
	{"broker", brokerAway},
	{"results", resultsAway},
	{"redis-version", redisVersion},
	{"redis-cluster", redisCluster},
	{"redis-replica", redisReplica},
	{"redis-saving", redisSaving},
	{"redis-eviction", redisEviction},
	{"redis-memory", redisMemory},
	{"redis-connections", redisConnections},
	{"redis-persistence", redisPersistence},
	{"rabbitmq-blocked", rabbitBlocked},
	{"rights", missingRights},
	{"workers", noWorkers},
	{"silent-workers", silentWorkers},
	{"double-names", doubleNames},
	{"queues", unconsumedQueues},
	{"tasks", tasksNotAllKnow},
	{"unacked", heldByNobody},
	{"dead-letters", deadLetters},
	{"parked", parkedMessages},
	{"clocks", clocksApart},
	{"visibility-timeout", visibilityTimeouts},
	{"settings-apart", settingsApart},
	{"content", contentRefused},
	{"versions", versionsApart},
	{"result-expires", resultsForEver},
	{"one-kind", tasksOfOneKind},
}

// Checks returns the names of all checks.
func Checks() []string {
	names := make([]string, len(checks))
	for i, c := range checks {
		names[i] = c.name
	}
	return names
}

// gatherTimeout bounds an examination, whatever does not answer. What was not looked at by then is said.
const gatherTimeout = time.Minute

// Examine looks at everything. It takes about three seconds, most of which it listens to the workers.
func Examine(ctx context.Context, p *Patient) (*Report, error) {
	f := &facts{Patient: *p}
	f.Timeout, f.Program = cmp.Or(f.Timeout, time.Second), cmp.Or(f.Program, "apium")
	if f.Now == nil {
		f.Now = time.Now
	}
	bounded, cancel := context.WithTimeout(ctx, gatherTimeout)
	defer cancel()
	f.gather(bounded)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	r := &Report{Seen: f.seen(), Findings: []Finding{}, Unseen: f.unseen, Unreachable: f.brokerErr != nil || f.resultsErr != nil}
	if r.Unseen == nil {
		r.Unseen = []Unseen{}
	}
	for _, c := range checks {
		for _, found := range c.look(f) {
			found.Check = c.name
			r.Findings = append(r.Findings, found)
		}
	}
	slices.SortStableFunc(r.Findings, func(a, b Finding) int {
		return slices.Index(order, a.Severity) - slices.Index(order, b.Severity)
	})
	return r, nil
}

// Unreadable is the report where settings or app cannot be read, which is the reason.
func Unreadable(why string) *Report {
	return &Report{Findings: []Finding{{
		Check: "settings", Severity: Error, Title: "The settings cannot be used", Details: strings.Split(strings.TrimSpace(why), "\n"),
		Meaning: "A worker would not start with them. Nothing else was looked at.",
		Advice:  "Mend what is named, or the command line: -A, --config, -b, --result-backend.",
	}}, Unseen: []Unseen{}, Seen: Seen{Workers: []*Worker{}}}
}
