package worker

import "sync"

// comesAgain remembers messages that were announced as received, and went back as they were because
// no slot came free for them. Should this worker get one again, it is not announced again:
// monitors would count it twice.
type comesAgain struct {
	mu       sync.Mutex
	messages lately[bool]
}

func (c *comesAgain) note(requests []*request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range requests {
		if r.announced {
			c.messages.note(sameRun(r), true)
		}
	}
}

// take tells whether a message was noted, and forgets it.
func (c *comesAgain) take(r *request) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.messages.len() == 0 {
		return false
	}
	message := sameRun(r)
	known := c.messages.of(message)
	c.messages.forget(message)
	return known
}
