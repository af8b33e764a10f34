package cli

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/apium/apium/broker"
)

// banner is what a starting worker shows, laid out as Celery's.
type banner struct {
	hostname    string
	version     string
	platform    string
	now         time.Time
	app         string
	transport   string // passwords masked
	results     string // passwords masked
	concurrency string
	pool        string
	taskEvents  bool
	queues      []broker.Queue
	tasks       []string // nil: not shown
	notes       []string // lines at the end
}

var art = []string{
	" --------------",
	"--- ***** -----",
	"-- ******* ----",
	"- *** --- * ---",
	"- ** ----------",
	"- ** ----------",
	"- ** ----------",
	"- ** ----------",
	"- *** --- * ---",
	"-- ******* ----",
	"--- ***** -----",
	" --------------",
}

const cyan = "\x1b[1;36m"

func (b *banner) write(out io.Writer, color bool) {
	events := "OFF (enable -E to monitor tasks in this worker)"
	if b.taskEvents {
		events = "ON"
	}
	lines := []string{
		b.hostname + " " + b.version,
		"",
		b.platform + " " + b.now.Format("2006-01-02 15:04:05"),
		"",
		"[config]",
		".> app:         " + b.app,
		".> transport:   " + b.transport,
		".> results:     " + b.results,
		".> concurrency: " + b.concurrency + " (" + b.pool + ")",
		".> task events: " + events,
		"",
		"[queues]",
	}
	for _, q := range b.queues {
		exchange, binding := q.Binding()
		lines = append(lines, fmt.Sprintf(".> %-16s exchange=%s(%s) key=%s", q.Name, exchange, cmp.Or(q.ExchangeType, broker.Direct), binding.RoutingKey))
	}
	var text strings.Builder
	text.WriteString(" \n")
	for i, line := range lines {
		if i < len(art) {
			line = art[i] + " " + line
		} else {
			line = strings.Repeat(" ", 16) + line
		}
		text.WriteString(line + "\n")
	}
	if b.tasks != nil {
		text.WriteString("\n[tasks]\n")
		for _, name := range b.tasks {
			text.WriteString("  . " + name + "\n")
		}
	}
	for _, note := range b.notes {
		text.WriteString("\n" + note + "\n")
	}
	text.WriteString("\n")
	if color {
		fmt.Fprint(out, cyan+text.String()+colorReset)
		return
	}
	fmt.Fprint(out, text.String())
}
