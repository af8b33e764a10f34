package amqpbroker_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/broker/amqpbroker"
	"github.com/apium/apium/internal/rabbittest"
)

// lead has a node lead schedule "s".
func lead(t *testing.T, p broker.Slots, node, want string) {
	t.Helper()
	if leader, left, err := p.Lead(patient(t), "s", node, time.Minute); leader != want || left != time.Minute || err != nil {
		t.Fatalf("Lead: %q leads for %v, %v; want %q", leader, left, err, want)
	}
}

// turn is a run of an entry that sends one message.
func turn(entry, before, after string) broker.Turn {
	return broker.Turn{Entry: entry, Before: before, After: after, Publish: []broker.Publication{to("q", entry+after)}}
}

// stored is what is stored of schedule "s".
func stored(t *testing.T, p broker.Slots) map[string]string {
	t.Helper()
	found, err := p.Slots(patient(t), "s")
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestTakeTurns: of what is taken the messages are in their queues, of what is not there are none; and what is stored says
// who was first, whoever asks and whoever leads next.
func TestTakeTurns(t *testing.T) {
	t.Parallel()
	vhost := rabbittest.New(t)
	p, other := openPublisher(t, amqpbroker.PublisherConfig{URL: vhost.URL()}), openPublisher(t, amqpbroker.PublisherConfig{URL: vhost.URL()})
	if found := stored(t, other); len(found) != 0 {
		t.Errorf("stored at first: %v", found)
	}
	lead(t, p, "one", "one")
	got, err := p.Take(patient(t), "s", "one", turn("a", "", "a1"), turn("b", "", "b1"), turn("a", "", "a2"), turn("a", "a1", "a3"), broker.Turn{Entry: "c", After: "noted"})
	want := []broker.Taken{{OK: true}, {OK: true}, {Stored: "a1"}, {OK: true}, {OK: true}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("taken: %v (-want +got):\n%s", err, diff)
	}
	again, err := p.Take(patient(t), "s", "one", turn("b", "", "b1"), broker.Turn{Entry: "c", Before: "noted"})
	if diff := cmp.Diff([]broker.Taken{{OK: true}, {OK: true}}, again); diff != "" || err != nil {
		t.Errorf("taken once more: %v (-want +got):\n%s", err, diff)
	}
	all := map[string]string{"a": "a3", "b": "b1"}
	for range 3 { // who looks leaves all as it is
		if diff := cmp.Diff([]map[string]string{all, all}, []map[string]string{stored(t, p), stored(t, other)}); diff != "" {
			t.Fatalf("stored (-want +got):\n%s", diff)
		}
	}
	ch := rabbittest.Channel(t, vhost.URL())
	if diff := cmp.Diff([]string{"aa1", "bb1", "aa3"}, drain(t, ch, "q")); diff != "" {
		t.Errorf("messages (-want +got):\n%s", diff)
	}
	lead(t, other, "two", "somebody")
	if err := p.Resign(patient(t), "s", "one"); err != nil {
		t.Fatal(err)
	}
	lead(t, other, "two", "two")
	if diff := cmp.Diff(all, stored(t, other)); diff != "" {
		t.Errorf("stored, for who leads next (-want +got):\n%s", diff)
	}
}

// TestLeadEndsWithItsConnection: who has lost it sends nothing more until it leads again, and whoever leads knows what was sent.
func TestLeadEndsWithItsConnection(t *testing.T) {
	t.Parallel()
	vhost := rabbittest.New(t)
	p, other := openPublisher(t, amqpbroker.PublisherConfig{URL: vhost.URL()}), openPublisher(t, amqpbroker.PublisherConfig{URL: vhost.URL()})
	lead(t, p, "one", "one")
	lead(t, other, "two", "somebody")
	if _, err := p.Take(patient(t), "s", "one", turn("a", "", "a1")); err != nil {
		t.Fatal(err)
	}
	var deposed *broker.DeposedError
	if _, err := other.Take(patient(t), "s", "two", turn("a", "a1", "a2")); !errors.As(err, &deposed) {
		t.Errorf("Take of another: %v", err)
	}
	if _, err := p.Take(patient(t), "s", "three", turn("a", "a1", "a2")); !errors.As(err, &deposed) || deposed.Leader != "one" {
		t.Errorf("Take of a third: %v", err)
	}
	vhost.CloseConnections(t)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		leader, _, err := other.Lead(patient(t), "s", "two", time.Minute)
		if leader == "two" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%q leads, %v", leader, err)
		}
	}
	if _, err := p.Take(patient(t), "s", "one", turn("a", "a1", "a2")); err == nil {
		t.Error("who does not lead any more has sent something")
	}
	got, err := other.Take(patient(t), "s", "two", turn("a", "", "a2"), turn("a", "a1", "a2"))
	if diff := cmp.Diff([]broker.Taken{{Stored: "a1"}, {OK: true}}, got); diff != "" || err != nil {
		t.Errorf("taken by the next: %v (-want +got):\n%s", err, diff)
	}
	if ids := drain(t, rabbittest.Channel(t, vhost.URL()), "q"); len(ids) != 2 {
		t.Errorf("messages: %q", ids)
	}
}

// TestRefusedTurn: a message that cannot be published is named, and its turn is not taken.
func TestRefusedTurn(t *testing.T) {
	t.Parallel()
	vhost := rabbittest.New(t)
	p := openPublisher(t, amqpbroker.PublisherConfig{URL: vhost.URL()})
	lead(t, p, "one", "one")
	unroutable, nowhere, tooLong := turn("b", "", "b1"), turn("b", "", "b1"), turn("b", "", "b1")
	unroutable.Publish[0].Exchange = "amq.direct"
	unroutable.Publish[0].RoutingKey = "nobody's"
	nowhere.Publish[0].Exchange = "nowhere"
	tooLong.Publish[0].RoutingKey = strings.Repeat("q", 300)
	for what, bad := range map[string]broker.Turn{"unroutable": unroutable, "nowhere": nowhere, "too long": tooLong} {
		var refused *broker.RefusedError
		if _, err := p.Take(patient(t), "s", "one", bad); !errors.As(err, &refused) || refused.Index != 0 {
			t.Errorf("%s: %v", what, err)
		}
		if found := stored(t, p); found["b"] != "" {
			t.Errorf("%s: it is stored: %v", what, found)
		}
	}
	if got, err := p.Take(patient(t), "s", "one", turn("a", "", "a1"), unroutable); err == nil {
		t.Errorf("with another one: %v", got)
	}
	got, err := p.Take(patient(t), "s", "one", turn("a", "", "a1"))
	if err != nil || !got[0].OK {
		t.Errorf("after that: %v, %v", got, err)
	}
	if diff := cmp.Diff([]string{"aa1"}, drain(t, rabbittest.Channel(t, vhost.URL()), "q")); diff != "" {
		t.Errorf("messages (-want +got):\n%s", diff)
	}
}

// TestJournalStaysShort: what is stored takes little more than what is known, however often it changes; also if somebody has
// deleted it, and the queue of messages, meanwhile.
func TestJournalStaysShort(t *testing.T) {
	t.Parallel()
	vhost := rabbittest.New(t)
	p := openPublisher(t, amqpbroker.PublisherConfig{URL: vhost.URL()})
	lead(t, p, "one", "one")
	ch := rabbittest.Channel(t, vhost.URL())
	before, long := "", strings.Repeat("x", 20<<10)
	for i := range 60 {
		after := fmt.Sprint(long, i)
		got, err := p.Take(patient(t), "s", "one", broker.Turn{Entry: "a", Before: before, After: after, Publish: []broker.Publication{to("q", fmt.Sprint(i))}})
		if err != nil || !got[0].OK {
			t.Fatalf("%v, %v", got, err)
		}
		before = after
		if i == 40 {
			for _, queue := range []string{"apium.beat.schedule.s", "q"} {
				if _, err := ch.QueueDelete(queue, false, false, false); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	q, err := ch.QueueDeclarePassive("apium.beat.schedule.s", true, false, false, false, nil)
	if err != nil || q.Messages > 20 {
		t.Errorf("%d records, %v", q.Messages, err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if found := stored(t, openPublisher(t, amqpbroker.PublisherConfig{URL: vhost.URL()})); found["a"] != before {
		t.Errorf("stored: %.20q…, %d bytes", found["a"], len(found["a"]))
	}
}

// TestSlotsAfterClose: a publisher that is closed says so.
func TestSlotsAfterClose(t *testing.T) {
	t.Parallel()
	p := openPublisher(t, amqpbroker.PublisherConfig{URL: rabbittest.New(t).URL()})
	p.Close()
	_, _, leadErr := p.Lead(t.Context(), "s", "one", time.Minute)
	_, slotsErr := p.Slots(t.Context(), "s")
	_, takeErr := p.Take(context.Background(), "s", "one", turn("a", "", "a1"))
	for _, err := range []error{leadErr, p.Resign(t.Context(), "s", "one"), slotsErr, takeErr} {
		if !errors.Is(err, broker.ErrClosed) {
			t.Errorf("%v, want %v", err, broker.ErrClosed)
		}
	}
}
