package stubs_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apium/apium/internal/stubs"
)

type object = map[string]any

// oddities are what generated descriptions are made of.
var (
	oddNames = []string{
		"x", "type", "string", "nil", "ctx", "json", "_", "__", "a_b", "aB", "größe", "名前", "ID", "tasks", "Register", "context", "Line", "init", "x1", "v", "data",
		"values", "errors", "UnmarshalJSON", "MarshalJSON", "func", "len", "HTTPHeader", "item_1", "time",
	}
	oddTasks = []string{"shop.tasks.add", "crm.tasks.add", "add", "...", "a-b", "1", "shop.Line", "x.register", "é.ü", "名前.名前", "a\"b`\n\\", "go.type", "x.y.z"}
	oddTexts = []string{
		"", "One line.", "Two\nlines.", "*/ ` \" \\ \x00 \u202e \r\n//go:build linux", "\t- a list\n\t- with tabs\n\n# heading\n", "//line foo:1\n+build x", "\ufeff\u2028",
	}
	oddDefaults = []object{
		{"source": "None", "literal": true, "value": nil},
		{"source": "1", "literal": true, "value": 1},
		{"source": "-2.5", "literal": true, "value": -2.5},
		{"source": `"x"`, "literal": true, "value": "x"},
		{"source": "[]", "literal": true, "value": []any{}},
		{"source": "{}", "literal": true, "value": object{}},
		{"source": "True", "literal": true, "value": true},
		{"source": `[1, "a", None]`, "literal": true, "value": []any{1, "a", nil}},
		{"source": `{"1": 2}`, "literal": true, "value": object{"1": 2}},
		{"source": "[1, 2]", "literal": true, "value": []any{1, 2}},
		{"source": strings.Repeat("9", 40), "literal": true, "value": json.Number(strings.Repeat("9", 40))},
		{"source": "'\\ud800`\"\\x00'", "literal": true, "value": "\ufffd`\"\x00"},
		{"source": "object()\n*/"},
		{"source": "Decimal('1.0')"},
	}
	oddOptions = object{
		"acks_late": true, "max_retries": nil, "rate_limit": "10/m", "time_limit": 30, "soft_time_limit": 25.5, "queue": "a\"b", "priority": 3, "expires": 0.001,
		"ignore_result": "perhaps", "default_retry_delay": -1, "autoretry_for": object{"text": "(Exception,\n)"}, "retry_backoff": true, "throws": object{"text": "()"},
		"serializer": nil, "compression": 7, "exchange": "x", "typing": false, "track_started": false, "send_events": false,
	}
)

// descriptions makes what Python might say of an app.
type descriptions struct{ *rand.Rand }

func pickOf[T any](d descriptions, list []T) T { return list[d.IntN(len(list))] }

func (d descriptions) annotation(depth int) object {
	kinds := []string{"int", "float", "str", "bool", "bytes", "none", "datetime", "date", "time", "timedelta", "decimal", "uuid", "any", "unknown"}
	if depth < 4 {
		kinds = append(kinds, "list", "dict", "optional", "tuple", "literal", "named", "named", "named")
	}
	kind := pickOf(d, kinds)
	made := object{"kind": kind, "text": pickOf(d, []string{"int", "list[\"x\"]", "a\nb */ `"})}
	switch kind {
	case "list", "optional":
		made["of"] = d.annotation(depth + 1)
	case "dict":
		made["key"], made["of"] = d.annotation(5), d.annotation(depth+1)
	case "tuple":
		items := []object{}
		for range 1 + d.IntN(3) {
			items = append(items, d.annotation(depth+1))
		}
		made["items"] = items
	case "literal":
		made["values"] = pickOf(d, [][]any{{"low", "high", ""}, {1, -1}, {"a b", "a-b", "a_b", "-x"}, {"\ufffd", "é", "\"`"}, {7}})
	case "named":
		made["name"] = fmt.Sprintf("m.C%d", d.IntN(6))
	}
	return made
}

func (d descriptions) fields() []object {
	fields := []object{}
	for range d.IntN(6) {
		f := object{"name": pickOf(d, oddNames), "key": pickOf(d, append(oddNames, "odd-key", "quote\"d", "a,b", "-", "", "back`tick"))}
		if d.IntN(5) > 0 {
			f["type"] = d.annotation(0)
		}
		if d.IntN(3) == 0 {
			f["default"] = pickOf(d, oddDefaults)
		}
		fields = append(fields, f)
	}
	return fields
}

func (d descriptions) class() object {
	made := object{"name": pickOf(d, append(oddNames, "Line")), "module": pickOf(d, []string{"m", "shop.models"}), "kind": pickOf(d, []string{"struct", "tuple", "enum"})}
	if made["kind"] == "enum" {
		made["members"] = pickOf(d, [][]object{
			{{"name": "RED", "value": "red"}, {"name": "DARK_BLUE", "value": "dark\"blue"}, {"name": "AGAIN", "value": "red"}},
			{{"name": "_", "value": 1}, {"name": "__", "value": -3}, {"name": "名", "value": 7}},
		})
		return made
	}
	made["of"], made["fields"] = pickOf(d, []string{"dataclass", "TypedDict"}), d.fields()
	return made
}

func (d descriptions) task(name string) object {
	made := object{"name": name, "doc": pickOf(d, oddTexts), "place": pickOf(d, []string{"", "shop/tasks.py:1", "a\nb.py:2"})}
	options := object{}
	for option, value := range oddOptions {
		if d.IntN(3) == 0 {
			options[option] = value
		}
	}
	made["options"] = options
	switch d.IntN(12) {
	case 0:
		made["problem"] = "ValueError: no\nsignature"
		return made
	case 1:
		made["by_hand"] = []string{"on_failure (x.py:1)", "a\nb"}
	}
	made["parameters"] = d.parameters()
	if d.IntN(3) > 0 {
		made["returns"] = d.annotation(0)
	}
	return made
}

// parameters makes a list that Python would take.
func (d descriptions) parameters() []object {
	names := append([]string{}, oddNames...)
	d.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	list, optional := []object{}, false
	for _, kind := range []string{"positional_only", "positional", "var_positional", "keyword_only", "var_keyword"} {
		most := 4
		if strings.HasPrefix(kind, "var") {
			most = 2
		}
		for range d.IntN(most) {
			p := object{"name": names[len(list)], "kind": kind}
			if d.IntN(6) > 0 {
				p["type"] = d.annotation(0)
			}
			positional := strings.HasPrefix(kind, "positional")
			if !strings.HasPrefix(kind, "var") && (d.IntN(3) == 0 || positional && optional) {
				p["default"] = pickOf(d, oddDefaults)
				optional = optional || positional
			}
			list = append(list, p)
		}
	}
	return list
}

func (d descriptions) project(t *testing.T) *stubs.Project {
	t.Helper()
	types, list := object{}, []object{}
	for i := range 5 { // there is no C5
		types[fmt.Sprintf("m.C%d", i)] = d.class()
	}
	for _, name := range oddTasks {
		list = append(list, d.task(name))
	}
	text, err := json.Marshal(object{"tasks": list, "types": types})
	if err != nil {
		t.Fatal(err)
	}
	p, err := stubs.Read(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Whatever Python says of an app, what is written compiles, and the tasks can be registered.
func TestGoCompiles(t *testing.T) {
	t.Parallel()
	const packages = 12
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	d := descriptions{rand.New(rand.NewPCG(seed, 0))} //nolint:gosec // a test
	sources := map[string]string{}
	imports, calls := "", ""
	for i := range packages {
		text, err := stubs.Go(d.project(t), fmt.Sprintf("p%d", i), "apium stubs\n-A mysite")
		if err != nil {
			t.Fatal(err)
		}
		sources[fmt.Sprintf("p%d/p.go", i)] = text
		imports += fmt.Sprintf("\t\"github.com/apium/apium/internal/stubs/generated/p%d\"\n", i)
		calls += fmt.Sprintf("\t\t%q: p%d.Register,\n", fmt.Sprintf("p%d", i), i)
	}
	sources["main.go"] = `package main

import (
	"fmt"

	"github.com/apium/apium/tasks"
` + imports + `)

func main() {
	for name, register := range map[string]func(*tasks.Registry){
` + calls + `	} {
		reg := tasks.NewRegistry()
		register(reg)
		fmt.Println(name, len(reg.Names()))
	}
}
`
	out := runGenerated(t, sources)
	for i := range packages {
		if want := fmt.Sprintf("p%d %d\n", i, len(oddTasks)); !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

// runGenerated runs a program as if its files were in a folder of this module.
func runGenerated(t *testing.T, sources map[string]string) string {
	t.Helper()
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	dir, replace := t.TempDir(), map[string]string{}
	for name, text := range sources {
		file := filepath.Join(dir, strings.ReplaceAll(name, "/", "-"))
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		replace[filepath.Join(here, "generated", name)] = file
	}
	overlay, err := json.Marshal(object{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", "run", "-overlay", filepath.Join(dir, "overlay.json"), "./generated")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go run: %v\n%s", err, stderr.String())
	}
	return string(out)
}
