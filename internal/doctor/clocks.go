package doctor

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/fromsettings"
	"github.com/apium/apium/protocol"
)

// clockLimit is how far clocks may be apart.
const clockLimit = 2 * time.Second

// window bounds how far a clock is ahead of this machine's: what it showed was heard some time later, so that the
// difference is not known exactly. Behind it is less than nothing.
type window struct{ least, most time.Duration }

// to is the same seen from another clock.
func (w window) to(other window) window { return window{w.least - other.most, w.most - other.least} }

// apart is by how much a clock is certainly ahead (or, negative, behind); 0: it need not be.
func (w window) apart() time.Duration {
	switch {
	case w.least > clockLimit:
		return w.least
	case w.most < -clockLimit:
		return w.most
	}
	return 0
}

// heartbeats is how often workers of either kind say by default that they live, and a little more.
const heartbeats = 2200 * time.Millisecond

// listening hears the heartbeats of workers, which carry the time.
type listening struct {
	f     *facts
	stop  func()
	ended chan struct{}
	since time.Time // this machine's clock, when it began

	mu     sync.Mutex
	clocks map[string]window // by node
	err    error
}

// listen begins to hear heartbeats.
func (f *facts) listen(ctx context.Context, publisher fromsettings.Publisher) *listening {
	l := &listening{f: f, ended: make(chan struct{}), clocks: map[string]window{}}
	ctx, l.stop = context.WithCancel(ctx)
	subscribed := make(chan struct{})
	once := sync.OnceFunc(func() { close(subscribed) })
	go func() {
		defer close(l.ended)
		defer once()
		err := publisher.Subscribe(ctx, broker.Subscription{
			Exchange: f.Settings.EventExchange, BindingKey: "worker.#",
			Handle: func(_ string, message broker.Content) { l.hear(message) },
			OnState: func(ok bool, err error) {
				l.state(err)
				once()
			},
		})
		if ctx.Err() == nil && err != nil {
			l.state(err)
		}
	}()
	l.since = f.Now()
	timeout := f.patience()
	select {
	case <-subscribed:
	case <-time.After(timeout): // it may be refused again and again
		l.state(fmt.Errorf("heartbeats cannot be heard within %v", timeout))
	case <-ctx.Done():
	}
	return l
}

// state notes why nothing is heard; nil: something is.
func (l *listening) state(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = err
}

func (l *listening) hear(message broker.Content) {
	now := l.f.Now()
	var received protocol.Received
	message.Read(&received)
	events, err := l.f.Decoder.DecodeEvents(&received)
	if err != nil {
		return // a stranger's
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range events {
		seconds, node := e.Number("timestamp"), e.Text("hostname")
		if e.Text("type") != "worker-heartbeat" || node == "" || math.Abs(seconds) > 1e11 {
			continue
		}
		shown := time.UnixMicro(int64(seconds * 1e6))
		heard := window{shown.Sub(now), shown.Sub(l.since)}
		if before, ok := l.clocks[node]; ok { // the least is nearest where it came fastest
			heard = window{max(heard.least, before.least), min(heard.most, before.most)}
		}
		l.clocks[node] = heard
	}
}

// end returns the clocks that were heard, those of nodes as far as they say they live, after a heartbeat's time.
func (l *listening) end(nodes []string) map[string]window {
	defer func() {
		l.stop()
		<-l.ended
	}()
	for {
		l.mu.Lock()
		err, heard := l.err, maps.Clone(l.clocks)
		l.mu.Unlock()
		if err != nil {
			l.f.missed("the clocks of the workers", err)
			return heard
		}
		all := len(nodes) > 0 && !slices.ContainsFunc(nodes, func(node string) bool { return heard[node] == window{} })
		select {
		case <-l.ended:
			return heard
		case <-time.After(50 * time.Millisecond):
		}
		if passed := l.f.Now().Sub(l.since); passed >= heartbeats && (all || passed >= 2*heartbeats) || len(nodes) == 0 && passed >= heartbeats {
			return heard
		}
	}
}

// clocksApart compares the clocks of workers, Redis and this machine. Redis' counts for right, if there is one.
func clocksApart(f *facts) []Finding {
	clocks := maps.Clone(f.clocks)
	right, whose := window{}, "this machine's"
	if f.redis != nil && f.redis.clock != nil {
		right, whose = *f.redis.clock, "Redis'"
		clocks = maps.Clone(f.clocks)
		if clocks == nil {
			clocks = map[string]window{}
		}
		clocks["this machine"] = window{}
	}
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(clocks)) {
		switch apart := clocks[name].to(right).apart(); {
		case apart > 0:
			lines = append(lines, fmt.Sprintf("%s is at least %s ahead", name, roughly(apart)))
		case apart < 0:
			lines = append(lines, fmt.Sprintf("%s is at least %s behind", name, roughly(-apart)))
		}
	}
	if lines == nil {
		return nil
	}
	return []Finding{{
		Severity: Warning, Title: "Clocks are apart from " + whose, Details: lines,
		Meaning: "Tasks with an ETA or countdown start too early or too late, tasks with expires are dropped too early or run too late, and the " +
			"visibility timeout is not what it seems: a worker whose clock is ahead takes away what others still hold.",
		Advice: "Have NTP set the clocks of these machines (timedatectl status, chronyc tracking). Nothing needs a restart then.",
	}}
}

// roughly is a duration as people say it.
func roughly(d time.Duration) string {
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", int(d.Round(time.Second).Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(d.Round(time.Minute).Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Round(time.Hour).Hours()))
	}
	return fmt.Sprintf("%d days", int(d.Round(24*time.Hour).Hours()/24))
}

// unixMicro is a time as Redis says it.
func unixMicro(seconds, micros int64) time.Time { return time.Unix(seconds, micros*1000) }
