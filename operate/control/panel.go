package control

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/apium/apium/protocol/pyjson"
)

// Command is a command of remote control as a requester sees it (celery/worker/control.py:
// Panel.meta).
type Command struct {
	Name string
	// Inspect says that it only looks.
	Inspect bool
	// Usage shows its arguments, in Celery's words. "": it has none.
	Usage string
	Help  string

	params   []param
	variadic string // keyword that the rest of the arguments come as, in a list
}

// param is an argument that comes at a place of its own.
type param struct {
	name string
	read func(string) (any, error)
}

// Panel returns Celery's commands, those that inspect first, by name.
func Panel() []Command { return slices.Clone(panel) }

var panel = []Command{
	{Name: "active", Inspect: true, Help: "tasks that run now"},
	{Name: "active_queues", Inspect: true, Help: "queues a worker consumes from"},
	{Name: "clock", Inspect: true, Help: "the logical clock"},
	{
		Name: "conf", Inspect: true, Usage: "[include_defaults=False]", Help: "settings, with or without those that have their default",
		params: []param{{"with_defaults", readBool}},
	},
	{
		Name: "memdump", Inspect: true, Usage: "[n_samples=10]", Help: "what memsample has measured",
		params: []param{{"samples", readInt}},
	},
	{Name: "memsample", Inspect: true, Help: "measure the memory in use"},
	{
		Name: "objgraph", Inspect: true, Usage: "[object_type=Request] [num=200 [max_depth=10]]",
		Help:   "draw a graph of objects in memory",
		params: []param{{"type", readText}, {"num", readInt}, {"max_depth", readInt}},
	},
	{Name: "ping", Inspect: true, Help: "see who is there"},
	{Name: "query_task", Inspect: true, Usage: "[id1 [id2 [... [idN]]]]", Help: "what a worker knows of tasks, by their ids", variadic: "ids"},
	{Name: "registered", Inspect: true, Usage: "[attr1 [attr2 [... [attrN]]]]", Help: "tasks a worker can run, with attributes of theirs", variadic: "taskinfoitems"},
	{Name: "report", Inspect: true, Help: "versions and settings, for bug reports"},
	{Name: "reserved", Inspect: true, Help: "tasks that wait for a free slot"},
	{Name: "revoked", Inspect: true, Help: "ids of revoked tasks"},
	{Name: "scheduled", Inspect: true, Help: "tasks that wait for their time"},
	{Name: "stats", Inspect: true, Help: "figures of worker, pool and broker"},

	{
		Name: "add_consumer", Usage: "<queue> [exchange [type [routing_key]]]", Help: "consume from one more queue",
		params: []param{{"queue", readText}, {"exchange", readText}, {"exchange_type", readText}, {"routing_key", readText}},
	},
	{Name: "autoscale", Usage: "[max [min]]", Help: "change the bounds of autoscaling", params: []param{{"max", readInt}, {"min", readInt}}},
	{
		Name: "cancel_consumer", Usage: "<queue>", Help: "stop consuming from a queue",
		params: []param{{"queue", readText}},
	},
	{Name: "disable_events", Help: "stop sending events of tasks"},
	{Name: "election", Help: "hold an election"},
	{Name: "enable_events", Help: "send events of tasks"},
	{Name: "heartbeat", Help: "send a heartbeat now"},
	{Name: "pool_grow", Usage: "[N=1]", Help: "run N more tasks at a time", params: []param{{"n", readInt}}},
	{Name: "pool_restart", Help: "restart the pool"},
	{Name: "pool_shrink", Usage: "[N=1]", Help: "run N fewer tasks at a time", params: []param{{"n", readInt}}},
	{
		Name: "rate_limit", Usage: "<task_name> <rate_limit (e.g., 5/s | 5/m | 5/h)>",
		Help:   "change how often a task may start",
		params: []param{{"task_name", readText}, {"rate_limit", readText}},
	},
	{Name: "revoke", Usage: "[id1 [id2 [... [idN]]]]", Help: "never run these tasks", variadic: "task_id"},
	{
		Name: "revoke_by_stamped_headers", Usage: "[key1=value1 [key2=value2 [... [keyN=valueN]]]]",
		Help: "never run tasks with these stamps", variadic: "headers",
	},
	{Name: "shutdown", Help: "end workers, after their running tasks"},
	{
		Name: "terminate", Usage: "<signal> [id1 [id2 [... [idN]]]]", Help: "revoke tasks, and stop those that run",
		params: []param{{"signal", readText}}, variadic: "task_id",
	},
	{
		Name: "time_limit", Usage: "<task_name> <soft_secs> [hard_secs]", Help: "change how long a task may run",
		params: []param{{"task_name", readText}, {"soft", readFloat}, {"hard", readFloat}},
	},
}

// Arguments makes keyword arguments, as a raw JSON object, of what stands on a command
// line. What is too much for a command without arguments is ignored, as by Celery.
func (c *Command) Arguments(args []string) ([]byte, error) {
	object := []byte{'{'}
	add := func(name string, value any) (err error) {
		object, err = pyjson.Append(pyjson.AppendKey(object, name), value)
		return err
	}
	for i, p := range c.params {
		if i == len(args) {
			break
		}
		value, err := p.read(args[i])
		if err == nil {
			err = add(p.name, value)
		}
		if err != nil {
			return nil, fmt.Errorf("invalid value for %s: %w", p.name, err)
		}
	}
	rest := args[min(len(c.params), len(args)):]
	switch {
	case c.variadic != "":
		if err := add(c.variadic, append([]string{}, rest...)); err != nil {
			return nil, err
		}
	case len(c.params) > 0 && len(rest) > 0:
		return nil, fmt.Errorf("command '%s' takes arguments: %s", c.Name, c.Usage)
	}
	return append(object, '}'), nil
}

func readText(s string) (any, error) { return s, nil }

func readInt(s string) (any, error) {
	n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
	if err != nil {
		return nil, fmt.Errorf("'%s' is not an integer", s)
	}
	return n, nil
}

func readFloat(s string) (any, error) {
	f, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return nil, fmt.Errorf("'%s' is not a number", s)
	}
	return f, nil
}

// readBool reads what Celery's strtobool does.
func readBool(s string) (any, error) {
	switch strings.ToLower(s) {
	case "true", "yes", "on", "1":
		return true, nil
	case "false", "no", "off", "0":
		return false, nil
	}
	return nil, fmt.Errorf("'%s' is neither true nor false", s)
}
