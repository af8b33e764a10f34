package worker

import "strconv"

// lately remembers something of the last messages that it was told of, without growing for ever.
// It needs a lock around it.
type lately[V any] struct{ now, older map[string]V }

// latelyKnown is how many messages are remembered at least; twice as many at most.
const latelyKnown = 10_000

// sameRun is what all deliveries of one run of a task have in common.
func sameRun(r *request) string { return r.ID + " " + strconv.Itoa(r.Retries) }

func (l *lately[V]) note(message string, value V) {
	if l.now == nil || len(l.now) >= latelyKnown {
		l.now, l.older = map[string]V{}, l.now
	}
	l.now[message] = value
}

// of is what is remembered of a message.
func (l *lately[V]) of(message string) V {
	if value, known := l.now[message]; known {
		return value
	}
	return l.older[message]
}

func (l *lately[V]) forget(message string) {
	delete(l.now, message)
	delete(l.older, message)
}

func (l *lately[V]) len() int { return len(l.now) + len(l.older) }
