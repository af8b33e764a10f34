package events_test

import (
	"testing"

	"github.com/apium/apium/operate/events"
	"github.com/apium/apium/worker"
)

func BenchmarkObserve(b *testing.B) {
	for _, on := range []bool{false, true} {
		name := "off"
		if on {
			name = "on"
		}
		b.Run(name, func(b *testing.B) {
			wire := &wire{}
			d, err := events.New(events.Config{Broadcaster: wire, Hostname: "celery@worker1", Clock: new(worker.Clock), TaskEvents: on})
			if err != nil {
				b.Fatal(err)
			}
			var observer worker.Observer = d
			e := worker.Event{Kind: worker.Started, Task: task("45b0b2a1-6ee3-4b1f-8a3e-6a3a3c3f0d6e"), Registered: true}
			b.ReportAllocs()
			for b.Loop() {
				observer.Observe(e)
			}
		})
	}
}
