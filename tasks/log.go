package tasks

import (
	"context"
	"log/slog"

	"github.com/apium/apium/internal/logline"
)

// Logger returns a logger for the running task, which writes where its worker's log goes:
// Celery's get_task_logger. In text logs a line has the form of Celery's
// worker_task_log_format,
//
//	[2026-11-23 09:00:00,123: INFO/MainProcess] shop.tasks.add[9b1deb4d-…]: text key=value
//
// and in JSON logs it has the members task_name and task_id. Outside of a worker it is
// slog.Default() with these attributes; outside of a task, without them.
func Logger(ctx context.Context) *slog.Logger {
	req := Current(ctx)
	if req == nil {
		return slog.Default()
	}
	log := req.Log
	if log == nil {
		log = slog.Default()
	}
	if req.Task == nil {
		return log
	}
	return log.With(logline.Task(req.Name, req.ID)...)
}
