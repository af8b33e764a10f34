package app

import (
	"context"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// A worker that has had one large message keeps the memory for minutes: while nothing
// happens, the garbage collector does not run. giveBackMemory looks every few seconds.
const (
	memoryLook = 5 * time.Second
	// memorySlack is how many bytes more than after the last time are no reason to look
	// for garbage.
	memorySlack = 64 << 20
)

// memoryUse is what the process has of the system.
type memoryUse struct {
	held   uint64 // bytes
	cycles uint64 // of the garbage collector
}

func readMemory() memoryUse {
	samples := []metrics.Sample{
		{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}, {Name: "/gc/cycles/total:gc-cycles"},
	}
	metrics.Read(samples)
	return memoryUse{held: samples[0].Value.Uint64() - samples[1].Value.Uint64(), cycles: samples[2].Value.Uint64()}
}

// idleMemory decides when to give memory back.
type idleMemory struct {
	last  memoryUse
	floor uint64 // what was left the last time
}

// due tells whether the process is idle, as no garbage was collected since the last look,
// and holds much more than it needed after the last time.
func (m *idleMemory) due(now memoryUse) bool {
	idle := now.cycles == m.last.cycles
	m.last = now
	return idle && now.held > m.floor+max(memorySlack, m.floor/2)
}

// given notes what is left.
func (m *idleMemory) given(left memoryUse) { m.last, m.floor = left, left.held }

// giveBackMemory returns what an idle process does not need to the system, until ctx is done.
func giveBackMemory(ctx context.Context) {
	ticker := time.NewTicker(memoryLook)
	defer ticker.Stop()
	for m := (idleMemory{last: readMemory()}); ; {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if m.due(readMemory()) {
			runtime.GC() // what is kept for reuse goes with the second collection
			debug.FreeOSMemory()
			m.given(readMemory())
		}
	}
}
