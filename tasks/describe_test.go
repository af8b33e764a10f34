package tasks_test

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/apium/apium/tasks"
)

// describe writes a signature on one line, as name:kind:type=default.
func describe(t *testing.T, reg *tasks.Registry, name string) string {
	t.Helper()
	entry, ok := reg.Lookup(name)
	if !ok {
		t.Fatalf("%s is not registered", name)
	}
	sig, known := entry.Signature()
	if !known {
		return "unknown"
	}
	var parts []string
	for _, p := range sig.Parameters {
		kind := [...]string{"/", "", "*", "kw", "**"}[p.Kind]
		text := fmt.Sprintf("%s%s:%v", kind, p.Name, p.Type)
		if p.Default != nil {
			text += "=" + string(p.Default)
		}
		parts = append(parts, text)
	}
	return fmt.Sprintf("(%s) %v", strings.Join(parts, " "), sig.Result)
}

type place struct {
	ID    int64    `celery:"place_id"`
	Name  string   `celery:"name,'x'"`
	Extra []string `celery:"*extra"`
}

func TestSignature(t *testing.T) {
	t.Parallel()
	reg := tasks.NewRegistry()
	reg.Register("none", func() {}, tasks.Params(""))
	reg.Register("all", func(_ context.Context, _ int, _ string, _ float64, _ map[string]int, _ ...bool) (string, error) {
		return "", nil
	},
		tasks.Params(`a, /, b="é", *rest, c=1.5, **more`))
	reg.Register("unnamed", func(int, ...string) error { return nil })
	reg.Register("struct", func(place) int { return 1 })
	reg.Register("handler", func(context.Context, *tasks.Request) (any, error) { return nil, nil })
	reg.Register("errback", func(context.Context, tasks.Failure, string) error { return nil }, tasks.Errback(), tasks.Params("a, b, c, to='root'"))
	reg.Register("gocelery", &celeryTask{})
	reg.Register("gocelery named", &celeryTask{}, tasks.Params("a, b=2"))
	reg.RegisterFor("python", "elsewhere")
	for name, want := range map[string]string{
		"none":           `() <nil>`,
		"all":            `(/a:int b:string="é" *rest:[]bool kwc:float64=1.5 **more:map[string]int) string`,
		"unnamed":        `(/:int *args:[]string) <nil>`,
		"struct":         `(place_id:int64 name:string="x" *extra:[]string) int`,
		"handler":        `unknown`,
		"errback":        `(a:json.RawMessage b:json.RawMessage c:json.RawMessage to:string="root") <nil>`,
		"gocelery":       `(**kwargs:<nil>) interface {}`,
		"gocelery named": `(a:<nil> b:<nil>=2) interface {}`,
		"elsewhere":      `unknown`,
	} {
		if got := describe(t, reg, name); got != want {
			t.Errorf("%s: %s\nwant %s", name, got, want)
		}
	}
}

func namedForSignature(int) {}

func TestSignatureNamesTheFunction(t *testing.T) {
	t.Parallel()
	reg := tasks.NewRegistry()
	reg.Register("named", namedForSignature)
	reg.Register("errback", func(tasks.Failure) error { return nil }, tasks.Errback())
	for name, want := range map[string]string{"named": reflect.TypeFor[tasks.Registry]().PkgPath() + "_test.namedForSignature", "errback": ""} {
		entry, _ := reg.Lookup(name)
		if sig, known := entry.Signature(); !known || sig.Function != want {
			t.Errorf("%s: %q, %v; want %q", name, sig.Function, known, want)
		}
	}
}

// celeryTask is a task of gocelery's form.
type celeryTask struct{}

func (*celeryTask) ParseKwargs(map[string]any) error { return nil }
func (*celeryTask) RunTask() (any, error)            { return nil, nil }
