package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apium/apium/operate/control"
	"github.com/apium/apium/protocol"
)

// watched is a view of some events.
func watched(t *testing.T, events ...string) *eventView {
	t.Helper()
	v := &eventView{program: "apium", state: newEventState(), title: "redis://x"}
	for _, text := range events {
		v.event(event(t, text))
	}
	return v
}

func (v *eventView) picture(width, height int) string {
	return strings.Join(v.frame(width, height, time.Now()), "\n")
}

func TestEventView(t *testing.T) {
	t.Parallel()
	v := watched(t)
	if lines := v.frame(200, 14, time.Now()); len(lines) != 14 || !strings.Contains(lines[12], "enable_events") || lines[13] != keysHelp {
		t.Errorf("%q", lines)
	}
	now := time.Now()
	for _, text := range someEvents[:7] {
		v.state.event(event(t, text), now)
	}
	status := func(at time.Time) string { return strings.Join(v.frame(200, 14, at), "\n") }
	for at, want := range map[time.Duration]string{0: "online ", 3 * time.Second: "online ", 5 * time.Second: "offline"} {
		if got := status(now.Add(at)); !strings.Contains(got, "w@h                          "+want+"       1          7  1.50 0.25 0.00    apium 1.0") {
			t.Errorf("after %v:\n%s", at, got)
		}
	}
	clock := now.Format(time.TimeOnly)
	lines := v.frame(200, 14, now)
	for i, want := range map[int]string{
		0:  "apium events  redis://x",
		6:  clock + " SUCCESS    0.250 s  t.add                        w@h                u1                                   3",
		7:  clock + " FAILURE             ",
		12: "events: 7  tasks: 2  workers: 1/1",
	} {
		if !strings.HasPrefix(lines[i], want) {
			t.Errorf("line %d: %q, want %q", i, lines[i], want)
		}
	}
	if narrow := v.picture(50, 14); !strings.Contains(narrow, clock+" SUCCESS  t.add ") {
		t.Errorf("narrow:\n%s", narrow)
	}
	v.state.event(event(t, someEvents[7]), now)
	if got := status(now); !strings.Contains(got, "offline") || !strings.Contains(got, "workers: 0/1") {
		t.Errorf("after its end:\n%s", got)
	}
}

// No picture is larger than the screen, and nothing that others send controls it.
func TestEventViewFits(t *testing.T) {
	t.Parallel()
	v := watched(t, someEvents...)
	v.tell = func(string, map[string]any) {}
	for _, keys := range []string{"", "j", "jt", "ji", "jjr", "jl", "jl5/m"} {
		for _, key := range strings.Split(keys, "") {
			v.press(key)
		}
		v.problem("Connection\x1b[2J lost")
		for _, width := range []int{0, 1, 2, 9, 17, 40, narrowScreen, 100, wideScreen} {
			for height := range 16 {
				lines := v.frame(width, height, time.Now())
				if len(lines) > height {
					t.Fatalf("%s %d×%d: %d lines", keys, width, height, len(lines))
				}
				for _, line := range lines {
					line = strings.TrimSuffix(strings.TrimPrefix(line, "\x1b[7m"), plainText)
					if len([]rune(line)) > width || strings.ContainsAny(line, "\x1b\n\t") {
						t.Fatalf("%s %d×%d: %q", keys, width, height, line)
					}
				}
			}
		}
		v.press(keyEscape)
	}
}

func TestEventViewForgetsTasks(t *testing.T) {
	t.Parallel()
	v := watched(t)
	received := func(i int) protocol.Event {
		return protocol.Event{"type": []byte(`"task-received"`), "uuid": fmt.Appendf(nil, `"id-%d"`, i), "name": []byte(`"t.add"`)}
	}
	for i := range seenTasks {
		v.event(received(i))
	}
	v.press(keyEnd)
	if got := v.picture(150, 30); !strings.Contains(got, "Selected: id-0 RECEIVED") || !strings.Contains(got, "\x1b[7m") {
		t.Errorf("the end of many:\n%s", got)
	}
	for i := range 10 {
		v.event(received(seenTasks + i))
	}
	if s := v.state; len(s.tasks) != seenTasks || s.order.Len() != seenTasks {
		t.Errorf("%d tasks, %d in order", len(s.tasks), s.order.Len())
	}
	if got := v.picture(150, 30); strings.Contains(got, "Selected") || strings.Contains(got, "id-0 ") {
		t.Errorf("what is forgotten is still chosen:\n%s", got)
	}
	v.press(keyHome)
	if got := v.picture(150, 30); !strings.Contains(got, fmt.Sprintf("Selected: id-%d", seenTasks+9)) {
		t.Errorf("the first:\n%s", got)
	}
	v.press(keyPageDown)
	if got := v.picture(150, 30); !strings.Contains(got, fmt.Sprintf("Selected: id-%d ", seenTasks+9-v.page)) {
		t.Errorf("a page further:\n%s", got)
	}
}

// As in celery/events/state.py, where events may come in another order than they happened.
func TestLateEventsLeaveTheState(t *testing.T) {
	t.Parallel()
	for kinds, want := range map[string]string{
		"received started succeeded":              "SUCCESS",
		"succeeded received started":              "SUCCESS",
		"started received":                        "STARTED",
		"sent received":                           "RECEIVED",
		"received started retried":                "RETRY",
		"retried received":                        "RECEIVED",
		"received started retried started failed": "FAILURE",
		"received revoked started":                "REVOKED",
		"custom":                                  "",
		"received custom":                         "RECEIVED",
	} {
		s := newEventState()
		for _, kind := range strings.Fields(kinds) {
			s.event(event(t, `{"type": "task-`+kind+`", "uuid": "u", "hostname": "w@h", "timestamp": 1}`), time.Now())
		}
		if got := taskAt(s.tasks["u"]).state; got != want {
			t.Errorf("%s: %s, want %s", kinds, got, want)
		}
	}
}

func TestKeysOfTheEventView(t *testing.T) {
	t.Parallel()
	v := watched(t, someEvents...)
	var told []string
	v.tell = func(command string, arguments map[string]any) { told = append(told, fmt.Sprint(command, arguments)) }
	press := func(keys ...string) string {
		t.Helper()
		for _, key := range keys {
			if !v.press(key) {
				t.Fatalf("%q is the end", key)
			}
		}
		return v.picture(150, 30)
	}
	has := func(picture string, wants ...string) {
		t.Helper()
		for _, want := range wants {
			if !strings.Contains(picture, want) {
				t.Errorf("no %q in:\n%s", want, picture)
			}
		}
	}
	has(press("i"), "Choose a task first")
	has(press("j"), "Selected: u1 SUCCESS")
	has(press("t"), "This task has no traceback")
	has(press("r"), "Result of u1\n\n3\n")
	has(press("x"), "Selected: u1") // any key: back
	has(press("I"), "Task u1", "name: t.add", "args: (1, 2)", "runtime: 0.25", "received: 2026-11-25 00:20:09.165747+00:00")
	has(press("q", keyDown, keyDown), "Selected: u2 FAILURE") // q closes the text only
	has(press("r"), "Result of u2", "ValueError('\ufffd[31m')")
	has(press(keyEscape, "T"), "Traceback of u2\n\na\nb\n")
	has(press(keyEscape, "l"), "The name of this task is not known")
	has(press("c"), "Revoking u2")
	has(press("k", "l", "1", "0", "9", keyBackspace, "/", "q"), "New rate limit of t.add (such as 10/m; 0: none): 10/q_")
	has(press(keyBackspace, "m", keyEnter), "Limiting t.add to 10/m")
	press("L", "5", keyEscape, "l", keyEnter)
	want := []string{"revokemap[signal:SIGTERM task_id:u2 terminate:false]", "rate_limitmap[rate_limit:10/m task_name:t.add]"}
	if !slices.Equal(told, want) {
		t.Errorf("the workers were told %q, want %q", told, want)
	}
	v.answered(answer{command: "revoke", replies: []control.Reply{
		{Node: "a@h", Value: json.RawMessage(`{"ok": "task u2 flagged as revoked"}`)}, {Node: "b@h", Value: json.RawMessage(`{"error": "no"}`)},
	}})
	has(press(), "Answers to revoke", "a@h: OK task u2 flagged as revoked", "b@h: ERROR no")
	v.answered(answer{command: "revoke"})
	has(press(), "No worker has answered within 1s.")
	v.answered(answer{command: "revoke", err: errors.New("it is away")})
	has(press(), "The workers cannot be told: it is away")
	press("x")
	for _, key := range []string{"q", "Q", keyInterrupt} {
		if v.press(key) {
			t.Errorf("%s is not the end", key)
		}
	}
}

func TestLongTextsAreTurned(t *testing.T) {
	t.Parallel()
	v := watched(t, `{"type": "task-failed", "uuid": "u", "hostname": "w@h", "timestamp": 1, "exception": "E()", "traceback": "`+strings.Repeat(`line\n`, 50)+strings.Repeat("x", 45)+`"}`)
	v.picture(30, 13)
	v.press("j")
	v.press("t")
	if got := v.picture(30, 13); strings.Count(got, "line") != 10 || !strings.Contains(got, "space:next page") {
		t.Errorf("the beginning:\n%s", got)
	}
	for range 10 {
		v.press(" ")
		v.picture(30, 13)
	}
	if got := v.picture(30, 13); !strings.Contains(got, strings.Repeat("x", 30)+"\n"+strings.Repeat("x", 15)+"\n") {
		t.Errorf("the end:\n%s", got)
	}
	v.press(keyUp)
	if got := v.picture(30, 13); strings.Contains(got, "\n"+strings.Repeat("x", 15)+"\n") {
		t.Errorf("a line up:\n%s", got)
	}
}

func TestSplitKeys(t *testing.T) {
	t.Parallel()
	for typed, want := range map[string]string{
		"jk":             "j k",
		"\x1b[A\x1bOBq":  "up down q",
		"\x1b":           "escape",
		"é\x7f\r":        "é backspace enter",
		"\x1b[5~\x1b[6~": "page up page down",
		"\x1b[1;5Aj":     "j", // control and up
		"\x1b[15~c":      "c", // F5
		"\x03\x1a\x00":   "interrupt",
		"\x1b[H\x1b[Fg":  "home end g",
		"\x1b[200":       "",
	} {
		if got := strings.Join(splitKeys(typed), " "); got != want {
			t.Errorf("%q: %q, want %q", typed, got, want)
		}
	}
}
