package redisconn

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/apium/apium/internal/logline"
)

// Celery's pace for connecting again: 2 s, 4 s, … up to 32 s.
const (
	retryStep     = 2 * time.Second
	retryMaxDelay = 32 * time.Second
)

// RetryDelay is Celery's pause after so many failed attempts, the first of which is 1.
func RetryDelay(try int) time.Duration { return min(time.Duration(try)*retryStep, retryMaxDelay) }

// LogRetry logs that the broker cannot be reached, in the words of Celery (most: how many
// attempts there are in all).
func LogRetry(log *slog.Logger, server fmt.Stringer, err error, try, most int) {
	delay := RetryDelay(try).Seconds()
	log.Error(fmt.Sprintf("consumer: Cannot connect to %s: %s.\nTrying again in %.2f seconds... (%d/%d)\n", server, logline.Escape(err.Error()), delay, try, most),
		logline.LinesKey, true, logline.EventKey, "Cannot connect to the broker", "broker", server.String(), "error", err, "try", try, "delay", delay)
}

// LogGivenUp logs that it is not tried any more, in the words of Celery, too.
func LogGivenUp(log *slog.Logger, err error) {
	log.Log(context.Background(), logline.LevelCritical, fmt.Sprintf("Unrecoverable error: OperationalError('%v')", err),
		logline.EventKey, "Unrecoverable error", "error", err)
}
