package cli

import (
	"container/list"
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/apium/apium/operate/control"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/pyjson"
)

const (
	redrawEvery  = 250 * time.Millisecond
	answerWithin = time.Second // of workers, as Celery waits
)

// watchEvents draws what events tell, and does what keys ask for, until q or Ctrl-C is typed.
func (p *program) watchEvents(c *cli.Context, o *operator) error {
	s, err := p.openScreen()
	if err != nil {
		return err
	}
	defer s.leave() // also in a panic
	view := &eventView{program: p.name, state: newEventState(), title: o.urls.Written.String(), colored: !c.Bool("no-color")}
	heard := make(chan error, 1)
	go func() {
		defer s.leaveOnPanic()
		defer close(heard)
		heard <- o.hearEvents(func(e protocol.Event) error {
			defer s.leaveOnPanic()
			view.event(e)
			return nil
		}, view.problem)
	}()
	keys := make(chan string)
	go readKeys(s.in, keys) // ends with the process: a read of the terminal cannot be interrupted
	answers := make(chan answer)
	view.tell = func(command string, arguments map[string]any) {
		go func() {
			defer s.leaveOnPanic()
			replies, err := o.tell(command, arguments)
			select {
			case answers <- answer{command, replies, err}:
			case <-o.ctx.Done():
			}
		}()
	}
	err = view.show(s, keys, answers, heard)
	o.stop()
	for range heard { // until nothing uses the connection any more
		continue
	}
	return err
}

// tell has all workers do something.
func (o *operator) tell(command string, arguments map[string]any) ([]control.Reply, error) {
	raw, err := pyjson.Append(nil, arguments)
	if err != nil {
		return nil, err
	}
	return o.client().Ask(o.ctx, control.Question{Command: command, Arguments: raw, Timeout: answerWithin}, nil)
}

// answer is what came of telling workers something.
type answer struct {
	command string
	replies []control.Reply
	err     error
}

// show draws, and obeys keys, until there is nothing more to show.
func (v *eventView) show(s *screen, keys <-chan string, answers <-chan answer, heard <-chan error) error {
	ticker := time.NewTicker(redrawEvery)
	defer ticker.Stop()
	for {
		width, height := s.size()
		s.draw(v.frame(width, height, time.Now()))
		select {
		case key, more := <-keys:
			if !more || !v.press(key) {
				return nil
			}
		case a := <-answers:
			v.answered(a)
		case err := <-heard:
			return err
		case <-ticker.C:
		}
	}
}

// eventView is a picture of events, and what is chosen in it.
type eventView struct {
	program string // its name
	title   string
	colored bool
	tell    func(command string, arguments map[string]any) // without waiting for the answer

	mu       sync.Mutex
	state    *eventState
	notice   string        // of what went wrong last, or cannot be done
	selected *list.Element // of the tasks; nil: none
	first    int           // the place of the uppermost task that is shown
	page     int           // how many are shown
	open     *textPage     // nil: the tables are shown
	asking   bool          // for a rate limit
	typed    string        // so far
}

// textPage is a text that is looked at in place of the tables.
type textPage struct {
	title string
	lines []string
	first int  // of those that are shown
	long  bool // it does not fit
}

func (v *eventView) event(e protocol.Event) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.state.event(e, time.Now())
	if t := taskAt(v.selected); t != nil && v.state.tasks[t.id] != v.selected {
		v.selected = nil // it was so long ago that it is forgotten
	}
}

func (v *eventView) problem(text string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.notice = text
}

// press obeys a key; false: it was the last.
func (v *eventView) press(key string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if key == keyInterrupt {
		return false
	}
	v.notice = ""
	switch {
	case v.asking:
		v.type_(key)
	case v.open != nil:
		if !v.open.long || !v.open.turn(key, v.page) {
			v.open = nil
		}
	case strings.EqualFold(key, "q"):
		return false
	case !v.move(key):
		v.act(strings.ToLower(key))
	}
	return true
}

// move chooses another task, if that is what a key is for.
func (v *eventView) move(key string) bool {
	steps := map[string]int{
		"j": 1, "J": 1, keyDown: 1, "k": -1, "K": -1, keyUp: -1,
		keyPageDown: v.page, keyPageUp: -v.page, keyHome: -seenTasks, "g": -seenTasks, keyEnd: seenTasks, "G": seenTasks,
	}[key]
	if steps == 0 {
		return false
	}
	if v.selected == nil {
		if v.selected = v.state.order.Front(); v.selected == nil {
			return true
		}
		steps-- // to the first
	}
	for ; steps > 0 && v.selected.Next() != nil; steps-- {
		v.selected = v.selected.Next()
	}
	for ; steps < 0 && v.selected.Prev() != nil; steps++ {
		v.selected = v.selected.Prev()
	}
	return true
}

// act does with the chosen task what a key is for.
func (v *eventView) act(key string) {
	if key == keyEnter {
		key = "i"
	}
	if len(key) != 1 || !strings.Contains("itrcl", key) {
		return
	}
	t := taskAt(v.selected)
	if t == nil {
		v.notice = "Choose a task first, with j and k or the arrows"
		return
	}
	switch key {
	case "i":
		v.open = &textPage{title: "Task " + t.id, lines: t.details()}
	case "t":
		if v.open = textOf("Traceback of "+t.id, t.text("traceback")); v.open == nil {
			v.notice = "This task has no traceback"
		}
	case "r":
		if v.open = textOf("Result of "+t.id, t.outcome()); v.open == nil {
			v.notice = "This task has no result yet"
		}
	case "c":
		v.notice = "Revoking " + t.id + " …"
		v.tell("revoke", map[string]any{"task_id": t.id, "terminate": false, "signal": "SIGTERM"})
	case "l":
		if v.asking = t.text("name") != ""; !v.asking {
			v.notice = "The name of this task is not known: its events began before they were watched"
		}
	}
}

// type_ adds to the rate limit, gives it, or gives up.
func (v *eventView) type_(key string) {
	switch key {
	case keyEnter:
		t, limit := taskAt(v.selected), strings.TrimSpace(v.typed)
		v.asking, v.typed = false, ""
		if t != nil && limit != "" {
			v.notice = "Limiting " + t.text("name") + " to " + limit + " …"
			v.tell("rate_limit", map[string]any{"task_name": t.text("name"), "rate_limit": limit})
		}
	case keyEscape:
		v.asking, v.typed = false, ""
	case keyBackspace:
		if typed := []rune(v.typed); len(typed) > 0 {
			v.typed = string(typed[:len(typed)-1])
		}
	default:
		if len([]rune(key)) == 1 {
			v.typed += key
		}
	}
}

// answered shows what workers say to what they were told.
func (v *eventView) answered(a answer) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.notice = ""
	var lines []string
	for _, r := range a.replies {
		status, text := pretty(r.Value, func(text, _ string) string { return text })
		lines = append(lines, r.Node+": "+status+" "+strings.TrimSpace(text))
	}
	switch {
	case errors.Is(a.err, context.Canceled):
	case a.err != nil:
		lines = append(lines, "The workers cannot be told: "+a.err.Error())
	case lines == nil:
		lines = []string{"No worker has answered within " + answerWithin.String() + "."}
	}
	v.open = &textPage{title: "Answers to " + a.command, lines: lines}
}

// textOf is a page with a text; nil: there is none.
func textOf(title, text string) *textPage {
	if text == "" {
		return nil
	}
	return &textPage{title: title, lines: strings.Split(text, "\n")}
}

// turn turns a page of so many lines; false: it is closed.
func (t *textPage) turn(key string, lines int) bool {
	switch key {
	case "j", "J", keyDown:
		t.first++
	case "k", "K", keyUp:
		t.first--
	case keyPageDown, " ":
		t.first += lines
	case keyPageUp:
		t.first -= lines
	default:
		return false
	}
	return true
}
