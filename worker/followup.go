package worker

import "time"

// A retry waits this long, at most, until the run before it is answered for, and looks this often.
const (
	followMost  = time.Second
	followAgain = 5 * time.Millisecond
)

// followsTooSoon has a retry wait while this worker still runs what it is a retry of: that has
// published it, and its record, RETRY, which it hands over a moment later, is not to be stored over
// that of the retry: whoever waits for the task would wait for ever.
func (in *intake) followsTooSoon(r *request) bool {
	now := time.Now()
	if r.follows.IsZero() {
		r.follows = now
	}
	if now.Sub(r.follows) >= followMost || !in.runner.runsBefore(r) {
		return false
	}
	r.due = now.Add(followAgain)
	in.schedule.wait(r)
	return true
}

// runsBefore tells whether an earlier run of a request's task is not answered for yet.
func (rn *runner) runsBefore(r *request) bool {
	for _, other := range rn.active() {
		if other.ID == r.ID && other.Retries < r.Retries {
			return true
		}
	}
	return false
}
