package compat_test

import (
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// logSteps are what is done with a worker, as Python source, and what its log says then.
var logSteps = []struct{ do, says string }{
	{"send('sum', 'tapp.add', 1, 2)", "Task tapp.add[sum] succeeded in"},
	{"send('says', 'tapp.says', 'hello, world')", "tapp.says[says]: hello, world"},
	{"send('fail', 'tapp.fail')", "Task tapp.fail[fail] raised unexpected"},
	{"send('unknown', 'tapp.nosuch', 1)", "Received unregistered task of type 'tapp.nosuch'."},
	{"send('eta', 'tapp.add', 1, 2, countdown=1)", "Task tapp.add[eta] succeeded in"},
	{"send('expired', 'tapp.add', 1, 2, expires=-5)", "Discarding revoked task: tapp.add[expired]"},
	{"app.control.revoke('revoked')", "Tasks flagged as revoked: revoked"},
	{"send('revoked', 'tapp.add', 1, 2)", "Discarding revoked task: tapp.add[revoked]"},
	{"app.control.rate_limit('tapp.nothing', '10/m')", "New rate limit for tasks of type tapp.nothing: 10/m."},
	{"app.control.time_limit('tapp.nothing', soft=5, hard=10)", "New time limits for tasks of type tapp.nothing: soft=5 hard=10"},
	{"app.control.add_consumer('q2')", "Started consuming from q2"},
	{"app.control.cancel_consumer('q2')", "Canceling queue q2"},
	{"send('ended', 'tapp.nap', 60)", "Task tapp.nap[ended] received"},
	{"app.control.revoke('ended', terminate=True)", "Terminating ended (15)"},
	{"send('after', 'tapp.add', 1, 2)", "Task tapp.add[after] succeeded in"},
	{
		"send('last', 'tapp.nap', 4); send('back', 'tapp.nap_late', 4); send('back too', 'tapp.add', 1, 2)",
		"Task tapp.add[back too] received",
	},
}

// TestWorkerLog: a Python worker and ours log the same lines for the same things.
func TestWorkerLog(t *testing.T) {
	t.Parallel()
	python, ours := startRedis(t), startRedis(t)
	theirs, own := app{broker: python.url(0)}, app{broker: ours.url(0)}
	compared := make([][]string, 2)
	for i, w := range []*process{
		theirs.startWorker(t, "-n", "w@host", "-c", "1"), startWorker(t, own, "-n", "w@host", "-c", "1"),
	} {
		for _, step := range logSteps {
			[]app{theirs, own}[i].run(t, nil, "from tapp import app\n"+
				"send = lambda id, name, *args, **options: app.send_task(name, args=args, task_id=id, **options)\n"+step.do)
			w.waitLog(t, step.says)
		}
		w.signal(t, syscall.SIGTERM)
		if code := w.exitCode(t); code != 0 {
			t.Errorf("%s: exit code %d", w.name, code)
		}
		compared[i] = loggedLines(w)
	}
	if !slices.Equal(compared[0], compared[1]) {
		t.Errorf("Celery says\n%s\n\nours says\n%s", strings.Join(compared[0], "\n"), strings.Join(compared[1], "\n"))
	}
}

var (
	logHeader = regexp.MustCompile(`^\[[\d-]+ [\d:,]+: (\w+)/[\w-]+\] `)
	logVaries = regexp.MustCompile(`redis://\S+|in [\d.e-]+s:`)
)

// loggedLines are the first lines of a log's records, sorted: what happens at the same time may
// be logged in either order.
func loggedLines(w *process) (lines []string) {
	for line := range strings.Lines(w.log.String()) {
		if logHeader.MatchString(line) {
			line = logVaries.ReplaceAllString(logHeader.ReplaceAllString(line, "$1 "), "…")
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	slices.Sort(lines)
	return lines
}
