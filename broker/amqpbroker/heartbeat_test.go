package amqpbroker

import (
	"testing"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/rabbittest"
	"github.com/apium/apium/settings/connection"
)

// The smaller of what both sides propose holds; who wants none gets none, whatever the server proposes.
func TestHeartbeat(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		proposed time.Duration
		query    string
		want     int // s
	}{
		{0, "", 60}, {7 * time.Second, "", 7}, {-1, "", 0}, {0, "?heartbeat=0", 0}, {-1, "?heartbeat=9", 9},
	} {
		vhost := rabbittest.New(t)
		c, err := Open(t.Context(), Config{
			URL: vhost.URL() + test.query, Queues: broker.Named("q"), Connection: connection.AMQP{Heartbeat: test.proposed},
		})
		if err != nil {
			t.Fatal(err)
		}
		conns := vhost.Connections(t)
		if len(conns) != 1 || conns[0].Heartbeat != test.want {
			t.Errorf("%v %s: %+v, want %d s", test.proposed, test.query, conns, test.want)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}
