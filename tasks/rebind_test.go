package tasks_test

import (
	"strings"
	"testing"

	"github.com/apium/apium/tasks"
)

// The expected values are those of Task.retry in Celery 5.7; compat_test holds hundreds
// more against it.
func TestRebind(t *testing.T) {
	t.Parallel()
	const named, collectors = "x, y=None", "a, /, x=None, *rest, z=None, **more"
	tests := []struct {
		params, args, kwargs, newArgs, newKwargs string
		wantArgs, wantKwargs                     string
	}{
		{named, `[1]`, `{"y": 2}`, ``, ``, `[1]`, `{"y": 2}`},
		{named, `[1]`, `{"y": 2}`, `[7]`, `{}`, `[7]`, `{}`},
		{named, `[]`, `{"x": 1, "y": 2}`, `[7]`, ``, `[7]`, `{"y": 2}`},
		{named, `[]`, `{"x": 1, "y": 2}`, `[7, 8]`, ``, `[7, 8]`, `{}`},
		{named, `[1, 2]`, `{}`, ``, `{"y": 8}`, `[1, 8]`, `{}`},
		{named, `[1]`, `{}`, ``, `{"y": 8}`, `[1]`, `{"y": 8}`},
		{named, `[1, 2, 3]`, `{}`, ``, `{"y": 8}`, `[1, 2, 3]`, `{"y": 8}`},
		{collectors, `[1, 2, 3]`, `{}`, ``, `{"a": 7, "x": 8, "w": 9}`, `[1, 8, 3]`, `{"a": 7, "w": 9}`},
		{collectors, `[1]`, `{"x": 2, "z": 3}`, `[7, 8]`, ``, `[7, 8]`, `{"z": 3}`},
		{"-", `[1]`, `{"x": 2}`, `[7, 8]`, ``, `[7, 8]`, `{"x": 2}`},
	}
	for _, tt := range tests {
		var fn any = celeryAdd{}
		var opts []tasks.Option
		if tt.params != "-" {
			fn, opts = locals(tt.params), []tasks.Option{tasks.Params(tt.params)}
		}
		args, kwargs := register("shop.f", fn, opts...).Rebind([]byte(tt.args), []byte(tt.kwargs), given(tt.newArgs), given(tt.newKwargs))
		if string(args) != tt.wantArgs || string(kwargs) != tt.wantKwargs {
			t.Errorf("(%s) with %s %s, retried with %s %s: %s %s, want %s %s", tt.params, tt.args, tt.kwargs, tt.newArgs, tt.newKwargs,
				args, kwargs, tt.wantArgs, tt.wantKwargs)
		}
	}
}

func given(text string) []byte {
	if text == "" {
		return nil
	}
	return []byte(text)
}

// celeryAdd is a task without parameters that we know of.
type celeryAdd struct{}

func (celeryAdd) ParseKwargs(map[string]any) error { return nil }
func (celeryAdd) RunTask() (any, error)            { return nil, nil }

func TestCheck(t *testing.T) {
	t.Parallel()
	tests := []struct{ params, args, kwargs, want string }{
		{"x, y=None", `[1]`, `{}`, ""},
		{"x, y=None", `["any", "value"]`, `{}`, ""},
		{"x, y=None", `[]`, `{}`, "missing 1 required positional argument: 'x'"},
		{"x, y=None", `[1]`, `{"z": 1}`, "unexpected keyword argument 'z'"},
		{"x, /, **more", `[1]`, `{"x": 1}`, "multiple values for argument 'x'"}, // as Celery's check has it
	}
	for _, tt := range tests {
		err := register("shop.f", locals(tt.params), tasks.Params(tt.params)).Check([]byte(tt.args), []byte(tt.kwargs))
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("f(%s) with %s %s: %v, want %s", tt.params, tt.args, tt.kwargs, err, tt.want)
		}
	}
	if err := register("shop.f", celeryAdd{}).Check([]byte(`[1, 2]`), []byte(`{}`)); err != nil {
		t.Error(err)
	}
}
