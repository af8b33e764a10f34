package control

import (
	"fmt"
	"math"
	"os"
	"strings"
)

// stats is what Celery's worker tells of itself (celery/worker/worker.py:
// WorkController.stats). The pool looks like prefork's, with one entry per slot; its
// processes are all this one.
func (m *Mailbox) stats(others) any {
	totals, _ := m.w.Totals()
	stats := map[string]any{
		"total":          totals,
		"pid":            os.Getpid(),
		"clock":          fmt.Sprint(m.w.Clock().Value()),
		"uptime":         int64(math.RoundToEven(m.w.Uptime().Seconds())),
		"pool":           m.poolStats(),
		"broker":         m.cfg.BrokerInfo,
		"prefetch_count": m.w.Operations().Prefetch(),
		"rusage":         rusage(),
	}
	if state, scales := m.w.Operations().Autoscale(); scales {
		stats["autoscaler"] = map[string]any{
			"max": state.Max, "min": state.Min, "current": state.Current, "qty": state.Load,
		}
	}
	return stats
}

func (m *Mailbox) poolStats() map[string]any {
	pool := m.w.Operations().Executors()[0]
	processes := make([]int, pool.Slots)
	for i := range processes {
		processes[i] = pool.PIDs[i%len(pool.PIDs)]
	}
	hard, soft := m.w.Operations().TimeLimits()
	return map[string]any{
		"implementation":           pool.Implementation,
		"max-concurrency":          pool.Slots,
		"processes":                processes,
		"max-tasks-per-child":      "N/A",
		"put-guarded-by-semaphore": false,
		"timeouts":                 []any{soft.Seconds(), hard.Seconds()},
		"writes":                   slotStats(pool.Runs),
	}
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
