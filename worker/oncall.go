package worker

import "time"

// onCall is how many messages a broker that hands them over before they are claimed is to hand over
// while they are run fast: about as many as have run in the last tenth of a second. With two slots
// eight messages are run long before the broker has heard of it, and quorum queues hand over more only
// when an acknowledgement is replicated. What exceeds the prefetch limit stays with the consumer,
// unclaimed: should the slots be stuck, the consumer gives it back.
//
// That, and telling the broker, is dear, most of all when a thousand messages go back. So it follows in large
// steps, a broker or a result backend that pauses for a moment changes nothing, and after each wrong guess it rests for longer.
type onCall struct {
	wanted bool
	n      int       // 0: not more than the prefetch limit
	since  time.Time // when n was raised
	until  time.Time // until then it rests
	rest   time.Duration

	ran  int // so many have run
	from time.Time
	size int // of a message, on average

	slow time.Time // since when much less has run than n is for; zero: it has not
}

const (
	onCallLook  = 50 * time.Millisecond  // between two decisions, at least
	onCallMost  = 1024                   // messages
	onCallBytes = 16 << 20               // of them together, about
	onCallStall = 250 * time.Millisecond // without a free slot: the guess was wrong
	onCallSlow  = time.Second            // with much less to do than was guessed
	onCallRest  = time.Second            // after the first wrong guess, and then twice as long each time
	onCallRests = time.Minute            // at most; a guess that was good for so long makes up for all
)

// note notes that a request has run, and tells whether anything has changed.
func (o *onCall) note(prefetch, size int, now time.Time) bool {
	o.ran++
	o.size += (size - o.size) / 8
	took := now.Sub(o.from)
	if took < onCallLook {
		return false
	}
	most := min(onCallMost, onCallBytes/max(o.size, 1))
	n, ahead := o.n, min(int(int64(o.ran)*int64(2*onCallLook)/int64(took)), most)
	o.ran, o.from = 0, now
	switch held := max(n, prefetch); {
	case ahead >= 2*held || ahead == most && most > held:
		if now.After(o.until) {
			o.n, o.since = ahead, now
		}
		o.slow = time.Time{}
	case 8*ahead >= n:
		o.slow = time.Time{}
	case o.slow.IsZero() && 8*most >= n: // else messages have become larger
		o.slow = now
	case now.Sub(o.slow) >= onCallSlow:
		o.n, o.until, o.slow = 0, now.Add(onCallRest), time.Time{}
	}
	return o.n != n
}

// stalled takes everything back.
func (o *onCall) stalled(now time.Time) {
	if now.Sub(o.since) > onCallRests {
		o.rest = 0
	}
	o.rest = min(max(2*o.rest, onCallRest), onCallRests)
	o.n, o.until = 0, now.Add(o.rest)
}

// keepsOnCallLocked tells whether the consumer may hold messages that will not be claimed now.
func (b *backlog) keepsOnCallLocked() bool { return b.onCall.n > b.prefetch && b.wantLocked() == 0 }
