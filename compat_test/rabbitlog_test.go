package compat_test

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apium/apium/internal/rabbittest"
)

// TestLossesAreToldOnce has a worker with connections for tasks, results, events and remote control lose all of
// them, a queue, and the channels that it consumes on. It says so once, and once that it is connected again, as Celery's does,
// whose connections are made again in all these cases (for channels with broker_channel_error_retry).
func TestLossesAreToldOnce(t *testing.T) {
	t.Parallel()
	server := &redisServer{vhost: rabbittest.New(t)}
	network := newNetwork(t, server.vhost.Server().Addr())
	a := app{broker: server.vhost.URLAt(network.addr()), backend: "rpc://", settings: map[string]any{"broker_channel_error_retry": true}}
	server.loses(t, map[string]*process{
		"py@host":       a.startNeighbor(t, "py@host"),
		"go@host":       a.startNeighbor(t, "go@host"),
		"children@host": a.startChildren(t, "-n", "children@host", "-E"),
	}, network.cut, func() { server.vhost.CloseConnections(t) }, func() { server.vhost.DeleteQueue(t, "celery") }, func() { server.vhost.CloseChannels(t) })
}

// loses has workers lose something that the broker has of them, several times, and counts what they say.
func (s *redisServer) loses(t *testing.T, workers map[string]*process, losses ...func()) {
	t.Helper()
	nodes := slices.Sorted(maps.Keys(workers))
	lost, made := regexp.MustCompile(`: WARNING/MainProcess\] consumer: Connection to broker lost\.`), regexp.MustCompile(`: INFO/MainProcess\] Connected to amqp:`)
	said := func(line *regexp.Regexp, w *process) int { return len(line.FindAllString(w.log.String(), -1)) }
	answer := func() { // pidbox is the last that Celery makes again
		eventually(t, patience, "they answer", func() bool { return slices.Equal(s.pinged(t, 3*time.Second, nodes...), nodes) })
	}
	answer()
	for i, lose := range losses {
		lose()
		for node, w := range workers {
			eventually(t, patience, node+" is connected again", func() bool { return said(made, w) >= i+2 })
		}
		answer()
	}
	for node, w := range workers {
		if n, m := said(lost, w), said(made, w); n != len(losses) || m != len(losses)+1 {
			t.Errorf("%s has told %d times that its connections were lost, and %d times that they were made; they were lost %d times", node, n, m, len(losses))
		}
		if text := w.log.String(); strings.Contains(text, "cannot hear") {
			t.Errorf("%s could not hear others for a while", node)
		}
	}
}
