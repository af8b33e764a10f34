package settings

import (
	"maps"
	"slices"
	"strings"

	"github.com/apium/apium/internal/nearest"
	"github.com/apium/apium/tasks"
)

// UnknownTasks is apium_unknown_task: one policy, written "fail", "leave", "park" or
// "forward:<queue>", or a mapping of queues to policies, where "*" is all others.
type UnknownTasks struct {
	Default tasks.UnknownPolicy
	Queues  map[string]tasks.UnknownPolicy
}

func (u *UnknownTasks) decode(d *decoder, value any) {
	*u = UnknownTasks{}
	o, ok := value.(object)
	if !ok {
		u.Default = d.unknownPolicy(value)
		return
	}
	for _, m := range o {
		d.in(m.key, func() {
			policy := d.unknownPolicy(m.value)
			if policy.Action == tasks.UnknownForward && policy.Queue == m.key {
				d.bad("a queue cannot forward to itself")
			}
			if m.key == "*" {
				u.Default = policy
				return
			}
			if u.Queues == nil {
				u.Queues = make(map[string]tasks.UnknownPolicy, len(o))
			}
			u.Queues[m.key] = policy
		})
	}
}

func (u *UnknownTasks) encode() any {
	if len(u.Queues) == 0 {
		return u.Default.String()
	}
	o := object{{"*", u.Default.String()}}
	for _, queue := range slices.Sorted(maps.Keys(u.Queues)) {
		o = append(o, member{queue, u.Queues[queue].String()})
	}
	return o
}

func (d *decoder) unknownPolicy(value any) tasks.UnknownPolicy {
	known := []string{"fail", "forward", "leave", "park"}
	text, err := asText(value)
	if err != nil {
		d.bad("%v", err)
		return tasks.UnknownPolicy{}
	}
	policy, err := tasks.ParseUnknownPolicy(text)
	if err != nil {
		near := ""
		if action, _, _ := strings.Cut(text, ":"); !slices.Contains(known, action) {
			near = nearest.Name(action, known)
		}
		d.misspelt(near, "%v", err)
	}
	return policy
}
