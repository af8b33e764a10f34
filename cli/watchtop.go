package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/pyjson"
)

const (
	redrawEvery = 250 * time.Millisecond
	wideScreen  = 140 // columns that have room for whole ids
)

// Sequences of the terminal.
const (
	enterScreen = "\x1b[?1049h\x1b[?25l" // the alternate one, without a cursor
	leaveScreen = "\x1b[?25h\x1b[?1049l"
	topLeft     = "\x1b[H"
	clearLine   = "\x1b[K"
	clearBelow  = "\x1b[J"
)

// watchEvents draws what events tell until q or Ctrl-C is typed.
func (p *program) watchEvents(o *operator) (err error) {
	in, _ := p.stdin.(*os.File)
	out, _ := p.stdout.(*os.File)
	if in == nil || out == nil {
		return errors.New("not a terminal")
	}
	old, err := term.MakeRaw(int(in.Fd()))
	if err != nil {
		return fmt.Errorf("terminal: %w", err)
	}
	fmt.Fprint(out, enterScreen)
	defer func() {
		fmt.Fprint(out, leaveScreen)
		err = errors.Join(err, term.Restore(int(in.Fd()), old))
	}()
	go func() { // ends with the process: a read of the terminal cannot be interrupted
		readKeys(in)
		o.stop()
	}()
	view := &eventView{program: p.name, state: newEventState(), title: o.urls.Written.String()}
	drawn := make(chan struct{})
	go func() {
		defer close(drawn)
		view.drawAll(o, out)
	}()
	err = o.hearEvents(view.event, view.problem)
	o.stop()
	<-drawn
	return err
}

// readKeys returns when q or Ctrl-C is typed, or nothing can be.
func readKeys(in io.Reader) {
	keys := bufio.NewReader(in)
	for {
		switch key, err := keys.ReadByte(); {
		case err != nil, key == 'q', key == 'Q', key == 3:
			return
		}
	}
}

// eventView is a picture of events.
type eventView struct {
	program string // its name
	title   string

	mu     sync.Mutex
	state  *eventState
	notice string // of what went wrong last
}

func (v *eventView) event(e protocol.Event) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.notice = ""
	v.state.event(e, time.Now())
	return nil
}

func (v *eventView) problem(text string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.notice = text
}

func (v *eventView) drawAll(o *operator, out *os.File) {
	ticker := time.NewTicker(redrawEvery)
	defer ticker.Stop()
	for {
		width, height, err := term.GetSize(int(out.Fd()))
		if err != nil || width <= 0 || height <= 0 {
			width, height = 80, 24
		}
		var b strings.Builder
		b.WriteString(topLeft)
		for i, line := range v.frame(width, height, time.Now()) {
			if i > 0 {
				b.WriteString("\r\n")
			}
			b.WriteString(line + clearLine)
		}
		b.WriteString(clearBelow)
		fmt.Fprint(out, b.String())
		select {
		case <-ticker.C:
		case <-o.ctx.Done():
			return
		}
	}
}

// frame returns the lines of a picture, the latest task first.
func (v *eventView) frame(width, height int, now time.Time) []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	workers := v.state.sortedWorkers()
	lines := []string{
		fmt.Sprintf("%s events  %s  %d events", v.program, v.title, v.state.total),
		"",
		fmt.Sprintf("%-28s %-7s %7s %10s  %-17s %s", "WORKER", "STATUS", "ACTIVE", "PROCESSED", "LOAD", "SOFTWARE"),
	}
	room := max(1, height-6) // for workers and tasks
	if len(workers) > room/2 {
		workers = workers[:max(1, room/2)]
	}
	for _, w := range workers {
		status := "offline"
		if w.alive(now) {
			status = "online"
		}
		lines = append(lines, fmt.Sprintf("%-28s %-7s %7.0f %10.0f  %-17s %s", short(w.name, 28), status, w.active, w.processed, loads(w.load), w.software))
	}
	id := 8 // what tells two tasks apart
	if width >= wideScreen {
		id = 36
	}
	lines = append(lines, "", taskLine(id, "TIME", "STATE", "RUNTIME", "TASK", "WORKER", "ID", "RESULT"))
	for i := len(v.state.order) - 1; i >= 0 && len(lines) < height-1; i-- {
		lines = append(lines, v.state.order[i].line(id))
	}
	for len(lines) < height-1 {
		lines = append(lines, "")
	}
	last := "q quits"
	switch {
	case v.notice != "":
		last = v.notice
	case len(v.state.tasks) == 0:
		last += "; tasks show after '" + v.program + " control enable_events', or with workers started with -E"
	}
	lines = append(lines[:max(0, height-1)], last)
	for i := range lines {
		lines[i] = short(printable(strings.Map(oneLine, lines[i])), width)
	}
	return lines
}

// taskLine is a line of the table of tasks, with so many characters of the id.
func taskLine(idWidth int, changed, state, runtime, name, worker, id, outcome string) string {
	return fmt.Sprintf("%-8s %-8s %9s  %-28s %-18s %-*s %s",
		changed, state, runtime, short(name, 28), short(worker, 18), idWidth, short(id, idWidth), outcome)
}

func (t *seenTask) line(idWidth int) string {
	runtime, outcome := "", t.outcome
	if t.runtime > 0 {
		runtime = fmt.Sprintf("%.3f s", t.runtime)
	}
	if outcome == "" && t.args != "" {
		outcome = t.args + " " + t.kwargs
	}
	return taskLine(idWidth, t.changed.Format(time.TimeOnly), t.state, runtime, t.name, t.worker, t.id, outcome)
}

// loads writes the load averages of a heartbeat.
func loads(raw []byte) string {
	var all []float64
	if raw == nil || pyjson.Unmarshal(raw, &all) != nil {
		return ""
	}
	var texts []string
	for _, load := range all {
		texts = append(texts, fmt.Sprintf("%.2f", load))
	}
	return strings.Join(texts, " ")
}

func oneLine(r rune) rune {
	if r == '\n' || r == '\t' {
		return ' '
	}
	return r
}

// short cuts a text to so many characters.
func short(text string, limit int) string {
	runes := []rune(text)
	switch {
	case len(runes) <= limit:
		return text
	case limit < 1:
		return ""
	}
	return string(runes[:limit-1]) + "…"
}
