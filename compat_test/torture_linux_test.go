package compat_test

import (
	"cmp"
	"flag"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	tortureRounds  = flag.Int("rounds", 1, "how often TestTorture does each fault")
	tortureBrokers = flag.String("brokers", "redis,rabbitmq", "on which brokers: redis, rabbitmq, sentinel")
	tortureWorkers = flag.String("workers", "", "to which workers: go, children, celery, mixed; default: as the gate does")
	stormKills     = flag.Int("kills", 0, "how many faults of each kind TestStorm does")
	tortureFaults  = flag.String("faults", "", "which of the faults, by a pattern")
)

// arena is a broker with workers of a kind.
type arena struct{ broker, kind string }

// inGate are the arenas of the gate beside those with workers in Go alone, and the faults that are done there, once.
var inGate = map[arena][]string{
	{"redis", "children"}: {"a worker is killed", "a child is killed", "a fork server is killed"},
	{"redis", "mixed"}:    {"a worker is killed", "the workers are restarted in turn"},
}

// TestTorture does faults to workers, their network and their broker while tasks run, and accounts for every task:
// see scripts/torture. No late task is lost and no early one runs again, but for what acknowledgements that are not
// confirmed make of it (RabbitMQ); what runs again was running at a fault, or its acknowledgement was on its way;
// every worker works again within five seconds of the fault's end; beats go on; and no process is left.
func TestTorture(t *testing.T) {
	t.Parallel()
	which, err := regexp.Compile(*tortureFaults)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	rows := map[string]*row{} // by broker, workers and fault
	t.Run("all", func(t *testing.T) {
		for _, w := range arenas() {
			chosen := w.chosen(which)
			if len(chosen) == 0 {
				continue
			}
			t.Run(w.broker+"/"+w.kind, func(t *testing.T) {
				t.Parallel()
				for name, r := range w.torture(t, chosen) {
					mu.Lock()
					rows[w.broker+"|"+w.kind+"|"+name] = r
					mu.Unlock()
				}
			})
		}
	})
	t.Log("\n" + tortureTable(rows))
}

// arenas are those that were asked for, or those of the gate.
func arenas() (all []arena) {
	for _, broker := range strings.Split(*tortureBrokers, ",") {
		for _, kind := range strings.Split(cmp.Or(*tortureWorkers, "go,children,mixed"), ",") {
			all = append(all, arena{broker, kind})
		}
	}
	return all
}

// chosen are the faults of a round, in this order.
func (w arena) chosen(which *regexp.Regexp) (all []*fault) {
	few := inGate[w]
	for _, f := range faultsFor(w.broker, w.kind) {
		switch {
		case !which.MatchString(f.name), f.long && *tortureRounds == 1:
		case *tortureWorkers != "" || w.kind == "go":
			all = append(all, slices.Repeat([]*fault{f}, f.also+1)...)
		case slices.Contains(few, f.name):
			all = append(all, f)
		}
	}
	return all
}

// torture does faults in an arena.
func (w arena) torture(t *testing.T, chosen []*fault) map[string]*row {
	t.Helper()
	s := besiege(t, w.broker, w.kind, nil)
	for range *tortureRounds {
		for _, f := range chosen {
			s.suffer(f)
		}
	}
	s.end()
	rows := s.ledger.judge(t)
	if s.celerys() { // it is told, and not held against us
		return rows
	}
	for name, r := range rows {
		if r.lost+r.unexplained > 0 {
			t.Errorf("%s: %d tasks lost, %d ran again for no reason:\n%s", name, r.lost, r.unexplained, tail(strings.Join(r.details, "\n"), 2000))
		}
	}
	for _, f := range faults {
		if r := rows[f.name]; r != nil {
			if why := s.ledger.bounds(f, r); why != "" {
				t.Errorf("%s: %s", f.name, why)
			}
		}
	}
	return rows
}

func tortureTable(rows map[string]*row) string {
	cells := [][]string{{"fault", "broker", "workers", "faults", "tasks", "lost", "ended by it", "late again", "early again", "for no reason", "normal after"}}
	for _, f := range append(faults, itself) {
		for _, w := range arenas() {
			if r := rows[w.broker+"|"+w.kind+"|"+f.name]; r != nil {
				line := []string{f.name, w.broker, w.kind}
				for _, n := range []int{r.faults, r.tasks, r.lost, r.ended, r.late, r.early, r.unexplained} {
					line = append(line, fmt.Sprint(n))
				}
				normal := r.normal.Round(10 * time.Millisecond).String()
				if r.never {
					normal = "never"
				}
				cells = append(cells, append(line, normal))
			}
		}
	}
	return drawn(cells)
}
