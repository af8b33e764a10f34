package brokertest

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/apium/apium/broker"
)

// Features are what an implementation promises besides what every broker does.
type Features struct {
	// Of consumers: the abilities of these names in package broker.
	Leases      bool // Leaser
	Joins       bool // Joiner
	Prefetches  bool // Prefetcher; the fixture opens consumers that mean to hold 3 messages
	Unclaims    bool // Unclaimer
	Chooses     bool // Chooser
	Returns     bool // Returner
	Bypasses    bool // Bypassers, with the fixture's publisher
	Parks       bool // Parker
	Unparks     bool // Unparker; without it the broker brings back what is due by itself
	Recalls     bool // Recaller, of what is parked
	ListsParked bool // ParkedLister
	Queues      bool // Queues
	Moves       bool // Mover
	Concludes   bool // Concluders, with the fixture's publisher
	CountsStart bool // Starter, and Delivery.Redeliveries

	// Of publishers.
	AllOrNone  bool
	Broadcasts bool // Broadcaster
	Replies    bool // Replier
	Asks       bool // Asker

	// KombuOrder: queues are served in turn, and the priorities of a queue first, the lowest
	// number before all others, as by kombu's Redis transport.
	KombuOrder bool
	// Back: a message can be given back to the end of its queue.
	Back bool
	// Connected: what a consumer holds goes back when it is closed, or its connection is lost.
	Connected bool
	// AtomicMoves: what was lost is not moved.
	AtomicMoves bool
}

// testAbilities compares what is promised with what is there.
func testAbilities(t *testing.T, f *fixture) {
	c, p := f.open("q").able, broker.PublisherAbilitiesOf(f.Publisher)
	got := Features{
		Leases: c.Leaser != nil, Joins: c.Joiner != nil, Prefetches: c.Prefetcher != nil, Unclaims: c.Unclaimer != nil, Chooses: c.Chooser != nil, Returns: c.Returner != nil, Bypasses: c.Bypassers != nil && c.Bypassers.Bypasser(f.Publisher) != nil, Parks: c.Parker != nil,
		Unparks: c.Unparker != nil, Recalls: c.Recaller != nil, ListsParked: c.ParkedLister != nil, Queues: c.Queues != nil, Moves: c.Mover != nil,
		Concludes:   c.Concluders != nil && c.Concluders.Concluder(f.Publisher) != nil,
		CountsStart: c.Starter != nil,

		AllOrNone: p.AllOrNone != nil, Broadcasts: p.Broadcaster != nil, Replies: p.Replier != nil, Asks: p.Asker != nil,

		KombuOrder: f.promised.KombuOrder, Back: f.promised.Back, Connected: f.promised.Connected, AtomicMoves: f.promised.AtomicMoves, // no methods of their own
	}
	if diff := cmp.Diff(f.promised, got); diff != "" {
		t.Errorf("abilities (-promised +there):\n%s", diff)
	}
}

// tests are all tests, with what they need.
var tests = []struct {
	name  string
	needs func(Features) bool // nil: nothing
	run   func(t *testing.T, f *fixture)
}{
	{"abilities", nil, testAbilities},
	{"order", nil, testOrder},
	{"limit", nil, testLimit},
	{"priorities", func(f Features) bool { return f.KombuOrder }, testPriorities},
	{"round robin", func(f Features) bool { return f.KombuOrder }, testRoundRobin},
	{"claim waits", nil, testClaimWaits},
	{"claim interrupted", nil, testClaimInterrupted},
	{"bad limit", nil, testBadLimit},
	{"ack", nil, testAck},
	{"requeue front", nil, testRequeueFront},
	{"return", func(f Features) bool { return f.Returns }, testReturn},
	{"hold", func(f Features) bool { return f.Returns }, testHold},
	{"bypass", func(f Features) bool { return f.Bypasses && f.Returns }, testBypass},
	{"unclaim", func(f Features) bool { return f.Unclaims }, testUnclaim},
	{"claim without", func(f Features) bool { return f.Chooses }, testClaimWithout},
	{"requeue back", func(f Features) bool { return f.Back }, testRequeueBack},
	{"requeue priority", func(f Features) bool { return f.KombuOrder }, testRequeuePriority},
	{"lost lease", nil, testLostLease},
	{"idle does not hoard", nil, testIdleDoesNotHoard},
	{"shared queue", nil, testSharedQueue},
	{"undecodable", nil, testUndecodable},
	{"close", nil, testClose},
	{"close wakes claim", nil, testCloseWakesClaim},
	{"lease", func(f Features) bool { return f.Leases }, testLease},
	{"prefetch", func(f Features) bool { return f.Prefetches }, testPrefetch},
	{"connection lost", func(f Features) bool { return f.Connected }, testConnectionLost},
	{"join", func(f Features) bool { return f.Joins && f.Connected }, testJoin},

	{"park", func(f Features) bool { return f.Unparks && f.KombuOrder }, testPark},
	{"parked queues", func(f Features) bool { return f.Unparks && f.Queues }, testParkedQueues},
	{"list parked", func(f Features) bool { return f.Unparks && f.ListsParked && f.KombuOrder }, testListParked},
	{"recall", func(f Features) bool { return f.Unparks && f.Recalls && f.KombuOrder }, testRecall},
	{"one id", func(f Features) bool { return f.Unparks && f.Recalls }, testParkedUnderOneID},
	{"overdue", func(f Features) bool { return f.Parks }, testOverdue},
	{"parked comes", func(f Features) bool { return f.Parks && !f.Unparks }, testParkedComes},
	{"due interrupted", func(f Features) bool { return f.Unparks }, testDueInterrupted},

	{"conclude", func(f Features) bool { return f.Concludes }, testConclude},
	{"conclude refused", func(f Features) bool { return f.Concludes }, testConcludeRefused},

	{"move", func(f Features) bool { return f.Moves }, testMove},
	{"forward", func(f Features) bool { return f.Moves && f.AtomicMoves }, testForward},
	{"bury", func(f Features) bool { return f.Moves && f.AtomicMoves }, testBury},
	{"redeliveries", func(f Features) bool { return f.CountsStart && f.Unparks && f.Back }, testRedeliveries},

	{"queues", func(f Features) bool { return f.Queues && f.KombuOrder }, testQueues},
	{"queues while claiming", func(f Features) bool { return f.Queues }, testQueuesWhileClaiming},
	{"exchanges", func(f Features) bool { return f.Queues }, testExchanges},
	{"fanout queue", func(f Features) bool { return f.Queues && f.Broadcasts }, testFanoutQueue},
	{"refused", nil, testRefused},
	{"broadcast", func(f Features) bool { return f.Broadcasts }, testBroadcast},
	{"reply", func(f Features) bool { return f.Replies && f.Queues }, testReply},
	{"ask", func(f Features) bool { return f.Asks && f.Replies }, testAsk},
}

// testLease looks at the lease of a consumer that is in touch with its broker.
func testLease(t *testing.T, f *fixture) {
	leaser := f.open("q").able.Leaser
	if lease := leaser.Lease(); !lease.Good(time.Now()) || leaser.LeaseLasts() <= 0 {
		t.Errorf("lease %+v of deliveries that last for %v", lease, leaser.LeaseLasts())
	}
}
