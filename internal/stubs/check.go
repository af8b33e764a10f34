package stubs

import (
	"bytes"
	"fmt"

	"github.com/apium/apium/internal/nearest"
	"github.com/apium/apium/tasks"
)

// Check compares the parameters of Go tasks with those of the app's tasks, and returns what differs,
// a line for each. Types and options are not compared.
func Check(p *Project, entries []*tasks.Entry) (differences []string) {
	byName := map[string]*Task{}
	for i := range p.Tasks {
		byName[p.Tasks[i].Name] = &p.Tasks[i]
	}
	for _, entry := range entries {
		task := byName[entry.Name]
		if task == nil {
			line := entry.Name + ": the app has no such task"
			if near := nearest.Name(entry.Name, p.Names()); near != "" {
				line += ". Is it " + near + "?"
			}
			differences = append(differences, line)
			continue
		}
		sig, known := entry.Signature()
		if !known || task.Problem != "" || entry.Options.Errback {
			continue // it takes what comes, or nobody knows
		}
		if why := compare(task, &sig); why != "" {
			w := taskWriter{task: task}
			differences = append(differences, fmt.Sprintf("%s: %s\n    Python (%s): %s\n    Go (%s): %s", entry.Name, why,
				task.Place, w.parameterList(func(p *parameter) string { return p.Default.Source }), sig.Function, goParameters(sig.Parameters)))
		}
	}
	return differences
}

// compare says what the first difference is; "": there is none.
func compare(task *Task, sig *tasks.Signature) string {
	for i := range max(len(task.Parameters), len(sig.Parameters)) {
		switch {
		case i >= len(sig.Parameters):
			return task.Parameters[i].Name + " is not in Go"
		case i >= len(task.Parameters):
			return sig.Parameters[i].Name + " is not in Python"
		}
		here, there := &sig.Parameters[i], &task.Parameters[i]
		switch {
		case here.Name != there.Name && here.Name != "":
			return fmt.Sprintf("parameter %d is %s in Python and %s in Go", i+1, there.Name, here.Name)
		case kinds[here.Kind] != there.Kind:
			return fmt.Sprintf("%s is passed differently", there.Name)
		case !sameDefault(here.Default, there.Default):
			return fmt.Sprintf("%s has another default", there.Name)
		}
	}
	return ""
}

// kinds are the kinds of parameters as Python's description calls them.
var kinds = map[tasks.ParameterKind]string{
	tasks.PositionalOnly: "positional_only", tasks.PositionalOrKeyword: "positional", tasks.VarPositional: varPositional,
	tasks.KeywordOnly: "keyword_only", tasks.VarKeyword: varKeyword,
}

// sameDefault compares defaults. One that is no literal in Python may be anything in Go.
func sameDefault(here []byte, there *defaultValue) bool {
	if here == nil || there == nil {
		return here == nil && there == nil
	}
	return !there.Literal || bytes.Equal(packed(here), packed(there.Value))
}

// packed is JSON in one form of all that say the same.
func packed(raw []byte) []byte {
	value, err := decode(raw)
	if err != nil {
		return raw
	}
	return fmt.Appendf(nil, "%#v", value)
}

// goParameters writes the parameters of a Go task as Python would.
func goParameters(params []tasks.Parameter) string {
	w := taskWriter{task: &Task{}}
	for i, p := range params {
		made := parameter{Name: p.Name, Kind: kinds[p.Kind]}
		if p.Name == "" {
			made.Name = fmt.Sprintf("arg%d", i+1)
		}
		if p.Default != nil {
			made.Default = &defaultValue{Source: pyLiteral(p.Default)}
		}
		w.task.Parameters = append(w.task.Parameters, made)
	}
	return w.parameterList(func(p *parameter) string { return p.Default.Source })
}
