package python

import "time"

// backoff counts failures in a row. After the first, the next try follows at once; after each
// further one, it is later.
type backoff int

const (
	shortestPause, longestPause = 50 * time.Millisecond, 5 * time.Second
	// worthwhile is how many times the pause something must have lasted for its end to be the
	// first failure again.
	worthwhile = 10
)

// next is how long to wait after one more failure, of what has lasted so long.
func (b *backoff) next(lasted time.Duration) time.Duration {
	*b++
	pause := time.Duration(0)
	if *b > 1 {
		pause = min(shortestPause<<min(*b-2, 10), longestPause)
	}
	if pause > 0 && lasted > min(worthwhile*pause, longestPause) {
		*b, pause = 1, 0
	}
	return pause
}

// wait waits after one more failure, of what has lasted so long. It reports false if stop was
// closed meanwhile.
func (b *backoff) wait(lasted time.Duration, stop <-chan struct{}) bool {
	timer := time.NewTimer(b.next(lasted))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-stop:
		return false
	}
}
