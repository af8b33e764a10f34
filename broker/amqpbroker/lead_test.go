package amqpbroker

import (
	"testing"

	"github.com/apium/apium/internal/rabbittest"
)

// TestLeadLosesItsConnection: a lead whose channel was closed, and then its connection, takes no turn, and says why.
func TestLeadLosesItsConnection(t *testing.T) {
	t.Parallel()
	p, err := OpenPublisher(t.Context(), PublisherConfig{URL: rabbittest.New(t).URL()})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	conn, err := p.holder.Get(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	on, err := openTransactions(conn)
	if err != nil {
		t.Fatal(err)
	}
	l := &lead{on: on, journal: &journal{queue: journalPrefix + "s"}}
	if err := on.ch.Close(); err != nil {
		t.Fatal(err)
	}
	<-on.done
	conn.Close()
	for range 2 {
		if _, err := p.commit(l, nil, record{"entry": "now"}); err == nil {
			t.Error("a turn was taken without a connection")
		}
	}
}
