package settings

import (
	"slices"
	"strings"

	"github.com/apium/apium/internal/nearest"
)

// UnknownAction is what a worker does with a message whose task it does not have.
type UnknownAction string

// The actions.
const (
	UnknownFail    UnknownAction = "fail"    // Celery's: the message is acknowledged, the task FAILURE
	UnknownForward UnknownAction = "forward" // untouched to another queue
	UnknownLeave   UnknownAction = "leave"   // back to its queue, for other workers
	UnknownPark    UnknownAction = "park"    // to the dead letters
)

// UnknownTask is an action and, for UnknownForward, the queue.
type UnknownTask struct {
	Action UnknownAction
	Queue  string
}

// UnknownTasks is apium_unknown_task: one action, written "fail", "leave", "park" or
// "forward:<queue>", or a mapping of queues to actions, where "*" is all others.
type UnknownTasks struct {
	Default UnknownTask
	Queues  map[string]UnknownTask
}

func (u *UnknownTasks) decode(d *decoder, value any) {
	*u = UnknownTasks{Default: UnknownTask{Action: UnknownFail}}
	o, ok := value.(object)
	if !ok {
		u.Default.decode(d, value)
		return
	}
	u.Queues = make(map[string]UnknownTask, len(o))
	for _, m := range o {
		d.in(m.key, func() {
			var action UnknownTask
			action.decode(d, m.value)
			if action.Action == UnknownForward && action.Queue == m.key {
				d.bad("a queue cannot forward to itself")
			}
			if m.key == "*" {
				u.Default = action
				return
			}
			u.Queues[m.key] = action
		})
	}
}

func (u *UnknownTask) decode(d *decoder, value any) {
	known := []string{string(UnknownFail), string(UnknownForward), string(UnknownLeave), string(UnknownPark)}
	text, err := asText(value)
	if err != nil {
		d.bad("%v", err)
		return
	}
	action, queue, forward := strings.Cut(text, ":")
	switch {
	case !slices.Contains(known, action):
		d.misspelt(nearest.Name(action, known), "'%s' is not one of fail, leave, park, forward:<queue>", text)
	case (action == string(UnknownForward)) != (forward && queue != ""):
		d.bad("'%s' is not one of fail, leave, park, forward:<queue>", text)
	default:
		*u = UnknownTask{UnknownAction(action), queue}
	}
}
