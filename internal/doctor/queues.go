package doctor

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// consumers are the names of workers by the queue that they consume, those that do not answer but are registered, too.
func (f *facts) consumers() map[string][]string {
	of := map[string][]string{}
	for _, w := range f.fleet {
		for _, q := range w.Queues {
			of[q] = append(of[q], w.Node)
		}
	}
	for _, r := range f.registered {
		for _, q := range r.Queues {
			if r.Alive && !slices.Contains(of[q], r.Hostname) {
				of[q] = append(of[q], r.Hostname)
			}
		}
	}
	return of
}

// routed are the queues that task_queues and task_routes name.
func (f *facts) routed() map[string]bool {
	named := map[string]bool{}
	for _, q := range f.Settings.TaskQueues {
		named[q.Name] = true
	}
	for _, r := range f.Settings.TaskRoutes {
		if q, err := f.Settings.Queues().Get(r.Queue); r.Queue != "" && err == nil {
			named[q.Name] = true
		}
	}
	return named
}

// unconsumedQueues finds queues that no worker takes messages from.
func unconsumedQueues(f *facts) (found []Finding) {
	if !f.asked || f.queues == nil {
		return nil
	}
	consumers, routed := f.consumers(), f.routed()
	waiting, empty := map[string]int{}, map[string]bool{}
	for name := range routed {
		empty[name] = len(consumers[name]) == 0
	}
	for _, q := range f.queues {
		consumed := len(consumers[q.Name]) > 0 || f.figures.Consumers && q.Consumers > 0
		if consumed {
			empty[q.Name] = false
		} else if n := ready(q); n > 0 {
			waiting[q.Name], empty[q.Name] = n, false
		}
	}
	if len(waiting) > 0 {
		var rows []string
		for _, name := range slices.Sorted(maps.Keys(waiting)) {
			rows = append(rows, fmt.Sprintf("%s: %s", cmp.Or(name, "(unknown)"), messages(waiting[name], "waits", "wait")))
		}
		found = append(found, Finding{
			Severity: Error, Title: "Messages wait in " + number(len(waiting), "queue that no worker consumes", "queues that no worker consumes"), Details: rows,
			Meaning: "These tasks do not run.",
			Advice: "Start a worker with -Q " + strings.Join(slices.Sorted(maps.Keys(waiting)), ",") + " (or, for now: " + f.Program + " control add_consumer NAME). If the name is a mistake, " +
				"mend task_routes or the sender, and drop what waits with " + f.Program + " purge -Q NAME.",
		})
	}
	maps.DeleteFunc(empty, func(_ string, unconsumed bool) bool { return !unconsumed })
	if len(empty) > 0 && len(f.fleet) > 0 {
		names := slices.Sorted(maps.Keys(empty))
		found = append(found, Finding{
			Severity: Warning, Title: "The settings name " + number(len(empty), "queue that no worker consumes", "queues that no worker consumes"), Details: names,
			Meaning: "Nothing waits there now, but tasks that are sent there will not run.",
			Advice:  "Start a worker with -Q " + strings.Join(names, ",") + ", or take the queue out of task_queues and task_routes.",
		})
	}
	return found
}

// deadLetters tells what is among the dead letters.
func deadLetters(f *facts) []Finding {
	if f.buried == 0 {
		return nil
	}
	reasons := map[string]int{}
	for _, l := range f.letters {
		reasons[fmt.Sprintf("%s, from queue %s: %s", cmp.Or(l.Task, "not readable"), l.Queue, l.Reason)]++
	}
	kinds := slices.SortedFunc(maps.Keys(reasons), func(a, b string) int {
		return cmp.Or(reasons[b]-reasons[a], strings.Compare(a, b))
	})
	const most = 8
	var rows []string
	for i, kind := range kinds {
		if i == most {
			rows = append(rows, fmt.Sprintf("and %d more kinds", len(kinds)-most))
			break
		}
		rows = append(rows, fmt.Sprintf("%d × %s", reasons[kind], kind))
	}
	if f.buried > len(f.letters) {
		rows = append(rows, fmt.Sprintf("(of the oldest %d)", len(f.letters)))
	}
	return []Finding{{
		Severity: Warning, Title: number(f.buried, "dead letter", "dead letters"), Details: rows,
		Meaning: "Workers have given these messages up: nobody can read them, or they killed worker after worker. They do not run.",
		Advice:  f.Program + " dlq list, dlq show ID; when the cause is mended, dlq replay ID, or else dlq drop ID.",
	}}
}

// parkedMessages tells of messages that wait in Redis until their time.
func parkedMessages(f *facts) (found []Finding) {
	total := 0
	var alone []string
	for _, q := range f.parked {
		total += q.n
		if len(q.consumers) == 0 {
			alone = append(alone, fmt.Sprintf("%s: %d", q.name, q.n))
		}
	}
	switch {
	case alone != nil:
		return []Finding{{
			Severity: Warning, Title: "Messages are parked until their time in queues that no worker of Apium's consumes", Details: alone,
			Meaning: "Python's workers find them when they are due, but up to 100 seconds late. Where no worker runs at all, nobody does.",
			Advice:  "If Python's workers are to take over: " + f.Program + " unpark gives them the messages, and they are on time. Else start a worker of Apium's for the queue.",
		}}
	case total > 0:
		return []Finding{{Severity: Note, Title: number(total, "message is", "messages are") + " parked until their time"}}
	}
	return nil
}
