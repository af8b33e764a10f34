package stubs

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/tasks"
)

// Python returns a Python module with the signatures of Go tasks, for those who call them.
// command is how the module was made. The documentation of Go functions is not known to a
// running program, so it is not in there.
func Python(entries []*tasks.Entry, command string) string {
	m := &pyModule{names: newNamer(pyKeywords, pyTaken), imports: map[string]bool{}, types: newPyTypes()}
	m.types.module = m
	candidates := make([][]string, len(entries))
	for i, entry := range entries {
		candidates[i] = pyNames(entry.Name)
	}
	names, functions := m.names.takeAll(candidates), make([]string, len(entries))
	for i, entry := range entries {
		functions[i] = m.function(entry, names[i])
	}
	return m.head(command) + strings.Join(slices.Concat(m.types.classes, functions), "")
}

// pyModule is a Python module that is being written.
type pyModule struct {
	names   namer // at the top of the module
	imports map[string]bool
	types   *pyTypes
}

func (m *pyModule) head(command string) string {
	text := `"""Tasks that run in Go, for those who call them. Made by: ` + pyDoc(command) + `

The functions are never run, unless a Python worker or task_always_eager takes a call: they raise then.
"""
from __future__ import annotations

`
	for _, module := range []string{"datetime", "decimal", "uuid"} {
		if m.imports[module] {
			text += "import " + module + "\n"
		}
	}
	var typing []string
	for _, name := range []string{"Any", "TypedDict"} {
		if m.imports[name] {
			typing = append(typing, name)
		}
	}
	if len(typing) > 0 {
		text += "from typing import " + strings.Join(typing, ", ") + "\n"
	}
	return strings.TrimRight(text, "\n") + "\n\nfrom celery import shared_task\n"
}

// function writes a task.
func (m *pyModule) function(entry *tasks.Entry, name string) string {
	sig, known := entry.Signature()
	returns := "None"
	if sig.Result != nil {
		returns = m.types.of(sig.Result)
	}
	if !known { // it reads its arguments itself
		sig.Parameters = []tasks.Parameter{{Name: "args", Kind: tasks.VarPositional}, {Name: "kwargs", Kind: tasks.VarKeyword}}
		returns = m.types.of(nil)
	}
	doc := "Runs in Go."
	if sig.Function != "" {
		doc = "Runs in Go: " + pyDoc(sig.Function) + "."
	}
	return fmt.Sprintf("\n\n@shared_task(%s)\ndef %s -> %s:\n    \"\"\"%s\"\"\"\n    raise NotImplementedError(%s)\n",
		strings.Join(m.options(entry), ", "), m.call(name, sig.Parameters), returns, doc, pyString(entry.Name+" runs in Go"))
}

// options are those that matter where a task is called; a worker's are the Go worker's own.
func (m *pyModule) options(entry *tasks.Entry) []string {
	options := []string{"name=" + pyString(entry.Name)}
	published := canvas.Sig(entry.Name).Set(entry.Options.Publishing...)
	for _, name := range []string{"queue", "exchange", "routing_key", "priority", "expires", "serializer", "compression"} {
		if raw := published.Option(name); raw != nil {
			options = append(options, name+"="+pyLiteral(raw))
		}
	}
	if ignore := entry.Options.IgnoreResult; ignore != nil {
		options = append(options, "ignore_result="+map[bool]string{true: "True", false: "False"}[*ignore])
	}
	return options
}

const pyLine = 100 // characters that a line of parameters may have

// call writes "name(parameters)".
func (m *pyModule) call(name string, params []tasks.Parameter) string {
	list := m.parameters(params)
	if text := name + "(" + strings.Join(list, ", ") + ")"; len(text) < pyLine {
		return text
	}
	return name + "(\n    " + strings.Join(list, ",\n    ") + "\n)"
}

// parameters writes a parameter list. Of those that come by name alone, the required ones come
// first: Celery, where it checks a call, takes the last to be the optional ones.
func (m *pyModule) parameters(params []tasks.Parameter) (list []string) {
	params = slices.Clone(params)
	slices.SortStableFunc(params, func(a, b tasks.Parameter) int {
		if a.Kind == tasks.KeywordOnly && b.Kind == tasks.KeywordOnly {
			return cmp.Compare(min(len(a.Default), 1), min(len(b.Default), 1))
		}
		return cmp.Compare(a.Kind, b.Kind)
	})
	star := false
	for i, p := range params {
		text := cmp.Or(p.Name, fmt.Sprintf("arg%d", i+1))
		switch p.Kind {
		case tasks.VarPositional:
			star = true
			text = "*" + text + ": " + m.types.elem(p.Type)
		case tasks.VarKeyword:
			text = "**" + text + ": " + m.types.elem(p.Type)
		default:
			text += ": " + m.types.of(p.Type)
			if p.Default != nil {
				text += " = " + pyLiteral(p.Default)
			}
		}
		if p.Kind == tasks.KeywordOnly && !star {
			star = true
			list = append(list, "*")
		}
		list = append(list, text)
		if p.Kind == tasks.PositionalOnly && (i+1 == len(params) || params[i+1].Kind != p.Kind) {
			list = append(list, "/")
		}
	}
	return list
}
