package stubs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/format"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/apium/apium/tasks"
)

// goFile is a Go file that is being written.
type goFile struct {
	project   *Project
	names     namer // of the package
	imports   map[string]bool
	classes   map[string]goType // by their names in Python
	literals  map[string]goType // by their values
	types     []string
	functions []string
	calls     []string // of Register
}

// Go returns a Go file with a function for each task of a Celery app, and one that registers them.
// command is how the file was made.
func Go(p *Project, pkg, command string) (string, error) {
	f := &goFile{
		project: p, names: newNamer(goTaken), imports: map[string]bool{"tasks": true},
		classes: map[string]goType{}, literals: map[string]goType{},
	}
	candidates := make([][]string, len(p.Tasks))
	for i := range p.Tasks {
		candidates[i] = functionNames(p.Tasks[i].Name)
	}
	for i, name := range f.names.takeAll(candidates) {
		f.task(&p.Tasks[i], name)
	}
	text := "// Begun by: " + oneLine(command) + "\n\npackage " + pkg + "\n\n" + f.importList() +
		"\n// Register registers the tasks.\nfunc Register(reg *tasks.Registry) {\n" + strings.Join(f.calls, "") + "}\n\n" +
		strings.Join(slices.Concat(f.functions, f.types), "\n")
	formatted, err := format.Source([]byte(text))
	if err != nil {
		return "", fmt.Errorf("stubs: what was written is no Go, which is a mistake of this program: %w\n%s", err, text)
	}
	return string(formatted), nil
}

func (f *goFile) importList() string {
	text := "import (\n"
	for _, pkg := range []string{"context", "encoding/json", "errors", "fmt", "time"} {
		if f.imports[pkg[strings.LastIndexByte(pkg, '/')+1:]] {
			text += "\t" + strconv.Quote(pkg) + "\n"
		}
	}
	text += "\n"
	if f.imports["pyjson"] {
		text += "\t\"github.com/apium/apium/protocol/pyjson\"\n"
	}
	return text + "\t\"github.com/apium/apium/tasks\"\n)\n"
}

// task writes the function of a task, and its registration.
func (f *goFile) task(task *Task, name string) {
	f.use("context")
	w := &taskWriter{file: f, task: task, name: name, names: newNamer(goTaken)}
	if problem := w.problem(); problem != "" {
		w.remark(problem)
		f.functions = append(f.functions, w.doc()+fmt.Sprintf("func %s(ctx context.Context, req *tasks.Request) (any, error) {\n\treturn nil, %s\n}\n", name, w.raise()))
		f.calls = append(f.calls, w.registration())
		return
	}
	parameters := w.parameters()
	results, zero := "error", ""
	if made, ok := f.result(task.Returns, name+" Result"); ok {
		results, zero = "("+made.text+", error)", made.zero+", "
	}
	f.functions = append(f.functions, w.doc()+fmt.Sprintf("func %s(%s) %s {\n\treturn %s%s\n}\n", name, parameters, results, zero, w.raise()))
	f.calls = append(f.calls, w.registration("tasks.Params("+quote(w.list)+"),"))
}

// taskWriter writes one task.
type taskWriter struct {
	file    *goFile
	task    *Task
	name    string // of the function
	names   namer  // of its parameters
	list    string // of the parameters in Python
	remarks []string
}

func (w *taskWriter) remark(text string) { w.remarks = append(w.remarks, oneLine(text)) }

func (w *taskWriter) raise() string {
	return fmt.Sprintf("tasks.Raise(%q, %q)", "NotImplementedError", w.task.Name+" is not written in Go yet")
}

// problem says why a task gets the raw request: its parameters are not known, or are none that
// tasks.Params reads. "": it does not.
func (w *taskWriter) problem() string {
	if w.task.Problem != "" {
		return w.task.Problem
	}
	err := tasks.NewRegistry().TryRegister("task", unread{}, tasks.Params(w.parameterList(func(*parameter) string { return "0" })))
	if err != nil {
		return err.Error()
	}
	return ""
}

// unread is a task that has its parameter list read and nothing more.
type unread struct{}

func (unread) ParseKwargs(map[string]any) error { return nil }
func (unread) RunTask() (any, error)            { return nil, nil }

// parameterList writes the list as in Python, without annotations.
func (w *taskWriter) parameterList(defaultOf func(*parameter) string) string {
	var list []string
	star := false
	for i := range w.task.Parameters {
		p := &w.task.Parameters[i]
		text := p.Name
		switch p.Kind {
		case varPositional:
			text, star = "*"+text, true
		case varKeyword:
			text = "**" + text
		case "keyword_only":
			if !star {
				list, star = append(list, "*"), true
			}
		}
		if p.Default != nil {
			text += "=" + defaultOf(p)
		}
		list = append(list, text)
		if p.Kind == "positional_only" && (i+1 == len(w.task.Parameters) || w.task.Parameters[i+1].Kind != p.Kind) {
			list = append(list, "/")
		}
	}
	return strings.Join(list, ", ")
}

// parameters writes the parameters in Go. *args stands last, and **kwargs before it.
func (w *taskWriter) parameters() string {
	list, last := []string{"ctx context.Context"}, []string(nil)
	defaults := map[*parameter]string{}
	for i := range w.task.Parameters {
		p := &w.task.Parameters[i]
		name, context := w.names.parameterName(p.Name), w.name+" "+p.Name
		made := w.file.of(p.Type, context)
		switch p.Kind {
		case varPositional:
			last = append(last, name+" ..."+made.text)
		case varKeyword:
			last = slices.Insert(last, 0, name+" map[string]"+made.text)
		default:
			made, defaults[p] = w.withDefault(p, made)
			list = append(list, name+" "+made.text)
		}
		if strings.Contains(made.text, "json.RawMessage") && p.Type != nil {
			w.remark(p.Name + " is " + p.Type.Text + " in Python")
		}
		if p.Type != nil && mentions(p.Type, "timedelta") {
			w.remark(p.Name + " is a number of seconds: kombu does not encode a timedelta")
		}
	}
	w.list = w.parameterList(func(p *parameter) string { return defaults[p] })
	return strings.Join(append(list, last...), ", ")
}

func mentions(t *pyType, kind string) bool {
	return t != nil && (t.Kind == kind || mentions(t.Of, kind) || slices.ContainsFunc(t.Items, func(item *pyType) bool { return mentions(item, kind) }))
}

// withDefault returns the type that can hold a parameter's default, and the default's source.
func (w *taskWriter) withDefault(p *parameter, made goType) (goType, string) {
	if p.Default == nil {
		return made, ""
	}
	if !p.Default.Literal {
		w.remark(p.Name + " is " + p.Default.Source + " by default in Python")
		return optional(made), "None"
	}
	value, err := decode(p.Default.Value)
	switch {
	case err == nil && value == nil:
		return optional(made), "None"
	case err != nil || !made.holds(value):
		w.remark(fmt.Sprintf("%s is %s by default, which %s does not hold", p.Name, p.Default.Source, made.text))
		return w.file.raw(), p.Default.Source
	}
	return made, p.Default.Source
}

func decode(raw []byte) (value any, err error) {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	err = decoder.Decode(&value)
	return value, err
}

// doc is the comment of the function.
func (w *taskWriter) doc() string {
	text := fmt.Sprintf("// %s is %s", w.name, oneLine(w.task.Name))
	if w.task.Place != "" {
		text += " (" + oneLine(w.task.Place) + ")"
	}
	text += ".\n"
	if w.task.Doc != "" {
		text += "//\n"
		for line := range strings.Lines(w.task.Doc) {
			line = strings.ReplaceAll(printable(line), "+build", "+ build") // which go/format makes a constraint
			text += strings.TrimRight("// "+line, " \t") + "\n"
		}
	}
	return text
}

// registration is the call of Register, with its first lines of options.
func (w *taskWriter) registration(lines ...string) string {
	text := fmt.Sprintf("\treg.Register(%s, %s", strconv.Quote(w.task.Name), w.name)
	for _, remark := range w.remarks {
		lines = append(lines, "// "+remark)
	}
	lines = append(lines, w.options()...)
	for _, method := range w.task.ByHand {
		lines = append(lines, "// moved by hand: "+oneLine(method))
	}
	if len(lines) == 0 {
		return text + ")\n"
	}
	return text + ",\n\t\t" + strings.Join(lines, "\n\t\t") + "\n\t)\n"
}

// quote writes a text as a Go literal, in back quotes where that is possible.
func quote(text string) string {
	if strconv.CanBackquote(text) {
		return "`" + text + "`"
	}
	return strconv.Quote(text)
}

// printable makes a text one that can stand in a comment.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' || unicode.IsPrint(r) {
			return r
		}
		return -1
	}, strings.ToValidUTF8(text, "\uFFFD"))
}

// oneLine is printable without breaks of lines.
func oneLine(text string) string { return printable(strings.Join(strings.Fields(text), " ")) }
