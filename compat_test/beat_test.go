package compat_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// periodicEntries is how many entries testdata/app/periodic.py has.
const periodicEntries = 30

// periodicMessage is what of a message does not change from run to run.
type periodicMessage struct {
	List     string
	Envelope map[string]any
	Headers  map[string]any
	Body     string
}

var (
	digits  = regexp.MustCompile(`\d`)
	anyUUID = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)
	origins = regexp.MustCompile(`gen\d+@`)
)

// sentPeriodically returns the first message of each entry, by task, list and arguments.
func sentPeriodically(t *testing.T, server *redisServer) map[string]periodicMessage {
	t.Helper()
	sent := map[string]periodicMessage{}
	for _, key := range server.strings(t, "KEYS", "*") {
		if server.do(t, "TYPE", key) != "list" {
			continue
		}
		raws := server.strings(t, "LRANGE", key, 0, -1)
		slices.Reverse(raws)
		for _, raw := range raws {
			name, message := periodic(t, key, raw)
			if _, known := sent[name]; !known {
				sent[name] = message
			}
		}
	}
	return sent
}

// periodic reads a message without ids and times.
func periodic(t *testing.T, list, raw string) (name string, m periodicMessage) {
	t.Helper()
	var envelope map[string]any
	if err := json.Unmarshal([]byte(origins.ReplaceAllString(anyUUID.ReplaceAllString(raw, "UUID"), "gen@")), &envelope); err != nil {
		t.Fatal(err)
	}
	body, err := base64.StdEncoding.DecodeString(envelope["body"].(string))
	if err != nil {
		t.Fatal(err)
	}
	headers := envelope["headers"].(map[string]any)
	delete(envelope, "body")
	delete(envelope, "headers")
	delete(headers, "lang")
	for _, at := range []string{"eta", "expires"} {
		if text, ok := headers[at].(string); ok {
			headers[at] = digits.ReplaceAllString(text, "0")
		}
	}
	text := string(body)
	switch headers["compression"] {
	case nil:
	default: // the same by other bytes
		text = fmt.Sprint(headers["compression"])
	}
	switch envelope["content-type"] {
	case "application/x-python-serialize", "application/x-yaml":
		text = fmt.Sprint(envelope["content-type"]) // the same in another style; serializer_test.go reads both
	}
	text = anyUUID.ReplaceAllString(text, "UUID")
	return fmt.Sprintf("%v %s %v %v", headers["task"], list, headers["argsrepr"], headers["kwargsrepr"]), periodicMessage{list, envelope, headers, text}
}

// startBeat starts our beat for a Python app.
func startBeat(t *testing.T, a app, module string, args ...string) *process {
	t.Helper()
	p := start(t, "apium beat", appDir, a.env(t), apiumBinary, append([]string{"-A", module, "--python", a.python(), "beat"}, args...)...)
	t.Cleanup(func() {
		p.kill()
		for _, bad := range []string{"\npanic: ", "\nfatal error: ", "DATA RACE"} {
			if p.log.contains(bad) {
				t.Errorf("%q in the beat's log:\n%s", bad, tail(p.log.String(), 6000))
			}
		}
	})
	return p
}

// startPythonsBeat starts Celery's.
func startPythonsBeat(t *testing.T, a app, module string, args ...string) *process {
	t.Helper()
	file := filepath.Join(t.TempDir(), "schedule")
	return start(t, "celery beat", appDir, a.env(t), a.python(), append([]string{"-m", "celery", "-A", module, "beat", "-s", file}, args...)...)
}

// endBeat stops a beat; ours must end well. Celery's raises SystemExit wherever SIGTERM finds it, and where that is
// a destructor Python swallows it, or RedBeat finds its lock gone: so it is told again, and may end as it likes.
func endBeat(t *testing.T, p *process) {
	t.Helper()
	p.signal(t, syscall.SIGTERM)
	if p.name != "celery beat" {
		if code := p.exitCode(t); code != 0 {
			t.Errorf("%s: exit code %d", p.name, code)
		}
		return
	}
	for deadline := time.Now().Add(patience); !p.ended() && time.Now().Before(deadline); {
		select {
		case <-p.done:
		case <-time.After(5 * time.Second):
			_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended by now
		}
	}
	p.exitCode(t)
}

// TestBeatDifferential: what apium beat sends is what celery beat sends, field by field, for options of every
// kind.
func TestBeatDifferential(t *testing.T) {
	t.Parallel()
	python, apium := startRedis(t), startRedis(t)
	for _, server := range []*redisServer{python, apium} {
		for _, set := range []string{"_kombu.binding.ex", "_kombu.binding_permanent.ex"} {
			server.do(t, "SADD", set, "a.b\x06\x16\x06\x16bound")
		}
	}
	beats := []*process{
		startPythonsBeat(t, app{broker: python.url(0)}, "periodic", "-l", "debug"), startBeat(t, app{broker: apium.url(0)}, "periodic", "-l", "debug"),
	}
	var sent [2]map[string]periodicMessage
	for i, server := range []*redisServer{python, apium} {
		eventually(t, 60*time.Second, "every entry of "+beats[i].name+" is sent", func() bool {
			sent[i] = sentPeriodically(t, server)
			return len(sent[i]) >= periodicEntries
		})
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(sent[0])), slices.Sorted(maps.Keys(sent[1]))); diff != "" {
		t.Errorf("messages (-celery +apium):\n%s", diff)
	}
	for name, want := range sent[0] {
		if diff := cmp.Diff(want, sent[1][name]); diff != "" {
			t.Errorf("%s (-celery +apium):\n%s", name, diff)
		}
	}
	for _, b := range beats {
		endBeat(t, b)
		for _, line := range []string{
			"INFO/MainProcess] beat: Starting...", "DEBUG/MainProcess] beat: Ticking with max interval->1.00 second",
			"INFO/MainProcess] Scheduler: Sending due task tuple (un.tuple)", "DEBUG/MainProcess] un.tuple sent. id->",
		} {
			if !b.log.contains(line) {
				t.Errorf("%s does not log %q:\n%s", b.name, line, tail(b.log.String(), 2000))
			}
		}
	}
	if left := apium.strings(t, "KEYS", "apium.once.*"); len(left) > 0 || strings.Contains(strings.Join(apium.strings(t, "KEYS", "*"), " "), "leader") {
		t.Errorf("left in Redis: %q", apium.strings(t, "KEYS", "*"))
	}
}
