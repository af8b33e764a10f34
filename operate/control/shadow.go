package control

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/apium/apium/internal/logline"
	"github.com/apium/apium/worker"
)

// Shadow is what a worker replies of one task to "shadows": see [worker.Shadow].
type Shadow struct {
	Share      string `json:"share"`
	Same       uint64 `json:"same"`
	Different  uint64 `json:"different"`
	Uncompared uint64 `json:"uncompared"`
	Timeout    uint64 `json:"timeout"`
	Dropped    uint64 `json:"dropped"`
	// Python and Go are how long the last runs took, in seconds.
	Python []float64 `json:"python"`
	Go     []float64 `json:"go"`
	// Differences are the last ones, the newest first.
	Differences []ShadowDifference `json:"differences"`
}

// ShadowDifference is one of a Shadow's: see [worker.ShadowDifference].
type ShadowDifference struct {
	Time   float64 `json:"time"` // Unix time, in seconds
	ID     string  `json:"id"`
	Args   string  `json:"args"`
	Kwargs string  `json:"kwargs"`
	Where  string  `json:"where"`
	Python string  `json:"python"`
	Go     string  `json:"go"`
}

// shadow changes of how many of a task's messages this worker runs a copy in Go.
func (m *Mailbox) shadow(task string, given json.RawMessage, _ others) (any, error) {
	share, err := readShare(given)
	if err != nil {
		return failed(err.Error()), nil
	}
	switch err := m.w.Operations().SetShadow(task, share); {
	case errors.Is(err, worker.ErrUnknownTask):
		m.log.Error("Shadow attempt for unknown task "+task, logline.EventKey, "Shadow attempt for unknown task", "task_name", task)
		return failed("unknown task"), nil
	case err != nil:
		return failed(err.Error()), nil
	}
	m.log.Info("New shadow of tasks of type "+task+": "+share.String()+".", logline.EventKey, "New shadow", "task_name", task, "share", share.String())
	return succeeded("runs a copy of " + share.String() + " in Go, takes " + m.w.Shares()[task].String()), nil
}

// shadows tells how shadows do.
func (m *Mailbox) shadows(_ others) (any, error) {
	all := map[string]Shadow{}
	for _, s := range m.w.Shadows() {
		told := Shadow{
			Share: s.Share.String(), Same: s.Counts[worker.ShadowSame], Different: s.Counts[worker.ShadowDifferent],
			Uncompared: s.Counts[worker.ShadowUncompared], Timeout: s.Counts[worker.ShadowTimeout], Dropped: s.Counts[worker.ShadowDropped],
			Python: inSeconds(s.Python.Last), Go: inSeconds(s.Go.Last), Differences: []ShadowDifference{},
		}
		for _, d := range s.Differences {
			told.Differences = append(told.Differences, ShadowDifference{
				Time: float64(d.At.UnixMicro()) / 1e6, ID: d.TaskID, Args: d.Args, Kwargs: d.Kwargs, Where: d.Where, Python: d.Python, Go: d.Go,
			})
		}
		all[s.Task] = told
	}
	return all, nil
}

func inSeconds(all []time.Duration) []float64 {
	told := make([]float64, len(all))
	for i, d := range all {
		told[i] = d.Seconds()
	}
	return told
}
