package settings

import (
	gocmp "cmp"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/tasks"
)

// captured reads what scripts/capture_settings.py got out of real Celery.
func captured(t *testing.T, name string, into any) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatal(err)
	}
}

// loadJSON loads settings that a golden file holds.
func loadJSON(t *testing.T, doc any) *Settings {
	t.Helper()
	var data []byte
	switch doc := doc.(type) {
	case json.RawMessage:
		data = doc // the order of keys counts
	default:
		var err error
		if data, err = json.Marshal(doc); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(t.TempDir(), "settings.json")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Load(Sources{File: path})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestTableIsCelerys compares every setting of the installed Celery with ours.
func TestTableIsCelerys(t *testing.T) {
	t.Parallel()
	var celery struct {
		Settings map[string]struct {
			Type    string
			Default any
			Old     []string
		}
	}
	captured(t, "defaults", &celery)
	types := map[string]string{"str": "string"}
	for name, want := range celery.Settings {
		e, ok := lookup(name)
		if !ok {
			t.Errorf("%s is missing", name)
			continue
		}
		if typ := want.Type; string(e.kind) != typ && string(e.kind) != types[typ] {
			t.Errorf("%s is %s, in Celery %s", name, e.kind, want.Type)
		}
		if diff := cmp.Diff(loose(want.Default), loose(e.def)); diff != "" {
			t.Errorf("%s: default (-Celery +ours):\n%s", name, diff)
		}
		for _, old := range want.Old {
			if o, ok := lookup(old); !ok || o != e {
				t.Errorf("%s does not lead to %s", old, name)
			}
		}
		kinds := 0
		for _, is := range []bool{e.field != nil, e.ignored != "", e.elsewhere != ""} {
			if is {
				kinds++
			}
		}
		if kinds != 1 {
			t.Errorf("%s is not one of honoured, ignored and of no concern", name)
		}
	}
	for _, e := range entries() {
		_, there := celery.Settings[e.name]
		if !there && !e.retired && !e.unlisted && !strings.HasPrefix(e.name, ownPrefix) {
			t.Errorf("Celery has no setting %s", e.name)
		}
	}
}

// TestSpellingsAreUnambiguous: no name leads to two settings.
func TestSpellingsAreUnambiguous(t *testing.T) {
	t.Parallel()
	for _, e := range entries() {
		names := []string{e.name, strings.ToUpper(e.name), "CELERY_" + strings.ToUpper(e.name), e.old}
		for _, name := range names {
			if name == "" || strings.HasPrefix(e.name, ownPrefix) && strings.HasPrefix(name, "CELERY_") {
				continue
			}
			if got, ok := lookup(name); !ok || got.name != e.name {
				t.Errorf("%s leads to %v, not to %s", name, got, e.name)
			}
		}
	}
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	s := Default()
	got := fmt.Sprint(
		s.TaskAcksLate, s.TaskAcksOnFailureOrTimeout, s.ResultExpires, s.Table(true)["worker_prefetch_multiplier"], s.TaskDefaultQueue, s.AcceptContent,
		s.TaskPublishRetryPolicy, s.BrokerConnectionMaxRetries, s.TaskProtocol, s.EnableUTC, s.Location(), s.UnknownTask.Default,
	)
	want := fmt.Sprint(
		false, true, 24*time.Hour, 4, "celery", []string{"json"}, broker.DefaultRetryPolicy(), 100, 2, true, time.UTC,
		tasks.UnknownPolicy{Action: tasks.UnknownFail},
	)
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestRouterIsCelerys(t *testing.T) {
	t.Parallel()
	type destination struct {
		Exchange     string `json:"exchange"`
		RoutingKey   string `json:"routing_key"`
		Priority     int    `json:"priority"` // null is 0 in messages
		DeliveryMode int    `json:"delivery_mode"`
		Serializer   string `json:"serializer"`
		Compression  string `json:"compression"`
		Error        string `json:"error"`
	}
	var cases []struct {
		Settings json.RawMessage
		Answers  [][3]json.RawMessage
	}
	captured(t, "routes", &cases)
	for _, c := range cases {
		s := loadSettings(t, c.Settings)
		for _, answer := range c.Answers {
			var task string
			var want destination
			decodeJSON(t, answer[0], &task)
			decodeJSON(t, answer[2], &want)
			got := destination{}
			given := optionsOf(t, answer[1])
			o, err := sent(s, task, given.options())
			switch {
			case err != nil:
				got.Error = err.Error()
				if want.Error != "" {
					want.Error = got.Error // in other words
				}
			default:
				got = destination{
					o.Task.Exchange, o.Task.RoutingKey, o.Task.Priority, o.Publication.DeliveryMode,
					gocmp.Or(o.Serializer, s.TaskSerializer), gocmp.Or(o.Compression, s.TaskCompression), "",
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s\n%s %s (-Celery +ours):\n%s", c.Settings, task, answer[1], diff)
			}
		}
	}
}

// sent is what is published when a task is sent.
func sent(s *Settings, task string, options canvas.Options) (canvas.Publish, error) {
	router := s.Router()
	plan, err := canvas.Apply(canvas.Sig(task), nil, options, canvas.Environment{
		NewID: func() string { return "id" }, Route: router.Route, Queue: router.Destination, DefaultQueue: s.TaskDefaultQueue,
	})
	if err != nil {
		return canvas.Publish{}, err
	}
	publish, _ := plan.Steps[0].(canvas.Publish)
	return publish, nil
}

// What a call is sent to by a queue's alias reaches the queue, in its delivery mode; a route
// says how publishing is tried again.
func TestRouterOfAliasesAndRetries(t *testing.T) {
	t.Parallel()
	s := Default()
	s.TaskQueues = []Queue{{Name: "feeds", Alias: "f", DeliveryMode: 1}}
	s.TaskRoutes = Routes{
		{Task: "a", Queue: "f", Retry: new(false), RetryPolicy: &RetryPolicy{MaxRetries: -1, IntervalMax: time.Second / 2}},
	}
	for task, options := range map[string]canvas.Options{"a": nil, "b": {canvas.Queue("f")}} {
		m, err := sent(s, task, options)
		got := fmt.Sprint(m.Task.Exchange, m.Task.RoutingKey, m.Publication.DeliveryMode, string(m.Retry), string(m.RetryPolicy), err)
		want := map[string]string{
			"a": `feeds1false{"interval_max": 0.5, "interval_start": 0.0, "interval_step": 0.0, "max_retries": null}<nil>`, "b": "feeds1<nil>",
		}
		if got != want[task] {
			t.Errorf("%s: %s", task, got)
		}
	}
}

// loadSettings does without the check that every queue of a route exists, because
// Celery finds that out only when a task is sent.
func loadSettings(t *testing.T, doc json.RawMessage) *Settings {
	t.Helper()
	o, err := parseJSON(doc)
	if err != nil {
		t.Fatal(err)
	}
	l := loader{given: map[*entry]given{}}
	for _, m := range o {
		e, ok := lookup(m.key)
		if !ok {
			t.Fatalf("unknown setting %s", m.key)
		}
		l.given[e] = given{m.value, Origin{Key: m.key}}
	}
	s := l.decode()
	if len(l.problems) > 0 {
		t.Fatal(l.problems)
	}
	return s
}

func optionsOf(t *testing.T, doc json.RawMessage) (route Route) {
	t.Helper()
	o, err := parseJSON(doc)
	if err != nil {
		t.Fatal(err)
	}
	d := &decoder{}
	if !routeOptions(d, &route, o) || len(d.problems) > 0 {
		t.Fatalf("%s: %v", doc, d.problems)
	}
	return route
}

func decodeJSON(t *testing.T, data []byte, into any) {
	t.Helper()
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatal(err)
	}
}

func TestQueuesAreCelerys(t *testing.T) {
	t.Parallel()
	var cases []struct {
		Settings json.RawMessage
		Answers  [][3]json.RawMessage
	}
	captured(t, "queues", &cases)
	for _, c := range cases {
		s := loadSettings(t, c.Settings)
		for _, answer := range c.Answers {
			var include, exclude []string
			var want [][]string
			decodeJSON(t, answer[0], &include)
			decodeJSON(t, answer[1], &exclude)
			decodeJSON(t, answer[2], &want)
			var got [][]string
			selected, err := s.Queues().Select(include, exclude)
			if err == nil {
				got = [][]string{}
			}
			for _, q := range selected {
				got = append(got, []string{q.Name, q.Exchange, q.ExchangeType, q.RoutingKey, q.Alias})
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s -Q %v -X %v (-Celery +ours):\n%s", c.Settings, include, exclude, diff)
			}
		}
	}
}

func TestAnnotationsAreCelerys(t *testing.T) {
	t.Parallel()
	var cases []struct {
		Annotations json.RawMessage
		Answers     map[string]map[string]any
	}
	captured(t, "annotations", &cases)
	for _, c := range cases {
		s := loadJSON(t, map[string]any{"task_annotations": c.Annotations})
		for task, want := range c.Answers {
			if diff := cmp.Diff(want, pythonic(s.TaskAnnotations.For(task))); diff != "" {
				t.Errorf("%s\n%s (-Celery +ours):\n%s", c.Annotations, task, diff)
			}
		}
	}
}

// pythonic turns an annotation back into what Python would have set.
func pythonic(a Annotation) map[string]any {
	got := map[string]any{}
	put := func(name string, given bool, value func() any) {
		if given {
			got[name] = value()
		}
	}
	put("rate_limit", a.RateLimit != nil, func() any {
		if n := 0.0; json.Unmarshal([]byte(*a.RateLimit), &n) == nil {
			return n
		}
		return *a.RateLimit
	})
	put("acks_late", a.AcksLate != nil, func() any { return *a.AcksLate })
	put("ignore_result", a.IgnoreResult != nil, func() any { return *a.IgnoreResult })
	put("time_limit", a.TimeLimit != nil, func() any { return a.TimeLimit.Seconds() })
	put("soft_time_limit", a.SoftTimeLimit != nil, func() any { return a.SoftTimeLimit.Seconds() })
	put("default_retry_delay", a.DefaultRetryDelay != nil, func() any { return a.DefaultRetryDelay.Seconds() })
	put("priority", a.Priority != nil, func() any { return float64(*a.Priority) })
	put("retry_backoff", a.RetryBackoff != nil, func() any { return *a.RetryBackoff == 1 })
	put("max_retries", a.MaxRetries != nil, func() any { return math.Inf(1) })
	return got
}
