package settings_test

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/apium/apium/internal/fromsettings"
	"github.com/apium/apium/settings"
)

var writeReference = flag.Bool("write", false, "TestReference: write docs/settings.md")

const referencePath = "../docs/settings.md"

// The page of all settings says what the tables say.
func TestReference(t *testing.T) {
	want := reference(t)
	if *writeReference {
		if err := os.WriteFile(referencePath, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(referencePath)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("docs/settings.md is stale (go test ./settings -run TestReference -write writes it) (-want +got):\n%s", diff)
	}
}

// comments are what stands beside the fields of Settings, by name.
func comments(t *testing.T) map[string]string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "settings.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	ast.Inspect(file, func(n ast.Node) bool {
		of, is := n.(*ast.TypeSpec)
		if !is || of.Name.Name != "Settings" {
			return true
		}
		fields, _ := of.Type.(*ast.StructType)
		for _, f := range fields.Fields.List {
			for _, name := range f.Names {
				text := strings.Join(strings.Fields(f.Comment.Text()), " ")
				if doc := strings.Join(strings.Fields(f.Doc.Text()), " "); text == "" && strings.HasPrefix(doc, name.Name+" is ") {
					text = strings.TrimSuffix(strings.TrimPrefix(doc, name.Name+" is "), ".")
				}
				found[name.Name] = text
			}
		}
		return false
	})
	return found
}

const referenceHead = `# Settings

Every setting that Celery 5.7 has, and Apium's own. This page is made of the tables of package settings
(` + "`go test ./settings -run TestReference -write`" + `); a test fails when they differ.

Settings come from the app (` + "`-A`" + `), or from a file (` + "`--config`" + `), then from the environment, then from ` + "`name=value`" + ` behind
` + "`worker`" + `, then from options, and each wins over those before. Their names may be the new ones, in capitals with
` + "`CELERY_`" + ` in front (the environment, Django), or those of Celery 3. With ` + "`-A`" + ` Python tasks run by Celery's own code, and heed
whatever it heeds; the tables say what the worker itself does, Go handlers, and producers in Go.

In Go each is a field of ` + "`settings.Settings`" + `: ` + "`task_acks_late`" + ` is ` + "`TaskAcksLate`" + `. Times are seconds here, and ` + "`time.Duration`" + ` there.
`

// refusals are settings that are refused, for the page to show how.
var refusals = []string{
	`{"task_time_limit": "soon"}`,
	`{"task_serializer": "jsn"}`,
	`{"task_default_rate_limit": "10/d"}`,
	`{"task_default_queue_type": "stream"}`,
	`{"broker_use_ssl": {"ssl_password": "secret"}}`,
	`{"timezone": "Europe/Pari"}`,
	`{"apium_unknown_tsk": "park"}`,
}

func reference(t *testing.T) string {
	var b strings.Builder
	b.WriteString(referenceHead)
	about, groups := comments(t), settings.DescribedTable()
	plain := namesOf(groups)
	unheeded := map[string]int{}
	for i, u := range fromsettings.Unheeded {
		unheeded[u.Name] = i
	}
	var warned []string
	quiet := map[string][]string{}
	for _, title := range []string{"Tasks", "Worker", "Broker", "Results", "Beat, events and the rest", "RedBeat and django-celery-beat", "Apium's own"} {
		fmt.Fprintf(&b, "\n## %s\n\n| setting | Celery's default | |\n|---|---|---|\n", title)
		for _, s := range groups[title] {
			i, without := unheeded[s.Name]
			switch {
			case without && fromsettings.Unheeded[i].Children:
				warned = append(warned, fmt.Sprintf("| `%s` | %s | heeds it |", s.Name, fromsettings.Unheeded[i].Why))
			case without:
				warned = append(warned, fmt.Sprintf("| `%s` | %s | |", s.Name, fromsettings.Unheeded[i].Why))
			case s.Ignored != "" && s.ByPython:
				warned = append(warned, fmt.Sprintf("| `%s` | %s | heeds it |", s.Name, s.Ignored))
			case s.Ignored != "":
				warned = append(warned, fmt.Sprintf("| `%s` | %s | |", s.Name, s.Ignored))
			case s.Elsewhere != "":
				quiet[s.Elsewhere] = append(quiet[s.Elsewhere], "`"+s.Name+"`")
			default:
				if about[s.Field] == "" {
					t.Errorf("nothing is said of %s: write it beside Settings.%s", s.Name, s.Field)
				}
				def := ""
				if s.Default != "" {
					def = "`" + s.Default + "`"
				}
				fmt.Fprintf(&b, "| `%s` | %s | %s |\n", s.Name, def, plain.Replace(inPython(about[s.Field], s.Default)))
			}
		}
	}
	b.WriteString("\n## Without effect\n\nUnderstood, and one warning if it is not Celery's default.\n\n| setting | why | with `-A`, the app |\n|---|---|---|\n")
	slices.Sort(warned)
	b.WriteString(strings.Join(warned, "\n") + "\n")
	b.WriteString("\n## Nothing to be missed\n\nTaken without a word: what these are for is so anyway, or is not there. With `-A` the app heeds them.\n\n| settings | |\n|---|---|\n")
	for _, why := range slices.Sorted(maps.Keys(quiet)) {
		fmt.Fprintf(&b, "| %s | %s |\n", strings.Join(quiet[why], ", "), why)
	}
	b.WriteString("\n## What is refused\n\nA value that means nothing is an error, and all of them are told at once; the worker does not start. A name that is no setting is a\n" +
		"warning with the nearest one, as it may be the app's own; one of Apium's is an error.\n\n| in a file | |\n|---|---|\n")
	for _, doc := range refusals {
		fmt.Fprintf(&b, "| `%s` | %s |\n", doc, refusal(t, doc))
	}
	return b.String()
}

// namesOf replaces names of fields by those of settings.
func namesOf(groups map[string][]settings.Described) *strings.Replacer {
	var pairs []string
	for _, group := range groups {
		for _, s := range group {
			if s.Field != "" {
				pairs = append(pairs, s.Field, "`"+s.Name+"`")
			}
		}
	}
	names := pairs[:0:0]
	order := make([]int, 0, len(pairs)/2)
	for i := 0; i < len(pairs); i += 2 {
		order = append(order, i)
	}
	slices.SortFunc(order, func(a, b int) int { return len(pairs[b]) - len(pairs[a]) }) // the longest that fits
	for _, i := range order {
		names = append(names, pairs[i], pairs[i+1])
	}
	return strings.NewReplacer(append(names, "|", `\|`, "<", "&lt;")...)
}

// inPython says what a value means as Python has it: what stands for None in Go is a zero.
func inPython(text, def string) string {
	text = strings.ReplaceAll(text, "-1: Python's None, ", "None: ")
	switch {
	case strings.Contains(text, "nil: "):
		return strings.Replace(text, "nil: ", "not given: ", 1)
	case def == "None", def == "":
		return strings.NewReplacer(`"": `, "not given: ", "0: ", "not given: ").Replace(text)
	}
	return text
}

func refusal(t *testing.T, doc string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "celery.json")
	if err := os.WriteFile(path, []byte(doc), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := settings.Load(settings.Sources{File: path})
	if err == nil {
		t.Errorf("%s is not refused", doc)
		return ""
	}
	text := strings.ReplaceAll(err.Error(), path+": ", "")
	return strings.ReplaceAll(strings.Join(strings.Fields(text), " "), "|", `\|`)
}
