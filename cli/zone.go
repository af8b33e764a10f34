package cli

import (
	"context"
	"log/slog"
	"time"
)

// zone is the time zone of the app's processes: Django puts TIME_ZONE into the environment, and
// Celery's lines have that time. Without an app, and if it leaves the zone as it is: this process's.
func (s *workerSettings) zone() *time.Location {
	if s.opts.Python == nil {
		return time.Local
	}
	name := s.opts.Python.Manifest().TimeZone
	zone, err := time.LoadLocation(name)
	if name == "" || err != nil {
		return time.Local
	}
	return zone
}

// zonedHandler gives all records the time of a zone.
type zonedHandler struct {
	slog.Handler
	zone *time.Location
}

func (h zonedHandler) Handle(ctx context.Context, r slog.Record) error {
	r.Time = r.Time.In(h.zone)
	return h.Handler.Handle(ctx, r)
}

func (h zonedHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return zonedHandler{h.Handler.WithAttrs(attrs), h.zone}
}

func (h zonedHandler) WithGroup(name string) slog.Handler {
	return zonedHandler{h.Handler.WithGroup(name), h.zone}
}
