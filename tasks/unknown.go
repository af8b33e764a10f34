package tasks

import (
	"fmt"
	"strings"
)

// UnknownPolicy says what becomes of a message whose task the worker does not have. The
// zero value is Celery's.
type UnknownPolicy struct {
	Action UnknownAction
	Queue  string // of UnknownForward
}

// UnknownAction is the kind of an UnknownPolicy.
type UnknownAction int

const (
	// UnknownFail drops the message and stores NotRegistered, as Celery does.
	UnknownFail UnknownAction = iota
	// UnknownForward moves the message, byte for byte, to another queue, where workers
	// listen that know the task. A Go worker can so take over a shared queue task by task.
	UnknownForward
	// UnknownLeave gives the message back to the end of its queue for other workers. One
	// that comes again is kept for a moment first, longer each time, so that a queue nobody
	// else works on is no busy loop.
	UnknownLeave
	// UnknownPark buries the message among the dead letters.
	UnknownPark
)

// ParseUnknownPolicy reads "fail", "leave", "park" or "forward:<queue>".
func ParseUnknownPolicy(text string) (UnknownPolicy, error) {
	action, queue, _ := strings.Cut(text, ":")
	switch {
	case action == "forward" && queue != "":
		return UnknownPolicy{UnknownForward, queue}, nil
	case queue != "":
	case action == "fail":
		return UnknownPolicy{}, nil
	case action == "leave":
		return UnknownPolicy{Action: UnknownLeave}, nil
	case action == "park":
		return UnknownPolicy{Action: UnknownPark}, nil
	}
	return UnknownPolicy{}, fmt.Errorf("'%s' is not one of fail, leave, park, forward:<queue>", text)
}

// String is what ParseUnknownPolicy reads.
func (p UnknownPolicy) String() string {
	actions := map[UnknownAction]string{UnknownFail: "fail", UnknownForward: "forward", UnknownLeave: "leave", UnknownPark: "park"}
	text, ok := actions[p.Action]
	if !ok {
		text = fmt.Sprintf("action %d", p.Action)
	}
	if p.Queue != "" {
		text += ":" + p.Queue
	}
	return text
}
