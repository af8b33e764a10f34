package stubs

import (
	"encoding/json"
	"fmt"
)

// Project is what python/driver/stubs.py says of a Celery app.
type Project struct {
	Tasks []Task              `json:"tasks"`
	Types map[string]declared `json:"types"` // classes by their names with modules
}

// Task is a task of a Celery app.
type Task struct {
	Name       string                     `json:"name"`
	Doc        string                     `json:"doc"`
	Place      string                     `json:"place"` // file:line
	Parameters []parameter                `json:"parameters"`
	Returns    *pyType                    `json:"returns"` // nil: it is not annotated
	Options    map[string]json.RawMessage `json:"options"`
	ByHand     []string                   `json:"by_hand"` // methods of the task's class
	Problem    string                     `json:"problem"` // why there are no parameters; "": there are
}

type parameter struct {
	Name    string        `json:"name"`
	Kind    string        `json:"kind"`
	Type    *pyType       `json:"type"` // nil: it is not annotated
	Default *defaultValue `json:"default"`
}

const (
	varPositional = "var_positional"
	varKeyword    = "var_keyword"
)

// defaultValue is the default of a parameter or field.
type defaultValue struct {
	Source  string          `json:"source"`
	Literal bool            `json:"literal"` // tasks.Params can read it
	Value   json.RawMessage `json:"value"`
}

// pyType is an annotation.
type pyType struct {
	Kind   string            `json:"kind"`
	Text   string            `json:"text"` // as it was written, about
	Name   string            `json:"name"` // named: of the class
	Of     *pyType           `json:"of"`
	Key    *pyType           `json:"key"`
	Items  []*pyType         `json:"items"`
	Values []json.RawMessage `json:"values"`
}

// declared is a class with fields or members.
type declared struct {
	Name    string   `json:"name"`
	Module  string   `json:"module"`
	Kind    string   `json:"kind"` // struct, tuple or enum
	Of      string   `json:"of"`   // what kind of class: dataclass
	Fields  []field  `json:"fields"`
	Members []member `json:"members"`
}

type field struct {
	Name    string        `json:"name"`
	Key     string        `json:"key"` // in a message
	Type    *pyType       `json:"type"`
	Default *defaultValue `json:"default"`
}

type member struct {
	Name  string          `json:"name"`
	Value json.RawMessage `json:"value"`
}

// Read reads what python.DescribeTasks returns.
func Read(description []byte) (*Project, error) {
	p := &Project{}
	if err := json.Unmarshal(description, p); err != nil {
		return nil, fmt.Errorf("stubs: cannot read what Python says of the tasks: %w", err)
	}
	return p, nil
}

// Names returns the names of the tasks.
func (p *Project) Names() (names []string) {
	for i := range p.Tasks {
		names = append(names, p.Tasks[i].Name)
	}
	return names
}

// Keep drops all tasks but those named.
func (p *Project) Keep(names []string) {
	kept := map[string]bool{}
	for _, name := range names {
		kept[name] = true
	}
	var list []Task
	for _, task := range p.Tasks {
		if kept[task.Name] {
			list = append(list, task)
		}
	}
	p.Tasks = list
}
