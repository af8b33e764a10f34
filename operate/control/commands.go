package control

import (
	"slices"
	"strings"

	"github.com/apium/apium/tasks"
)

// Command is a command of remote control (celery/worker/control.py: Panel). Its exported
// fields are what a requester sees of it.
type Command struct {
	Name string
	// Inspect says that it only looks.
	Inspect bool
	// Usage shows its arguments, in Celery's words. "": it has none.
	Usage string
	Help  string

	alias    string // name it had in Celery 3
	hidden   bool   // workers ask for it, people do not
	params   []param
	variadic string // keyword that the rest of the arguments of a command line come as, in a list

	// signature has the parameters of Celery's function: what does not fit them is the
	// TypeError that Python raises.
	signature string
	handler   any // function as for tasks.Registry.RegisterCommand
}

// param is an argument that has a place of its own on a command line.
type param struct {
	name string
	read func(string) (any, error)
}

// Param is an argument of a command that other workers have.
type Param struct {
	Name string
	Kind string // int, float or bool; anything else is a text
}

// Elsewhere describes a command that other workers have, such as one of a Python app's: what it takes
// to call it. variadic is the keyword that the rest of a command line comes as; "": none.
func Elsewhere(c Command, variadic string, params ...Param) Command {
	c.variadic = variadic
	for _, p := range params {
		read := map[string]func(string) (any, error){"int": readInt, "float": readFloat, "bool": readBool}[p.Kind]
		if read == nil {
			read = readText
		}
		c.params = append(c.params, param{p.Name, read})
	}
	return c
}

// Panel returns Celery's commands and ours, those that inspect first, by name.
func Panel() []Command {
	var nobody *Mailbox // who is not asked to run them
	shown := slices.DeleteFunc(nobody.panel(), func(c Command) bool { return c.hidden })
	slices.SortFunc(shown, func(a, b Command) int {
		if a.Inspect != b.Inspect {
			return map[bool]int{true: -1, false: 1}[a.Inspect]
		}
		return strings.Compare(a.Name, b.Name)
	})
	return shown
}

// panel is the table of all commands.
func (m *Mailbox) panel() []Command { return slices.Concat(m.inspections(), m.controls(), m.beside()) }

// entries makes the commands callable, by their old names too.
func (m *Mailbox) entries() map[string]*tasks.Entry {
	reg := tasks.NewRegistry()
	all := map[string]*tasks.Entry{}
	for _, c := range m.panel() {
		reg.RegisterCommand(c.Name, c.handler, tasks.Params(c.signature))
		all[c.Name], _ = reg.LookupCommand(c.Name)
		if c.alias != "" {
			all[c.alias] = all[c.Name]
		}
	}
	return all
}
