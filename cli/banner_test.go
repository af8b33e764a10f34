package cli

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/apium/apium/broker"
)

// The text is what Celery 5.7 prints, but for version and platform.
const wantBanner = ` 
 -------------- w1@web1 apium v1.2.3
--- ***** ----- 
-- ******* ---- linux-amd64-go1.26 2026-11-23 09:00:00
- *** --- * --- 
- ** ---------- [config]
- ** ---------- .> app:         proj
- ** ---------- .> transport:   redis://:**@127.0.0.1:7391/0
- ** ---------- .> results:     disabled://
- *** --- * --- .> concurrency: 2 (goroutines)
-- ******* ---- .> task events: OFF (enable -E to monitor tasks in this worker)
--- ***** ----- 
 -------------- [queues]
                .> celery           exchange=celery(direct) key=celery
                .> hipri            exchange=media(topic) key=image.#

[tasks]
  . x.add
  . x.boom

a note

`

func TestBanner(t *testing.T) {
	t.Parallel()
	b := banner{
		hostname: "w1@web1", version: "apium v1.2.3", platform: "linux-amd64-go1.26", now: logTime.Truncate(time.Second),
		app: "proj", transport: "redis://:**@127.0.0.1:7391/0", results: "disabled://", concurrency: "2", pool: "goroutines",
		queues: []broker.Queue{{Name: "celery"}, {Name: "hipri", Exchange: "media", ExchangeType: broker.Topic, RoutingKey: "image.#"}},
		tasks:  []string{"x.add", "x.boom"}, notes: []string{"a note"},
	}
	var out strings.Builder
	b.write(&out, false)
	if diff := cmp.Diff(wantBanner, out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	out.Reset()
	b.tasks, b.notes, b.taskEvents = nil, nil, true
	b.write(&out, true)
	if got := out.String(); strings.Contains(got, "[tasks]") || !strings.Contains(got, ".> task events: ON\n") || !strings.HasPrefix(got, cyan) || !strings.HasSuffix(got, colorReset) {
		t.Errorf("colored, without tasks: %q", got)
	}
}
