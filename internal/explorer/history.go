package explorer

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"time"
)

// A History is what an operation has heard so far. The zero value is that of one that has not begun.
type History struct {
	answers []answer
	since   time.Duration // what it heard last
	waits   time.Duration // until it goes on by itself
	coming  []byte        // the answer to its command, which has been done; nil: it has not
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
	if h.coming != nil {
		to = strconv.AppendQuote(append(to, " coming "...), string(h.coming))
	}
	return append(to, '\n')
}

// A Fate is what becomes of a command and its answer.
type Fate int

// What may become of them.
const (
	Heard   Fate = iota // it is done, and answered
	Unheard             // it is done, and the answer is lost
	Late                // its connection breaks before the server has read it: it may be done later
	Slow                // it is done, and the answer is on its way for a while
)

// String returns what a step's name ends with.
func (f Fate) String() string { return [...]string{"", ", unheard", ", late", ", slow"}[f] }

// Hears tells whether all that an operation can do next is to hear an answer that was slow.
func (h *History) Hears() bool { return h.coming != nil }

// A Straggler is a command that is late.
type Straggler struct {
	text []byte
	made time.Time
	age  time.Duration
}

// Pass lets time pass.
func (s *Straggler) Pass(d time.Duration) { s.age += d }

// Append writes what tells it apart.
func (s *Straggler) Append(to []byte) []byte { return append(to, s.at(time.Unix(0, 0))...) }

// stamps are the times in a command.
var stamps = regexp.MustCompile(`\r\n\d{9}\.\d{6}\r\n`)

// at is the command with its times as they would be if it had been made that long before a moment.
func (s *Straggler) at(now time.Time) []byte {
	return stamps.ReplaceAllFunc(s.text, func(stamp []byte) []byte {
		was, _ := strconv.ParseFloat(string(stamp[2:len(stamp)-2]), 64)
		ago := time.Duration(math.Round(was*1e6))*time.Microsecond - time.Duration(s.made.UnixNano()) - s.age
		return fmt.Appendf(nil, "\r\n%.6f\r\n", float64(now.Add(ago).UnixMicro())/1e6)
	})
}

// Taken is what came of a command.
type Taken struct {
	Redis   Redis
	History History // of an operation that has not ended
	Reply   []byte  // whether or not it was lost; nil: there was no command
	Ended   bool
	Late    Straggler
}
