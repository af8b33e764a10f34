package control

import (
	"fmt"
	"math"
	"os"
)

// stats is what Celery's worker tells of itself (celery/worker/worker.py:
// WorkController.stats). A worker with more than one executor tells of the others beside the pool.
func (m *Mailbox) stats(others) any {
	totals, _ := m.w.Totals()
	pool, more := m.poolStats()
	stats := map[string]any{
		"total":          totals,
		"pid":            os.Getpid(),
		"clock":          fmt.Sprint(m.w.Clock().Value()),
		"uptime":         int64(math.RoundToEven(m.w.Uptime().Seconds())),
		"pool":           pool,
		"broker":         m.cfg.BrokerInfo,
		"prefetch_count": m.w.Operations().Prefetch(),
		"rusage":         rusage(),
	}
	if len(more) > 0 {
		stats["other_pools"] = more
	}
	if state, scales := m.w.Operations().Autoscale(); scales {
		stats["autoscaler"] = map[string]any{
			"max": state.Max, "min": state.Min, "current": state.Current, "qty": state.Load,
		}
	}
	return stats
}
