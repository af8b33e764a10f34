package control

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/apium/apium/tasks"
)

// memory keeps the samples that memsample takes until memdump shows them. Commands run
// one at a time, so it needs no lock.
type memory struct{ samples []string }

// samplesKept bounds the samples.
const samplesKept = 1000

func (m *Mailbox) memsample(others) any {
	used := residentSet()
	if used == "" {
		return nil // as Celery without psutil
	}
	if len(m.memory.samples) >= samplesKept {
		m.memory.samples = m.memory.samples[1:]
	}
	m.memory.samples = append(m.memory.samples, used)
	return used
}

// memdump shows samples of memsample, evenly chosen if there are more, forgets all of
// them, and shows what is used after a garbage collection (celery/utils/debug.py).
func (m *Mailbox) memdump(samples int, _ others) any {
	taken := m.memory.samples
	m.memory.samples = nil
	debug.FreeOSMemory()
	used := residentSet()
	if used == "" {
		return "- rss: (not known on this system).\n"
	}
	var b strings.Builder
	if len(taken) > 0 {
		b.WriteString("- rss (sample):\n")
		step := 1
		if samples > 0 && len(taken) > samples {
			step = len(taken) / samples
		}
		for i, shown := 0, 0; i < len(taken) && shown < max(samples, 1); i, shown = i+step, shown+1 {
			fmt.Fprintf(&b, "-    > %s,\n", taken[i])
		}
	}
	fmt.Fprintf(&b, "- rss (end): %s.\n", used)
	return b.String()
}

func (m *Mailbox) objgraph(_, _, _ any) error {
	return tasks.Raise("ImportError", "Requires the objgraph library")
}

// residentSet is the memory this process has, as Celery writes it: 56.094MB. It is "" on
// systems without /proc.
func residentSet() string {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return ""
	}
	for line := range bytes.Lines(status) {
		if value, ok := bytes.CutPrefix(line, []byte("VmRSS:")); ok {
			kib, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(string(value)), "kB")), 64)
			if err != nil {
				return ""
			}
			return humanBytes(kib * 1024)
		}
	}
	return ""
}

// humanBytes is celery.utils.debug.humanbytes: five digits of the largest unit.
func humanBytes(n float64) string {
	for _, unit := range []struct {
		size float64
		name string
	}{{1 << 40, "TB"}, {1 << 30, "GB"}, {1 << 20, "MB"}, {1 << 10, "KB"}, {1, "b"}} {
		if n < unit.size {
			continue
		}
		n /= unit.size
		if n == math.Trunc(n) {
			return strconv.FormatFloat(n, 'f', -1, 64) + unit.name
		}
		return strconv.FormatFloat(n, 'g', 5, 64) + unit.name
	}
	return "0b"
}
