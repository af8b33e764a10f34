package worker

// mix knows for which pools the messages of each queue have been.
type mix struct {
	pools  int
	queues map[string][]float64 // of each pool, the share of the messages, weighted by how long ago they came
}

const (
	// mixWeight is what the newest message counts.
	mixWeight = 1.0 / 32
	// mixNone is a share that does not count: the last 150 messages were for others.
	mixNone = 0.01
)

func newMix(pools int) *mix { return &mix{pools: pools, queues: map[string][]float64{}} }

// note counts a message.
func (m *mix) note(queue string, pool int) {
	shares := m.queues[queue]
	if shares == nil {
		shares = make([]float64, m.pools)
		m.queues[queue] = shares
		shares[pool] = 1
	}
	for i := range shares {
		shares[i] -= shares[i] * mixWeight
	}
	shares[pool] += mixWeight
}

// expects tells whether messages of a queue are to be expected for one of some pools.
func (m *mix) expects(queue string, pools []bool) bool {
	for i, share := range m.queues[queue] {
		if share > mixNone && pools[i] {
			return true
		}
	}
	return false
}

// shares are those of all queues that some function does not leave out, which deliver alike: they
// are served in turn. nil: nothing is known.
func (m *mix) shares(without func(queue string) bool) []float64 {
	var sum []float64
	n := 0.0
	for queue, shares := range m.queues {
		if without != nil && without(queue) {
			continue
		}
		if sum == nil {
			sum = make([]float64, m.pools)
		}
		for i, share := range shares {
			sum[i] += share
		}
		n++
	}
	for i := range sum {
		sum[i] /= n
	}
	return sum
}
