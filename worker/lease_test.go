package worker

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apium/apium/broker"
)

// watch notes the events of requests.
type watch struct{ notes *notes }

func (w watch) Observe(e Event) { w.notes.add("%d %s", e.Kind, e.Task.ID) }

// What is held is renewed, in time and together; what is somebody else's by now is cancelled,
// told of, and not renewed any more.
func TestLeasesAreRenewedByTheirOwner(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		consumer := &deadbroker{}
		l := newLeases(&Config{Consumer: consumer, Logger: noLog.Logger, Observers: []Observer{watch{&consumer.notes}}}, broker.Abilities{Leaser: consumer})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); l.run(ctx) }()
		for _, tag := range []string{"a", "b", "c"} {
			r := task(tag, nil)
			r.tag = tag
			l.add(r)
		}
		held := l.held["b"]
		l.remove(l.held["c"])
		consumer.answers([]string{"b", "c"}, nil) // c was acknowledged meanwhile
		time.Sleep(20*time.Minute + time.Second)
		if got, want := consumer.notes.take(), []string{"extend [a b]", "8 b"}; !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
		if !held.lost.Load() || LeaseLost != 8 {
			t.Error("a lost request does not know it")
		}
		consumer.answers(nil, errors.New("away"))
		time.Sleep(20*time.Minute + renewPause + renewPause/2)
		if got, want := consumer.notes.take(), []string{"extend [a]", "extend [a]", "extend [a]"}; !slices.Equal(got, want) {
			t.Errorf("during an outage: %q, want %q", got, want)
		}
		cancel()
		<-done
	})
}

// The bytes of all messages that are held are known.
func TestLeasesKnowTheirBytes(t *testing.T) {
	t.Parallel()
	l := newLeases(&Config{Logger: noLog.Logger}, broker.Abilities{})
	of := func(tag string, size int) *request {
		r := task(tag, nil)
		r.tag, r.content.Size = tag, size
		return r
	}
	a, b, c := of("a", 1), of("b", 10), of("c", 100)
	for i, step := range []struct {
		do   func()
		want int
	}{
		{func() { l.add(a); l.add(b) }, 11},
		{func() { l.add(a) }, 11}, // it is held already
		{func() { l.remove(a, c) }, 10},
		{func() { l.add(c) }, 110},
		{func() { l.drop("b"); l.drop("b") }, 100},
		{func() { l.remove(c) }, 0},
	} {
		if step.do(); l.bytes() != step.want {
			t.Errorf("step %d: %d bytes are held, want %d", i, l.bytes(), step.want)
		}
	}
}
