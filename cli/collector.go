package cli

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// heapFloor is up to where a worker's heap may grow before it is collected, in bytes. What lives is two or
// three MB, which Go would collect at four: every few hundred tasks, for a tenth of the time that
// tasks in other processes take here.
const heapFloor = 16 << 20

// collectRarely lets a small heap grow to heapFloor, while one of more than half of that is collected as
// Go does it. GOGC in the environment says otherwise.
func collectRarely() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(heapFloor / (4 << 20) * 100) // of Go's smallest heap, 4 MB
		afterCollection(100)
	}
}

// afterCollection looks after each collection how much lives, given the percentage that is set.
func afterCollection(percent int) {
	runtime.AddCleanup(new(*int), func(percent int) {
		live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
		metrics.Read(live)
		next := max(100, min(400, int(100*heapFloor/max(live[0].Value.Uint64(), 1))-100))
		if next != percent {
			debug.SetGCPercent(next)
		}
		afterCollection(next)
	}, percent)
}
