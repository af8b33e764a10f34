// Package reconnect has Celery's pace, and its words, for connecting to a broker again.
package reconnect

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/apium/apium/internal/logline"
)

// Celery's pace for connecting again: 2 s, 4 s, … up to 32 s.
const (
	step     = 2 * time.Second
	maxDelay = 32 * time.Second
)

// Delay is Celery's pause after so many failed attempts, the first of which is 1.
func Delay(try int) time.Duration { return min(time.Duration(try)*step, maxDelay) }

// LogRetry logs that the broker cannot be reached, in the words of Celery. most is how many attempts there
// are in all; 0: no limit, which is Python's None.
func LogRetry(log *slog.Logger, server string, err error, try, most int) {
	delay, of := Delay(try).Seconds(), "None"
	if most != 0 {
		of = strconv.Itoa(most)
	}
	log.Error(fmt.Sprintf("consumer: Cannot connect to %s: %s.\nTrying again in %.2f seconds... (%d/%s)\n", server, logline.Escape(err.Error()), delay, try, of),
		logline.LinesKey, true, logline.EventKey, "Cannot connect to the broker", "broker", server, "error", err, "try", try, "delay", delay)
}

// LogFailover logs that a server of several cannot be reached, and that the next is tried at once.
func LogFailover(log *slog.Logger, server string, err error) {
	log.Error(fmt.Sprintf("consumer: Cannot connect to %s: %s.\nWill retry using next failover.\n", server, logline.Escape(err.Error())),
		logline.LinesKey, true, logline.EventKey, "Cannot connect to the broker", "broker", server, "error", err)
}

// LogLost logs that there was a connection, and is none any more.
func LogLost(log *slog.Logger, server string, err error) {
	log.Warn("consumer: Connection to broker lost. Trying to re-establish the connection... ("+err.Error()+")",
		logline.EventKey, "Connection to broker lost", "broker", server, "error", err)
}

// LogConnected logs that there is a connection again.
func LogConnected(log *slog.Logger, server string) {
	log.Info("Connected to "+server, logline.EventKey, "Connected to the broker", "broker", server)
}

// LogDisabled logs that a lost connection is not made again.
func LogDisabled(log *slog.Logger, err error) {
	log.Log(context.Background(), logline.LevelCritical, "Retrying to re-establish a connection to the message broker after a connection loss has been "+
		"disabled (app.conf.broker_connection_retry=False). Shutting down...", logline.EventKey, "Shutting down: reconnecting is disabled", "error", err)
}

// LogGivenUp logs that it is not tried any more, in the words of Celery, too.
func LogGivenUp(log *slog.Logger, err error) {
	log.Log(context.Background(), logline.LevelCritical, fmt.Sprintf("Unrecoverable error: OperationalError('%v')", err),
		logline.EventKey, "Unrecoverable error", "error", err)
}
