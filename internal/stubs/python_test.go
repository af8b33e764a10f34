package stubs_test

import (
	"context"
	"encoding/json"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/apium/apium/internal/stubs"
	"github.com/apium/apium/protocol/pyjson"
	"github.com/apium/apium/tasks"
)

type line struct {
	SKU    string `json:"sku"`
	Qty    int    `json:"qty"`
	Note   *string
	Parent *line  `json:"parent"`
	Hidden int    `json:"-"`
	Left   string `json:"-"`
}

// annotations is both the name of a class here and taken in the module.
type annotations struct {
	Odd  int `json:"odd-key"`
	Many map[int][]*line
}

type level string

func (l *level) UnmarshalText(text []byte) error { *l = level(text); return nil }

type own struct{}

func (*own) UnmarshalJSON([]byte) error { return nil }

// goneTask is a task of gocelery's form.
type goneTask struct{}

func (*goneTask) ParseKwargs(map[string]any) error { return nil }
func (*goneTask) RunTask() (any, error)            { return nil, nil }

// goTasks are tasks of all forms.
func goTasks() *tasks.Registry {
	reg := tasks.NewRegistry()
	reg.Register("shop.tasks.add", func(_, _, _ int) (int, error) { return 0, nil }, tasks.Params("x, y, z=0"))
	reg.Register("crm.tasks.add", func(float64, float32) error { return nil })
	reg.Register("shop.tasks.price", func(_ context.Context, _ int64, _ []line, _ string, _ *time.Time, _ *pyjson.Decimal) (map[string]float64, error) {
		return nil, nil
	}, tasks.Params(`order_id, lines, /, *, currency="EUR", due=None, rate=None`),
		tasks.Queue("prices"), tasks.Priority(3), tasks.Expires(time.Minute), tasks.IgnoreResult(true), tasks.Queue("prices2"))
	reg.Register("shop.tasks.everything", func(_ []byte, _ *big.Int, _ time.Duration, _ pyjson.Date, _ pyjson.Clock, _ pyjson.UUID, _ json.RawMessage,
		_ any, _ map[int]string, _ map[level]own, _ [2]bool, _ level, _ struct{ A int }, _ annotations, _ map[string]any, _ ...uint8,
	) (*line, error) {
		return nil, nil
	}, tasks.Params(`a="x", b=0, c=1.5, d="2030-01-02", e="10:00", f="12345678-1234-5678-1234-567812345678", g={"a": ["é\n\"\0", True, None]}, h=1e400, i={"1": 'b'}, j={}, k=[True, False], l='\ud800', m={}, n={}, *rest, **more`))
	reg.Register("named.only", func(_, _, _ string) {}, tasks.Params("*, a='1', b, c='3'"))
	reg.Register("handler", func(context.Context, *tasks.Request) (any, error) { return nil, nil })
	reg.Register("errback", func(context.Context, tasks.Failure, string) error { return nil }, tasks.Errback(), tasks.Params("request, exc, traceback, to='root'"))
	reg.Register("gone", &goneTask{})
	reg.Register("gone.named", &goneTask{}, tasks.Params("a, b=2"))
	reg.Register("größe.class", func() {}, tasks.Params(""))
	reg.Register("1-2 \"3\"\n\\", func(string, ...line) {})
	reg.Register("shop.datetime", func() {}, tasks.Params(""))
	return reg
}

func entries(t *testing.T, reg *tasks.Registry) (list []*tasks.Entry) {
	t.Helper()
	for _, name := range reg.Names() {
		entry, ok := reg.Lookup(name)
		if !ok {
			t.Fatal(name)
		}
		list = append(list, entry)
	}
	return list
}

// The module is the one that compat_test/ imports into every Celery.
func TestPython(t *testing.T) {
	t.Parallel()
	golden(t, "stubs.py", stubs.Python(entries(t, goTasks()), "shopworker stubs --python"))
}

// golden compares a text with a file, and writes that if UPDATE is set.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		gotLines, wantLines := strings.Split(got, "\n"), strings.Split(string(want), "\n")
		for i, line := range gotLines {
			if i >= len(wantLines) || line != wantLines[i] {
				t.Fatalf("%s:%d is\n%s\nwith UPDATE=1 the file is written again", path, i+1, line)
			}
		}
		t.Fatalf("%s is %d lines long, not %d", path, len(wantLines), len(gotLines))
	}
}
