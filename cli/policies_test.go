package cli

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/apium/apium/tasks"
)

func TestWaitingAndPolicies(t *testing.T) {
	t.Parallel()
	forward := func(queue string) tasks.UnknownPolicy {
		return tasks.UnknownPolicy{Action: tasks.UnknownForward, Queue: queue}
	}
	leave := tasks.UnknownPolicy{Action: tasks.UnknownLeave}
	type want struct {
		Unknown         tasks.UnknownPolicy
		ByQueue         map[string]tasks.UnknownPolicy
		ParkAfter       time.Duration
		ETATaskLimit    int
		MaxRedeliveries int
	}
	none := map[string]tasks.UnknownPolicy{}
	for _, tt := range []struct {
		args []string
		want want
	}{
		{nil, want{tasks.UnknownPolicy{}, none, 0, 0, 10}},
		{
			[]string{"--park-after", "1.5", "--eta-task-limit", "7", "--max-redeliveries", "0"},
			want{tasks.UnknownPolicy{}, none, 1500 * time.Millisecond, 7, -1},
		},
		{[]string{"--unknown-task", "forward:python", "--max-redeliveries", "3"}, want{forward("python"), none, 0, 0, 3}},
		{
			[]string{"--unknown-task", "leave", "--unknown-task", "high=park", "--unknown-task", "low=forward:a,mid=fail"},
			want{leave, map[string]tasks.UnknownPolicy{
				"high": {Action: tasks.UnknownPark}, "low": forward("a"), "mid": {},
			}, 0, 0, 10},
		},
	} {
		s := readSettings(t, append([]string{"worker"}, tt.args...)...).worker
		got := want{s.Unknown, s.UnknownByQueue, s.ParkAfter, s.ETATaskLimit, s.MaxRedeliveries}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%v (-want +got):\n%s", tt.args, diff)
		}
	}
}

// Flags win over the settings file, queue by queue.
func TestPoliciesOfSettingsAndFlags(t *testing.T) {
	t.Parallel()
	config := writeConfig(t, "apium_unknown_task = {'*' = 'park', high = 'fail', low = 'leave'}\napium_max_redeliveries = 5\n"+
		"apium_park_after = 3\nworker_eta_task_limit = 9")
	s := readSettings(t, "worker", config, "--unknown-task", "low=forward:python", "--park-after", "4").worker
	if s.Unknown.Action != tasks.UnknownPark || s.UnknownByQueue["high"].Action != tasks.UnknownFail ||
		s.UnknownByQueue["low"].Queue != "python" || s.MaxRedeliveries != 5 || s.ParkAfter != 4*time.Second || s.ETATaskLimit != 9 {
		t.Errorf("%+v", s)
	}
	// Remote control shows what is in force: apium doctor goes by that.
	shown := map[string]any{"*": "park", "high": "fail", "low": "forward:python"}
	if diff := cmp.Diff(shown, readSettings(t, "worker", config, "--unknown-task", "low=forward:python").conf.Table(false)["apium_unknown_task"]); diff != "" {
		t.Errorf("shown (-want +got):\n%s", diff)
	}
	if got := readSettings(t, "worker", "--unknown-task", "leave").conf.Table(false)["apium_unknown_task"]; got != "leave" {
		t.Errorf("shown: %v", got)
	}
	shares := readSettings(t, "worker", writeConfig(t, "apium_share = {a = '10%', b = 5}"), "--share", "b=50%,c=0", "--share", "d=2.5")
	if want := (map[string]tasks.Share{"a": 1000, "b": 5000, "c": 0, "d": 250}); !maps.Equal(shares.worker.Shares, want) {
		t.Errorf("shares %v, want %v", shares.worker.Shares, want)
	}
	if diff := cmp.Diff(map[string]any{"a": "10%", "b": "50%", "c": "0%", "d": "2.5%"}, shares.conf.Table(false)["apium_share"]); diff != "" {
		t.Errorf("shown (-want +got):\n%s", diff)
	}
	shadows := readSettings(t, "worker", writeConfig(t, "apium_shadow = {a = '10%', b = 5}"), "--shadow", "b,c=0.5", "--share", "a=1")
	if want := (map[string]tasks.Share{"a": 1000, "b": 10000, "c": 50}); !maps.Equal(shadows.worker.Shadows, want) || len(shadows.worker.Shares) != 1 {
		t.Errorf("shadows %v, want %v", shadows.worker.Shadows, want)
	}
	if diff := cmp.Diff(map[string]any{"a": "10%", "b": "100%", "c": "0.5%"}, shadows.conf.Table(false)["apium_shadow"]); diff != "" {
		t.Errorf("shown (-want +got):\n%s", diff)
	}
	for args, want := range map[string]string{
		"--shadow a=x":               "Invalid value for '--shadow': a: 'x' is no percentage from 0 to 100",
		"--shadow =5":                "Invalid value for '--shadow': '=5' names no task",
		"--shadow no.such":           "task no.such cannot have a shadow: it has no handler in Go",
		"--share 10%":                "10%: '' is no percentage from 0 to 100",
		"--share a=":                 "a: '' is no percentage from 0 to 100",
		"--share =5":                 "'=5' names no task",
		"--share a=x":                "a: 'x' is no percentage from 0 to 100",
		"--unknown-task drop":        "'drop' is not one of fail, leave, park, forward:<queue>",
		"--unknown-task =leave":      "'=leave' names no queue",
		"--unknown-task a=forward:a": "'a=forward:a' forwards a queue to itself",
		"--max-redeliveries -1":      "-1 is negative",
		"--eta-task-limit 0":         "0 is not at least 1",
	} {
		if status, _, stderr := call(t, append([]string{"worker"}, strings.Fields(args)...)...); status != exitUsage || !strings.Contains(stderr, want) {
			t.Errorf("%s: status %d, %s", args, status, stderr)
		}
	}
}

func TestPolicyOfAQueueThatIsNotConsumed(t *testing.T) {
	t.Parallel()
	s := readSettings(t, "worker", "-Q", "mail,web", "--unknown-task", "fail,mial=leave,web=park")
	want := "--unknown-task mial=… has no effect: this worker consumes mail, web. Did you mean 'mail'?"
	if !slices.Equal(s.warnings, []string{want}) {
		t.Errorf("warnings %q, want %q", s.warnings, want)
	}
}
