package compat_test

import (
	"flag"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	tortureRounds  = flag.Int("rounds", 1, "how often TestTorture does each fault")
	tortureBrokers = flag.String("brokers", "redis,rabbitmq", "on which brokers: redis, rabbitmq, sentinel")
	tortureWorkers = flag.String("workers", "go", "to which workers: go, children, celery, mixed")
	tortureFaults  = flag.String("faults", "", "which of the faults, by a pattern")
)

// TestTorture does faults to workers, their network and their broker while tasks run, and accounts for every task:
// see scripts/torture. No late task is lost and no early one runs again, but for what acknowledgements that are not
// confirmed make of it (RabbitMQ); what runs again was running at a fault, or its acknowledgement was on its way;
// and every worker works again within five seconds of the fault's end.
func TestTorture(t *testing.T) {
	t.Parallel()
	which, err := regexp.Compile(*tortureFaults)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	rows := map[string]*row{} // by broker, workers and fault
	t.Run("all", func(t *testing.T) {
		for _, broker := range strings.Split(*tortureBrokers, ",") {
			for _, kind := range strings.Split(*tortureWorkers, ",") {
				t.Run(broker+"/"+kind, func(t *testing.T) {
					t.Parallel()
					for name, r := range torture(t, broker, kind, which) {
						mu.Lock()
						rows[broker+"|"+kind+"|"+name] = r
						mu.Unlock()
					}
				})
			}
		}
	})
	t.Log("\n" + tortureTable(rows))
}

// torture does all faults of a broker to workers of a kind.
func torture(t *testing.T, broker, kind string, which *regexp.Regexp) map[string]*row {
	t.Helper()
	if len(faultsFor(broker, kind)) == 0 {
		return nil
	}
	s := besiege(t, broker, kind)
	for range *tortureRounds {
		for _, f := range faultsFor(broker, kind) {
			if which.MatchString(f.name) && (!f.long || *tortureRounds > 1) {
				for range f.also + 1 {
					s.suffer(f)
				}
			}
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
		for _, broker := range strings.Split(*tortureBrokers, ",") {
			for _, kind := range strings.Split(*tortureWorkers, ",") {
				if r := rows[broker+"|"+kind+"|"+f.name]; r != nil {
					line := []string{f.name, broker, kind}
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
	}
	return drawn(cells)
}
