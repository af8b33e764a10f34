package doctor

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/apium/apium/protocol/pyjson"
)

// fails tells whether a worker fails tasks of a queue that it does not know; else it leaves them to others.
func (w *Worker) fails(queue string) bool {
	policy := w.settings["apium_unknown_task"]
	if pyjson.Kind(policy) == '{' {
		if own := pyjson.Member(policy, queue); own != nil {
			policy = own
		} else {
			policy = pyjson.Member(policy, "*")
		}
	}
	action, _, _ := strings.Cut(text(policy), ":")
	return action == "" || action == "fail"
}

// tasksNotAllKnow finds tasks that go to a queue whose consumers do not all know them.
func tasksNotAllKnow(f *facts) (found []Finding) {
	consumers := map[string][]*Worker{}
	for _, w := range f.fleet {
		for _, q := range w.Queues {
			consumers[q] = append(consumers[q], w)
		}
	}
	router := f.Settings.Router()
	for _, queue := range slices.Sorted(maps.Keys(consumers)) {
		if len(consumers[queue]) < 2 {
			continue
		}
		known := map[string]int{}
		for _, w := range consumers[queue] {
			for _, task := range w.Tasks {
				if router.Queue(task) == queue {
					known[task]++
				}
			}
		}
		ignorant := map[string][]string{} // workers by what they do not know
		for _, w := range consumers[queue] {
			if !w.fails(queue) || len(w.Tasks) == 0 {
				continue
			}
			lacks := maps.Clone(known)
			for _, task := range w.Tasks {
				delete(lacks, task)
			}
			if names := slices.Sorted(maps.Keys(lacks)); len(names) > 0 {
				ignorant[some(names)] = append(ignorant[some(names)], w.String())
			}
		}
		var rows []string
		for _, unknown := range slices.Sorted(maps.Keys(ignorant)) {
			rows = append(rows, "not known to "+some(ignorant[unknown])+": "+unknown)
		}
		if rows != nil {
			found = append(found, Finding{
				Severity: Error, Title: fmt.Sprintf("Not all workers of queue %s know the tasks that go there", queue), Details: rows,
				Meaning: "Whoever is free gets a message: a worker that does not know its task fails it (NotRegistered), although others could run it.",
				Advice: "Give the workers the same tasks, or send these to a queue of their own (task_routes). A worker of Apium's can leave what it does not know to the others: " +
					"--unknown-task leave, or forward:QUEUE.",
			})
		}
	}
	return found
}

// tasksOfOneKind tells which tasks only Python's workers know, and which only Apium's.
func tasksOfOneKind(f *facts) []Finding {
	python, apium := map[string]bool{}, map[string]bool{}
	for _, w := range f.fleet {
		known := python
		if w.IsApium() {
			known = apium
		}
		for _, task := range w.Tasks {
			known[task] = true
		}
	}
	if len(python) == 0 || len(apium) == 0 {
		return nil
	}
	both := maps.Clone(python)
	maps.DeleteFunc(both, func(task string, _ bool) bool { return !apium[task] })
	var rows []string
	for _, kind := range []struct {
		whose string
		tasks map[string]bool
	}{{"Python's workers", python}, {"Apium's", apium}} {
		maps.DeleteFunc(kind.tasks, func(task string, _ bool) bool { return both[task] })
		if names := slices.Sorted(maps.Keys(kind.tasks)); len(names) > 0 {
			rows = append(rows, fmt.Sprintf("only %s: %s", kind.whose, some(names)))
		}
	}
	if rows == nil {
		return nil
	}
	return []Finding{{Severity: Note, Title: "Tasks that one kind of worker knows", Details: rows}}
}
