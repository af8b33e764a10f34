package compat_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What apium stubs --python writes can be imported with every Celery, and calls that do not fit
// fail where they are made: nothing has to be published to find out.
func TestStubsInPython(t *testing.T) {
	t.Parallel()
	for _, version := range slices.Sorted(maps.Keys(peers)) {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			a := app{venv: peers[version]}
			var got map[string]string
			a.run(t, &got, "stubs_call.py", "../../../internal/stubs/testdata/stubs.py")
			want := map[string]string{
				"add()":           "TypeError: shop_tasks_add() missing 2 required positional arguments: 'x' and 'y'",
				"add(1)":          "TypeError: shop_tasks_add() missing 1 required positional argument: 'y'",
				"add(1, 2)":       "published",
				"add(1, 2, 3)":    "published",
				"add(1, 2, 3, 4)": "TypeError: shop_tasks_add() takes from 2 to 3 positional arguments but 4 were given",
				"add(1, 2, q=3)":  "TypeError: shop_tasks_add() got an unexpected keyword argument 'q'",
				"only(b='1')":     "published",
				"only(a='1')":     "TypeError: only() missing 1 required keyword-only argument: 'b'",
				"in Python":       "NotImplementedError: shop.tasks.add runs in Go",
				"names":           `1-2 "3"` + "\n" + `\ crm.tasks.add errback gone gone.named größe.class handler named.only shop.datetime shop.tasks.add shop.tasks.everything shop.tasks.price`,
				"queue":           "prices2",
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// What apium stubs writes of an app is the same with every Celery. It compiles, and as a worker it
// takes the calls that the app's own tasks would take, and no others.
func TestStubsInGo(t *testing.T) {
	t.Parallel()
	var source string
	for _, version := range slices.Sorted(maps.Keys(peers)) {
		a := app{venv: peers[version], broker: "memory://"}
		cmd := exec.Command(apiumBinary, "stubs", "-A", "stubs_app", "--interpreter", a.python())
		cmd.Dir, cmd.Env = appDir, append(os.Environ(), a.env(t)...)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		text, err := cmd.Output()
		if err != nil {
			t.Fatalf("apium stubs: %v\n%s", err, stderr.String())
		}
		if source != "" && string(text) != source {
			t.Errorf("Celery %s: %s", version, cmp.Diff(source, string(text)))
		}
		source = string(text)
	}
	server := startRedis(t)
	a := app{broker: server.url(0)}
	moved := buildMoved(t, source)
	check := exec.Command(moved, "stubs", "--check", "-A", "stubs_app", "--interpreter", a.python())
	check.Dir, check.Env = appDir, append(os.Environ(), a.env(t)...)
	if out, err := check.CombinedOutput(); err != nil || string(out) != "13 tasks are in Go, 0 are not; 0 differences.\n" {
		t.Errorf("stubs --check: %v\n%s", err, out)
	}
	w := start(t, "moved worker", "", a.env(t), moved, "worker", "-b", a.broker, "--result-backend", a.broker, "-l", "info")
	w.waitLog(t, " ready.")
	var got [][2]string
	a.run(t, &got, "stubs_moved.py")
	todo := func(name string) [2]string {
		return [2]string{name, "NotImplementedError: " + name + " is not written in Go yet"}
	}
	want := [][2]string{
		todo("shop.tasks.price"), todo("shop.tasks.price"),
		{"shop.tasks.price", "TypeError: price() missing 1 required positional argument: 'lines'"},
		{"shop.tasks.price", "TypeError: price() argument 'order_id' must be int, not float"},
		{"shop.tasks.price", "TypeError: price() takes 2 positional arguments but 3 were given"},
		{"shop.tasks.price", "ValueError: price() argument 'lines': [0].color: 'green' is not a valid Color"},
		todo("shop.echo"),
		{"shop.echo", "ValueError: echo() argument 'size': 2 is not a valid Size"},
		{"shop.echo", "TypeError: echo() argument 'b' must be str, not int"}, // by name it is one of **more
		todo("shop.dates"),
		{"shop.dates", "TypeError: dates() argument 'id' must be UUID, not int"},
		todo("shop.structs"),
		{"shop.structs", "ValueError: structs() argument 'point': Point has 2 values"},
		todo("shop.literal"),
		{"shop.literal", "ValueError: literal() argument 'level': 'middle' is not a valid LiteralLevel"},
		todo("shop.literal"), todo("stubs_app.untyped"), todo("misfits"), todo("misfits"), todo("go.type"), todo("go.unknown"),
		todo("shop-2.by class é"), todo("shop.tasks.line"), todo("crm.line"), todo("..."),
		{"...", "TypeError: () takes 0 positional arguments but 1 was given"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// buildMoved builds a worker of what apium stubs has written, as if it were in a folder of this
// module.
func buildMoved(t *testing.T, source string) string {
	t.Helper()
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	dir, replace := t.TempDir(), map[string]string{}
	for name, text := range map[string]string{"tasks.go": source, "main.go": movedMain} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		replace[filepath.Join(here, "moved", name)] = path
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(dir, "moved")
	if out, err := exec.Command("go", "build", "-overlay", filepath.Join(dir, "overlay.json"), "-o", binary, "./moved").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return binary
}

const movedMain = `package main

import (
	"github.com/apium/apium/cli"
	"github.com/apium/apium/tasks"
)

func main() {
	reg := tasks.NewRegistry()
	Register(reg)
	cli.Main(reg)
}
`
