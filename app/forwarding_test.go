package app

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apium/apium/internal/logtest"
	"github.com/apium/apium/internal/redistest"
	"github.com/apium/apium/operate/control"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/settings"
	"github.com/apium/apium/tasks"
)

// logged is a log that can be waited on.
type logged struct{ logtest.Buffer }

func (l *logged) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func (l *logged) waitFor(t *testing.T, text string) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !strings.Contains(l.String(), text); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no %q in:\n%s", text, l.String())
		}
	}
}

// Tasks that are forwarded to where nobody listens wait for ever: the operator is told.
func TestForwardingToAQueueNobodyConsumes(t *testing.T) {
	t.Parallel()
	conf := settings.Default()
	conf.BrokerURL = redistest.Start(t).URL(0)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	start := func(conf *settings.Settings, opts Options) (out *logged, ended chan error) {
		out, ended = &logged{}, make(chan error, 1)
		opts.Logger = out.logger()
		w, err := NewWorker(ctx, tasks.NewRegistry(), conf, opts)
		if err != nil {
			t.Fatal(err)
		}
		w.asksAgain = 0
		go func() { ended <- w.Run(ctx) }()
		return out, ended
	}
	other, otherEnded := start(conf, Options{Hostname: "other@h", Queues: []string{"python"}})
	other.waitFor(t, "ready.")
	forwarding := *conf
	forwarding.UnknownTask = settings.UnknownTasks{
		Default: tasks.UnknownPolicy{Action: tasks.UnknownForward, Queue: "python"},
		Queues: map[string]tasks.UnknownPolicy{
			"mail": {Action: tasks.UnknownForward, Queue: "pyton"}, "web": {Action: tasks.UnknownLeave},
		},
	}
	out, ended := start(&forwarding, Options{Hostname: "w@h", Queues: []string{"celery", "mail", "web"}})
	out.waitFor(t, "forwarded to queue pyton, and no other worker")
	producer, err := Open(ctx, conf)
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close()
	if _, err := producer.Send(ctx, canvas.Sig("proj.python")); err != nil {
		t.Fatal(err)
	}
	out.waitFor(t, "Forwarding task proj.python[")
	stop()
	for _, ended := range []chan error{ended, otherEnded} {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	if strings.Contains(out.String(), "forwarded to queue python,") {
		t.Errorf("queue python is consumed:\n%s", out.String())
	}
}

func TestUnconsumed(t *testing.T) {
	t.Parallel()
	replies := []control.Reply{
		{Node: "w@h", Value: []byte(`[{"name": "own"}]`)},
		{Node: "odd@h", Value: []byte(`{"error": "no"}`)},
		{Node: "py@h", Value: []byte(`[{"name": "celery", "exchange": {}}, {"name": "python"}]`)},
	}
	replies = append(replies, control.Reply{Node: "w@h", Value: []byte(`[{"name": "twin"}]`)}) // of the same node name
	w, err := NewWorker(t.Context(), tasks.NewRegistry(), settings.Default(), Options{Hostname: "w@h", Queues: []string{"own"}})
	if err != nil {
		t.Fatal(err)
	}
	if left := w.unconsumed([]string{"own", "python", "twin", "typo"}, replies); !slices.Equal(left, []string{"own", "typo"}) {
		t.Errorf("left are %q", left)
	}
}
