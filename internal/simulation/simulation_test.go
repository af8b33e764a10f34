package simulation_test

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var (
	onlySeed = flag.Uint64("seed", 0, "run this seed alone")
	first    = flag.Uint64("first", 1, "the first seed")
	frosts   = flag.Bool("frosts", false, "do nothing to nodes but have them stand still")
	seeds    = flag.Uint64("seeds", 60, "how many seeds are run")
)

func TestSimulation(t *testing.T) {
	t.Parallel()
	eachSeed(t, simulate)
}

func eachSeed(t *testing.T, simulate func(*testing.T, uint64)) {
	t.Helper()
	from, to := *first, *first+*seeds
	if *onlySeed != 0 {
		from, to = *onlySeed, *onlySeed+1
	}
	for seed := from; seed < to; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { //nolint:paralleltest // seeds would be in one another's way
			synctest.Test(t, func(t *testing.T) { simulate(t, seed) })
		})
	}
}

// A journal is what workers log, and what is done to them.
type journal struct {
	mu   sync.Mutex
	text strings.Builder
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

func simulate(t *testing.T, seed uint64) {
	var log journal
	f := newFleet(t, seed, &log)
	defer f.close()
	random := f.network.Random()
	work := &workload{random: random, ledger: f.ledger}
	peers := random.IntN(3)
	if peers > 0 {
		f.ledger.patience, work.peers = visibilityTimeout, true
	}
	for range 1 + random.IntN(3) {
		f.start()
	}
	for range peers {
		f.startPeer(3 + random.IntN(200))
	}
	f.work(work, &log, "TestSimulation", seed)
}

// work has a fleet do some work while it is harmed, and looks at what came of it.
func (f *fleet) work(work *workload, log *journal, test string, seed uint64) {
	t, random := f.t, f.network.Random()
	t.Helper()
	harm := &harm{random: random, left: random.IntN(12), often: 5 + random.IntN(300)}
	for left := 3 + random.IntN(20); left > 0 || harm.left > 0; {
		f.network.Step(milliseconds(random.IntN(3000)))
		if left > 0 && random.IntN(10) == 0 {
			f.send(work.next())
			left--
		}
		harm.step(f)
	}
	if !f.until(func() bool { return f.idle() && len(f.ledger.missing()) == 0 }) {
		t.Errorf("messages are left: %q", f.messages())
	}
	for _, name := range f.ledger.missing() {
		t.Errorf("%s is lost: %s", name, f.ledger.story(f.ledger.runs[name]))
	}
	for _, fault := range f.ledger.faults() {
		t.Error(fault)
	}
	if t.Failed() {
		t.Logf("again, perhaps: go test ./internal/simulation -run %s -seed %d -count 100 -failfast", test, seed)
		for _, name := range slices.Sorted(maps.Keys(f.ledger.runs)) {
			t.Logf("%s: %s", name, f.ledger.story(f.ledger.runs[name]))
		}
		t.Logf("it took until %s\n%s", since(time.Now()), log)
	}
}

// harm is what is done to the nodes of a fleet.
type harm struct {
	random *rand.Rand
	left   int
	often  int // once in so many steps
}

func (h *harm) step(f *fleet) {
	often := h.often
	if f.rabbit.Server != nil && f.rabbit.between() {
		often = min(often, 5)
	}
	if h.left == 0 || h.random.IntN(often) > 0 {
		return
	}
	h.left--
	n := f.nodes[h.random.IntN(len(f.nodes))]
	did := func(format string, args ...any) {
		fmt.Fprintf(f.log, "%s "+format+"\n", append([]any{since(time.Now())}, args...)...)
	}
	kind := h.random.IntN(12)
	if *frosts {
		kind = 7 + kind%2
	}
	switch kind {
	case 0, 1:
		did("kill %s", n.name)
		f.kill(n)
		f.start()
	case 2:
		did("stop %s", n.name)
		f.leave(n)
		f.start()
	case 3:
		did("cut all connections")
		for _, n := range f.nodes {
			f.network.CutAll(n.name)
		}
	case 4:
		d := milliseconds(h.random.IntN(30_000))
		did("cut off %s for %v", n.name, d)
		f.cutOff(n, d)
	case 5:
		d := milliseconds(h.random.IntN(1000))
		did("cut off %s for %v", n.name, d)
		f.cutOff(n, d)
	case 6:
		d := milliseconds(h.random.IntN(30_000))
		did("no answer from anybody for %v", d)
		f.outage(d)
	case 7:
		d := milliseconds(h.random.IntN(30_000))
		did("freeze %s for %v", n.name, d)
		f.freeze(n, d)
	case 8:
		d := milliseconds(3000 + h.random.IntN(5000)) // about as long as a sign of life lasts
		did("freeze %s for %v", n.name, d)
		f.freeze(n, d)
	default:
		did("cut a connection of %s", n.name)
		f.network.Cut(n.name)
	}
}
