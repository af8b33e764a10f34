package worker_test

import (
	"testing"
	"time"

	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/worker"
)

// Slots come with the tasks and go when it has been quiet for a while.
func TestAutoscaling(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.cfg.Autoscale = worker.Autoscale{Max: 3, Min: 1, KeepAlive: 30 * time.Second}
		b.reg.Register("app.slow", func() { time.Sleep(20 * time.Second) })
		b.start()
		o := b.w.Operations()
		want := func(when string, most, least, current, load int) {
			t.Helper()
			want := worker.AutoscaleState{Max: most, Min: least, Current: current, Load: load}
			if got, ok := o.Autoscale(); !ok || got != want {
				t.Errorf("%s: %+v, %v; want %+v", when, got, ok, want)
			}
		}
		want("at first", 3, 1, 1, 0)
		for range 5 {
			b.send(canvas.Sig("app.slow"))
		}
		b.sleep(time.Second)
		want("under load", 3, 1, 3, 5)
		b.wantLog("Scaling up")
		b.sleep(25 * time.Second)
		want("after a while", 3, 1, 3, 2)
		b.sleep(time.Minute)
		want("after a quiet while", 3, 1, 1, 0)
		b.wantLog("Scaling down 1 processes.")
		two, four := 2, 4
		if got, ok := o.SetAutoscale(&four, &two); !ok || got != (worker.AutoscaleState{Max: 4, Min: 2, Current: 2}) {
			t.Errorf("changed to %+v, %v", got, ok)
		}
		one := 1
		if got, ok := o.SetAutoscale(&one, nil); !ok || got != (worker.AutoscaleState{Max: 1, Min: 2, Current: 1}) {
			t.Errorf("changed to %+v, %v", got, ok)
		}
	})
}

func TestNoAutoscaling(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.start()
		_, scales := b.w.Operations().Autoscale()
		if _, changed := b.w.Operations().SetAutoscale(nil, nil); scales || changed {
			t.Errorf("a worker without autoscaling scales: %v, %v", scales, changed)
		}
	})
}
