package control

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/apium/apium/worker"
)

// poolStats tells of the worker's pool, as Celery does, and of its other executors.
func (m *Mailbox) poolStats() (pool map[string]any, others map[string]any) {
	hard, soft := m.w.Operations().TimeLimits()
	timeouts := []any{seconds(soft), seconds(hard)}
	others = map[string]any{}
	for _, e := range m.w.Operations().Executors() {
		if e.Pool {
			pool = poolInfo(&e, timeouts)
		} else {
			other := poolInfo(&e, timeouts)
			other["prefetch_count"] = e.Prefetch
			others[cmp.Or(e.Name, "go")] = other
		}
	}
	return pool, others
}

// seconds is a time limit as billiard has it; 0: none.
func seconds(limit time.Duration) any {
	if limit == 0 {
		return 0
	}
	return limit.Seconds()
}

// The modules of Celery's pools, each of which tells other things of itself.
const (
	solo     = "celery.concurrency.solo"
	threads  = "celery.concurrency.thread"
	gevent   = "celery.concurrency.gevent"
	eventlet = "celery.concurrency.eventlet"
)

func moduleOf(e *worker.ExecutorState) string {
	module, _, _ := strings.Cut(e.Implementation, ":")
	return module
}

// poolInfo is what a pool tells of itself (celery/concurrency: TaskPool._get_info). One that is
// none of Celery's looks like prefork's.
func poolInfo(e *worker.ExecutorState, timeouts []any) map[string]any {
	info := map[string]any{"implementation": e.Implementation, "max-concurrency": e.Slots}
	switch moduleOf(e) {
	case solo:
		info["processes"], info["max-tasks-per-child"] = processes(e), nil
		info["put-guarded-by-semaphore"], info["timeouts"] = true, []any{}
	case threads:
		info["threads"] = e.Slots
	case gevent:
	case eventlet:
		info["free-threads"], info["running-threads"] = e.Slots-e.Active, e.Active
	default:
		info["processes"], info["max-tasks-per-child"] = processes(e), "N/A"
		if e.MaxTasksPerChild > 0 {
			info["max-tasks-per-child"] = e.MaxTasksPerChild
		}
		info["put-guarded-by-semaphore"], info["timeouts"], info["writes"] = false, timeouts, slotStats(e.Runs)
	}
	return info
}

// processes has an entry for each slot of a pool whose slots are all in one process, as whoever
// counts them wants to know how many tasks can run.
func processes(e *worker.ExecutorState) []int {
	if e.Name != "" {
		return append([]int{}, e.PIDs...)
	}
	all := make([]int, e.Slots)
	for i := range all {
		all[i] = e.PIDs[0]
	}
	return all
}

// slotStats says how evenly tasks are spread over the slots, in the form in which prefork
// says it of its processes (celery/concurrency/prefork.py: AsynPool.human_write_stats).
func slotStats(runs []int64) map[string]any {
	var total int64
	for _, n := range runs {
		total += n
	}
	var shares, raw []string
	for _, n := range runs {
		if n > 0 {
			shares = append(shares, fmt.Sprintf("%.2f", float64(n)/float64(total)))
			raw = append(raw, fmt.Sprint(n))
		}
	}
	average := 0.0
	if len(raw) > 0 {
		average = 1 / float64(len(raw))
	}
	return map[string]any{
		"total": total, "avg": fmt.Sprintf("%.2f", average), "all": strings.Join(shares, ", "), "raw": strings.Join(raw, ", "),
		"strategy": "fair", "inqueues": map[string]any{"total": len(runs), "active": 0},
	}
}
