// Package logline is what log lines of all packages have in common.
package logline

import "log/slog"

// EventKey is the attribute that says in constant words what happened, where the message is
// Celery's line and names tasks, workers or errors. JSON logs have it as their message; the
// other attributes then hold all that the message tells besides.
const EventKey = "event"

// LevelCritical is Python's logging.CRITICAL, one step above slog.LevelError.
const LevelCritical = slog.LevelError + 4

// Event is the attribute of that key.
func Event(what string) slog.Attr { return slog.String(EventKey, what) }

// Err is the attribute of an error.
func Err(err error) slog.Attr { return slog.String("error", err.Error()) }
