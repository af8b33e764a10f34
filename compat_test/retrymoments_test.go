package compat_test

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// saidRetry is what a worker's log says of the last retry of a task.
type saidRetry struct {
	when   string    // "in 2.5s", "at 2026-12-01 12:00:00.123456+00:00"
	logged time.Time // after its message was published
}

var retryLine = regexp.MustCompile(`(?m)^\[(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}): \w+/[^\]]*\] Task [^\[]+\[(.*)\] retry: Retry (in [0-9.e+-]+s|at [0-9-]+ [0-9:.]+\+00:00)`)

// saidRetries finds that in a log, by the task's id.
func saidRetries(t *testing.T, log string) map[string]saidRetry {
	t.Helper()
	said := map[string]saidRetry{}
	for _, match := range retryLine.FindAllStringSubmatch(log, -1) {
		logged, err := time.ParseInLocation("2006-01-02 15:04:05,000", match[1], time.Local)
		if err != nil {
			t.Fatal(err)
		}
		said[match[2]] = saidRetry{match[3], logged}
	}
	return said
}

// retriesExpire are the seconds after which retries of featurecases.py expire.
var retriesExpire = []float64{1200, -5}

// judge puts into words what a message of that retry says of time, where it is right: its ETA is what the log says, counted
// from a moment between the task's run and the log line. However long these are apart, a right one is that. Others
// stay as they are, so that they differ from those of another worker.
func (s saidRetry) judge(fields map[string]string) {
	ran, err := strconv.ParseFloat(fields["(ran)"], 64)
	delete(fields, "(ran)")
	retried := err == nil
	const exact = 0.002 // logs have milliseconds
	instant := func(header string) (time.Time, bool) {
		at, err := time.Parse(time.RFC3339Nano, fields[header])
		if err == nil {
			fields[header] = at.UTC().Format(time.RFC3339Nano) // Celery's may have another zone
		}
		return at, err == nil && retried
	}
	counted := func(at time.Time, seconds float64) bool {
		from := float64(at.UnixMicro())/1e6 - seconds
		return ran-exact <= from && from <= float64(s.logged.UnixMicro())/1e6+exact
	}
	if eta, ok := instant("header eta"); ok {
		at, err := time.Parse("at 2006-01-02 15:04:05-07:00", s.when)
		seconds, noSeconds := strconv.ParseFloat(strings.TrimSuffix(strings.TrimPrefix(s.when, "in "), "s"), 64)
		if err == nil && at.Equal(eta) || noSeconds == nil && counted(eta, seconds) {
			fields["header eta"] = "as logged"
		}
	}
	if expires, ok := instant("header expires"); ok {
		for _, seconds := range retriesExpire {
			if counted(expires, seconds) {
				fields["header expires"] = fmt.Sprint(seconds, " s")
			}
		}
	}
}

// TestRetryMoments: a right ETA is taken for right on a slow machine, too, and a wrong one is not.
func TestRetryMoments(t *testing.T) {
	t.Parallel()
	const ran = 1_790_000_000.5
	after := func(seconds float64) string {
		return time.UnixMicro(int64((ran + seconds) * 1e6)).UTC().Format(time.RFC3339Nano)
	}
	for name, c := range map[string]struct {
		when         string
		logged       float64 // seconds after the run
		eta, expires string
		want         string
	}{
		"at once":              {"in 2.5s", 0.002, after(2.501), "null", "as logged, null"},
		"slow":                 {"in 2.5s", 9, after(11), "null", "as logged, null"},
		"without the fraction": {"in 2.5s", 0.3, after(2.2), "null", after(2.2) + ", null"},
		"rounded up":           {"in 2.5s", 0.3, after(3.1), "null", after(3.1) + ", null"},
		"more than logged":     {"in 5s", 0.3, after(7), "null", after(7) + ", null"},
		"not logged":           {"", 0, after(5), "null", after(5) + ", null"},
		"a moment":             {"at 2026-12-01 12:00:00.123450+00:00", 1, "2026-12-01T12:00:00.123450+00:00", "null", "as logged, null"},
		"another moment":       {"at 2026-12-01 12:00:00.123450+00:00", 1, "2026-12-01T12:00:00.123Z", "null", "2026-12-01T12:00:00.123Z, null"},
		"expires":              {"in 5s", 9, after(13), after(1208), "as logged, 1200 s"},
		"expires too soon":     {"in 5s", 0.3, after(5), after(1199), "as logged, " + after(1199)},
		"has expired":          {"in 0s", 0.3, "null", after(-4.9), "null, -5 s"},
		"expired as before":    {"in 5s", 1, after(5), "2099-01-02T03:04:05+00:00", "as logged, 2099-01-02T03:04:05Z"},
	} {
		fields := map[string]string{"(ran)": strconv.FormatFloat(ran, 'f', -1, 64), "header eta": c.eta, "header expires": c.expires}
		saidRetry{c.when, time.UnixMicro(int64((ran + c.logged) * 1e6))}.judge(fields)
		if got := fields["header eta"] + ", " + fields["header expires"]; got != c.want || len(fields) != 2 {
			t.Errorf("%s: %s, want %s; left: %v", name, got, c.want, fields)
		}
	}
}
