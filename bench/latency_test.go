package main

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestQuantile(t *testing.T) {
	var all []time.Duration
	for i := range 10_000 {
		all = append(all, time.Duration(i+1))
	}
	for permille, want := range map[int]time.Duration{500: 5000, 990: 9900, 999: 9990} {
		if got := quantile(all, permille); got != want {
			t.Errorf("%d of 1000: %d, want %d", permille, got, want)
		}
	}
	if got := quantile(all[:1], 999); got != 1 {
		t.Errorf("of one: %d", got)
	}
}

// TestLoads: without Celery's capacity nothing is called a share of it.
func TestLoads(t *testing.T) {
	const alone = "[{none 0} {10 % 2000} {50 % 10000} {90 % 18000}]"
	if got := fmt.Sprint(loadsOf(20_000, 0)); got != alone {
		t.Errorf("%s, want %s", got, alone)
	}
	if got, want := fmt.Sprint(loadsOf(20_000, 400)), strings.Replace(alone, "{10", "{90 % of Celery's 360} {10", 1); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// TestFeed: a worker always has some messages, and what waits is a small multiple of what it takes meanwhile.
func TestFeed(t *testing.T) {
	for _, perLook := range []int{0, 1, 3, 40, 300} {
		var f feed
		queued, most := 0, max(fewest, 4*perLook)
		for look := range 1000 {
			published := f.published
			n := f.missing(queued)
			if queued += n; f.published != published+n || queued > most {
				t.Fatalf("%d taken at a time: %d wait after look %d, %d of %d published", perLook, queued, look, n, f.published)
			}
			if queued < perLook && look > 20 {
				t.Fatalf("%d taken at a time: it runs out after look %d, where %d wait", perLook, look, queued)
			}
			queued -= min(queued, perLook)
		}
	}
}

func TestClients(t *testing.T) {
	const warm = "echo null; read line; "
	for name, c := range map[string]struct{ script, want string }{
		"all is well":         {warm + "echo '[3, 5]'", "[3ns 5ns]"},
		"dies at the start":   {"echo broken >&2; exit 3", "has ended (exit status 3): EOF\nbroken\n"},
		"dies meanwhile":      {warm + "echo broken >&2; exit 3", "has ended (exit status 3): EOF\nbroken\n"},
		"is killed meanwhile": {warm + "kill -KILL $$", "has ended (signal: killed): EOF\n"},
		"writes something":    {warm + "echo '[3'; echo broken >&2; exit 0", "has ended ("},
	} {
		t.Run(name, func(t *testing.T) {
			well := exec.Command("sh", "-c", warm+"exec sleep 100")
			all, err := startClients([]*exec.Cmd{exec.Command("sh", "-c", c.script), well})
			defer func() {
				all.stop()
				if slices.ContainsFunc(all.list, func(cmd *exec.Cmd) bool { return cmd.ProcessState == nil }) {
					t.Error("a client runs on")
				}
			}()
			var said told
			if err == nil {
				err = all.begin()
			}
			if err == nil {
				said = <-all.told
				err = said.err
			}
			got := fmt.Sprint(said.waited)
			if err != nil {
				got = err.Error()
			}
			if !strings.Contains(got, c.want) {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}
