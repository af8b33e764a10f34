package explorer

import (
	"strconv"
	"time"
)

// A History is what an operation has heard so far. The zero value is that of one that has not begun.
type History struct {
	answers []answer
	since   time.Duration // what it heard last
	waits   time.Duration // until it goes on by itself
}

// An answer is what an operation was told, and how long after what came before. Nil is one that was lost.
type answer struct {
	after time.Duration
	reply []byte
}

// Pass lets time pass.
func (h *History) Pass(d time.Duration) { h.since += d }

// Ready tells whether the operation does not wait for time to pass.
func (h *History) Ready() bool { return h.since >= h.waits }

// Age is how long ago it began.
func (h *History) Age() time.Duration {
	age := h.since
	for _, was := range h.answers {
		age += was.after
	}
	return age
}

// Append writes what tells it apart.
func (h *History) Append(to []byte) []byte {
	to = strconv.AppendInt(strconv.AppendInt(to, int64(h.since), 10), int64(h.waits), 36)
	for _, was := range h.answers {
		to = strconv.AppendQuote(strconv.AppendInt(append(to, ' '), int64(was.after), 10), string(was.reply))
		if was.reply == nil {
			to = append(to, "lost"...)
		}
	}
	return append(to, '\n')
}

// Taken is what came of a command.
type Taken struct {
	Redis   Redis
	History History // of an operation that has not ended
	Reply   []byte  // whether or not it was lost; nil: there was no command
	Ended   bool
}
