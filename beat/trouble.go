package beat

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/apium/apium/internal/logline"
)

// trouble logs an outage when it begins, then more and more rarely, and when it is over.
type trouble struct {
	log   *slog.Logger
	what  string
	since time.Time // zero: there is none
	next  time.Time // when to log again
	pause time.Duration
}

// Celery's pace of such lines.
const (
	troublePause   = 2 * time.Second
	troubleLongest = 32 * time.Second
)

// note notes how an attempt ended.
func (t *trouble) note(err error) {
	now := time.Now()
	switch {
	case errors.Is(err, context.Canceled):
	case err == nil && !t.since.IsZero():
		t.log.Info(fmt.Sprintf("%s: works again after %.1f seconds", t.what, now.Sub(t.since).Seconds()), logline.EventKey, "Works again", "what", t.what)
		t.since = time.Time{}
	case err == nil:
	case t.since.IsZero():
		t.since, t.pause = now, troublePause
		t.say(now, err)
	case !now.Before(t.next):
		t.pause = min(t.pause+troublePause, troubleLongest)
		t.say(now, err)
	}
}

func (t *trouble) say(now time.Time, err error) {
	t.next = now.Add(t.pause)
	t.log.Error(fmt.Sprintf("%s: %s. Trying again until it works", t.what, err.Error()), logline.EventKey, "Does not work", "what", t.what, "error", err)
}
