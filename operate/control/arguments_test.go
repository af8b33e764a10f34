package control_test

import (
	"slices"
	"testing"

	"github.com/apium/apium/operate/control"
)

func TestArguments(t *testing.T) {
	t.Parallel()
	tests := []struct {
		command string
		args    []string
		want    string
		err     string
	}{
		{"ping", nil, `{}`, ""},
		{"ping", []string{"ignored"}, `{}`, ""},
		{"conf", nil, `{}`, ""},
		{"conf", []string{"YES"}, `{"with_defaults": true}`, ""},
		{"conf", []string{"0"}, `{"with_defaults": false}`, ""},
		{"conf", []string{"maybe"}, "", "invalid value for with_defaults: 'maybe' is neither true nor false"},
		{"conf", []string{"1", "x"}, "", "command 'conf' takes arguments: [include_defaults=False]"},
		{"query_task", nil, `{"ids": []}`, ""},
		{"query_task", []string{"a", `b"c`}, `{"ids": ["a", "b\"c"]}`, ""},
		{"registered", []string{"rate_limit"}, `{"taskinfoitems": ["rate_limit"]}`, ""},
		{"objgraph", []string{"Request", "5"}, `{"type": "Request", "num": 5}`, ""},
		{"revoke", []string{"ä"}, `{"task_id": ["\u00e4"]}`, ""},
		{"terminate", nil, `{"task_id": []}`, ""},
		{"terminate", []string{"KILL"}, `{"signal": "KILL", "task_id": []}`, ""},
		{"terminate", []string{"KILL", "a", "b"}, `{"signal": "KILL", "task_id": ["a", "b"]}`, ""},
		{"revoke_by_stamped_headers", []string{"k=v"}, `{"headers": ["k=v"]}`, ""},
		{"rate_limit", []string{"t.add"}, `{"task_name": "t.add"}`, ""},
		{"rate_limit", []string{"t.add", "5/m"}, `{"task_name": "t.add", "rate_limit": "5/m"}`, ""},
		{"rate_limit", []string{"t.add", "5/m", "x"}, "", "command 'rate_limit' takes arguments: <task_name> <rate_limit (e.g., 5/s | 5/m | 5/h)>"},
		{"time_limit", []string{"t.add", "1", "2.5"}, `{"task_name": "t.add", "soft": 1.0, "hard": 2.5}`, ""},
		{"time_limit", []string{"t.add", "soon"}, "", "invalid value for soft: 'soon' is not a number"},
		{"pool_grow", []string{"-1"}, `{"n": -1}`, ""},
		{"pool_grow", []string{"1.5"}, "", "invalid value for n: '1.5' is not an integer"},
		{"autoscale", []string{"10", "3"}, `{"max": 10, "min": 3}`, ""},
		{"add_consumer", []string{"q", "ex", "topic", "a.#"}, `{"queue": "q", "exchange": "ex", "exchange_type": "topic", "routing_key": "a.#"}`, ""},
	}
	panel := control.Panel()
	for _, test := range tests {
		i := slices.IndexFunc(panel, func(c control.Command) bool { return c.Name == test.command })
		got, err := panel[i].Arguments(test.args)
		message := ""
		if err != nil {
			message = err.Error()
		}
		if string(got) != test.want || message != test.err {
			t.Errorf("%s %q: %s, %q; want %s, %q", test.command, test.args, got, message, test.want, test.err)
		}
	}
}

// What can be asked for must be what a worker answers.
func TestPanelIsComplete(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.start()
		for _, c := range control.Panel() {
			if c.Name == "shutdown" {
				continue // which comes without a reply
			}
			reply := b.call(c.Name, `{"no such argument": 1}`)
			if reply == `{"error": "KeyError('`+c.Name+`')"}` {
				t.Errorf("no worker knows %s", c.Name)
			}
		}
	})
}
