package doctor

import (
	"fmt"
	"slices"
)

func noWorkers(f *facts) []Finding {
	if !f.asked || len(f.fleet) > 0 {
		return nil
	}
	finding := Finding{
		Severity: Error, Title: fmt.Sprintf("No worker answers within %v", f.Timeout),
		Meaning: "Either none runs, or they use another broker, virtual host, database or key prefix than these settings, " +
			"have remote control disabled, or are too busy.",
		Advice: "See that workers run, and that they print this broker in their banners. Where they are busy, give them longer: --timeout 5.",
	}
	return []Finding{finding}
}

// silentWorkers finds workers that show signs of life and do not answer.
func silentWorkers(f *facts) []Finding {
	if !f.asked {
		return nil
	}
	silent := map[string]string{}
	for _, r := range f.registered {
		if r.Alive && r.Hostname != "" && f.worker(r.Hostname) == nil {
			silent[r.Hostname] = "consumes " + some(r.Queues)
		}
	}
	for node := range f.clocks {
		if f.worker(node) == nil {
			silent[node] = "sends heartbeats"
		}
	}
	if len(silent) == 0 {
		return nil
	}
	return []Finding{{
		Severity: Warning, Title: number(len(silent), "worker lives", "workers live") + ", but did not answer", Details: lines(silent),
		Meaning: "What they consume, know and hold is not known here. status, inspect and control do not reach them either.",
		Advice: fmt.Sprintf("If worker_enable_remote_control is off there, that is why. Else they are too busy to answer within %v (try --timeout 5) "+
			"or hang: see their logs.", f.Timeout),
	}}
}

func doubleNames(f *facts) []Finding {
	if len(f.doubles) == 0 {
		return nil
	}
	return []Finding{{
		Severity: Warning, Title: "Several workers have the same name", Details: f.doubles,
		Meaning: "Monitors take them for one, inspect shows but one of them, and what is told to one is told to all.",
		Advice:  "Give each a name of its own: -n worker1@%h.",
	}}
}

// number is a number and what it counts.
func number(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// lines are the entries of a table, sorted.
func lines(table map[string]string) (all []string) {
	for name, what := range table {
		all = append(all, name+" "+what)
	}
	slices.Sort(all)
	return all
}
