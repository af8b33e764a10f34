package cli

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/apium/apium/protocol/pyjson"
)

const (
	wideScreen   = 140 // columns that have room for whole ids
	narrowScreen = 60  // have none for what tasks have taken

	keysHelp = "j:down k:up i:info t:traceback r:result c:revoke l:rate limit q:quit"
)

// stateColors are Celery's.
var stateColors = map[string]string{"SUCCESS": "32", "FAILURE": "31", "RETRY": "31", "REVOKED": "35", "STARTED": "33"}

// frame returns the lines of a picture that is so wide and high, at most.
func (v *eventView) frame(width, height int, now time.Time) []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.open != nil {
		return v.openFrame(width, height)
	}
	lines := []string{v.program + " events  " + v.title, ""}
	lines = append(lines, v.workerLines((height-6)/2, now)...)
	lines = append(lines, "")
	if height < 12 { // then tasks matter more
		lines = lines[:1]
	}
	d := taskColumns{id: 8} // which tells two tasks apart
	if d.narrow = width < narrowScreen; width >= wideScreen {
		d.id = 36
	}
	lines = append(lines, d.line("TIME", "STATE", "RUNTIME", "TASK", "WORKER", "ID", "RESULT"))
	for i := range lines {
		lines[i] = cut(lines[i], width)
	}
	v.page = max(0, height-len(lines)-2)
	lines = append(lines, v.taskLines(d, width)...)
	for len(lines) < height-2 {
		lines = append(lines, "")
	}
	bottom := []string{cut(v.statusLine(now), width), cut(keysHelp, width)}
	if v.asking {
		bottom[1] = cut("New rate limit of "+v.limited()+" (such as 10/m; 0: none): "+v.typed+"_", width)
	}
	return slices.Concat(lines[:min(len(lines), max(0, height-2))], bottom[max(0, 2-height):])
}

func (v *eventView) limited() string {
	if t := taskAt(v.selected); t != nil {
		return t.text("name")
	}
	return ""
}

// workerLines are the head and so many workers.
func (v *eventView) workerLines(most int, now time.Time) []string {
	lines := []string{fmt.Sprintf("%-28s %-7s %7s %10s  %-17s %s", "WORKER", "STATUS", "ACTIVE", "PROCESSED", "LOAD", "SOFTWARE")}
	for _, w := range v.state.sortedWorkers() {
		if len(lines) > max(1, most) {
			break
		}
		status := "offline"
		if w.alive(now) {
			status = "online"
		}
		lines = append(lines, fmt.Sprintf("%-28s %-7s %7.0f %10.0f  %-17s %s", short(w.name, 28), status, w.active, w.processed, loads(w.load), w.software))
	}
	return lines
}

// taskLines are those of tasks that have room, among them the chosen one.
func (v *eventView) taskLines(d taskColumns, width int) (lines []string) {
	place, at := v.state.order.Front(), 0
	if v.selected != nil {
		for e := v.selected.Prev(); e != nil; e = e.Prev() {
			at++
		}
		v.first = max(min(v.first, at), at-v.page+1)
	} else {
		v.first = 0
	}
	v.first = max(0, min(v.first, v.state.order.Len()-v.page))
	for range v.first {
		place = place.Next()
	}
	for ; place != nil && len(lines) < v.page; place = place.Next() {
		t := taskAt(place)
		line := cut(d.task(t), width)
		switch from, to := d.state(); {
		case place == v.selected:
			line = "\x1b[7m" + line + strings.Repeat(" ", max(0, width-len([]rune(line)))) + plainText
		case v.colored && stateColors[t.state] != "" && len(line) >= to:
			line = line[:from] + "\x1b[" + stateColors[t.state] + "m" + line[from:to] + plainText + line[to:]
		}
		lines = append(lines, line)
	}
	return lines
}

// statusLine says what went wrong, what is chosen, or what there is.
func (v *eventView) statusLine(now time.Time) string {
	alive := 0
	for _, w := range v.state.workers {
		if w.alive(now) {
			alive++
		}
	}
	counts := fmt.Sprintf("events: %d  tasks: %d  workers: %d/%d", v.state.total, v.state.order.Len(), alive, len(v.state.workers))
	t := taskAt(v.selected)
	switch {
	case v.notice != "":
		return v.notice
	case t != nil:
		return "Selected: " + t.id + " " + t.state + "  " + counts
	case v.state.order.Len() == 0:
		return counts + "  tasks show after '" + v.program + " control enable_events', or with workers started with -E"
	}
	return counts
}

// openFrame shows a text.
func (v *eventView) openFrame(width, height int) []string {
	var lines []string
	for _, line := range v.open.lines {
		lines = append(lines, wrap(visible(line), width)...)
	}
	v.page = max(1, height-3)
	v.open.first = max(0, min(v.open.first, len(lines)-v.page))
	last := "any key: back"
	if v.open.long = len(lines) > v.page; v.open.long {
		last = "j:down k:up space:next page, any other key: back"
	}
	shown := append([]string{cut(v.open.title, width), ""}, lines[v.open.first:min(len(lines), v.open.first+v.page)]...)
	for len(shown) < height-1 {
		shown = append(shown, "")
	}
	shown = append(shown[:max(0, height-1)], cut(last, width))
	return shown[:min(len(shown), height)]
}

// details are what events say of a task, one thing a line.
func (t *seenTask) details() []string {
	lines := []string{"name: " + t.text("name"), "state: " + t.state, "worker: " + t.worker, "args: " + t.text("args"), "kwargs: " + t.text("kwargs")}
	for i := len(taskEvents) - 1; i >= 0; i-- {
		if at := t.times[i]; at != 0 {
			lines = append(lines, taskEvents[i].kind+": "+pythonTime(at))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(t.fields)) {
		switch text := t.text(name); {
		case name == "name" || name == "args" || name == "kwargs" || text == "":
		default:
			lines = append(lines, strings.Split(name+": "+text, "\n")...)
		}
	}
	return lines
}

// taskColumns is how the table of tasks is laid out.
type taskColumns struct {
	id     int  // characters of the id
	narrow bool // without what tasks have taken
}

func (d taskColumns) line(changed, state, runtime, name, worker, id, outcome string) string {
	if runtime = fmt.Sprintf("%9s  ", runtime); d.narrow {
		runtime = ""
	}
	return fmt.Sprintf("%-8s %-8s %s%-28s %-18s %-*s %s", changed, state, runtime, short(name, 28), short(worker, 18), d.id, short(id, d.id), outcome)
}

// state is where the state stands.
func (d taskColumns) state() (from, to int) { return 9, 17 }

func (d taskColumns) task(t *seenTask) string {
	runtime, outcome := "", t.outcome()
	if seconds := t.fields.Number("runtime"); seconds > 0 {
		runtime = fmt.Sprintf("%.3f s", seconds)
	}
	if outcome == "" && t.text("args") != "" {
		outcome = t.text("args") + " " + t.text("kwargs")
	}
	return d.line(t.changed.Format(time.TimeOnly), t.state, runtime, t.text("name"), t.worker, t.id, outcome)
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

// visible is a text as one line that cannot control the terminal.
func visible(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case unicode.IsControl(r):
			return unicode.ReplacementChar
		}
		return r
	}, text)
}

// cut makes a line of a text that is so wide at most.
func cut(text string, width int) string { return short(visible(text), width) }

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

// wrap breaks a line where it is too wide.
func wrap(line string, width int) (lines []string) {
	runes := []rune(line)
	if width < 1 {
		return nil
	}
	for len(runes) > width {
		lines = append(lines, string(runes[:width]))
		runes = runes[width:]
	}
	return append(lines, string(runes))
}
