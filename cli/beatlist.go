package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/apium/apium/app"
	"github.com/apium/apium/beat"
)

// entryLine is a line of beat list --json.
type entryLine struct {
	Name     string  `json:"name"`
	Task     string  `json:"task"`
	Schedule string  `json:"schedule"`
	LastRun  *moment `json:"last_run_at"`
	NextRun  *moment `json:"next_run_at"`
	Count    int     `json:"total_run_count"`
	Source   string  `json:"source"`
	Enabled  bool    `json:"enabled"`
	Error    string  `json:"error,omitempty"`
}

// moment is a time that is printed as jq reads it: 2027-01-31T04:00:00Z, in UTC and to the second.
type moment struct{ time.Time }

// MarshalJSON cuts off fractions of seconds.
func (m moment) MarshalJSON() ([]byte, error) { return json.Marshal(m.UTC().Format(time.RFC3339)) }

// listBeat shows all entries with their last and next runs.
func (p *program) listBeat(c *cli.Context) error {
	return p.ask(c, func(ctx context.Context, s *beatSettings, b *app.Beat) error {
		listed, err := b.List(ctx)
		if err != nil {
			return err
		}
		rows := [][]string{{"NAME", "TASK", "SCHEDULE", "LAST", "NEXT", "COUNT", "SOURCE"}}
		for i := range listed {
			line := lineOf(&listed[i])
			if c.Bool("json") {
				if err := p.printJSON(line); err != nil {
					return err
				}
				continue
			}
			rows = append(rows, line.cells(s.conf.Location()))
		}
		if !c.Bool("json") {
			printTable(p.stdout, rows)
		}
		return nil
	})
}

func lineOf(l *beat.Listed) *entryLine {
	line := &entryLine{Name: l.Name, Task: l.Task, Count: l.Count, Source: l.Source, Enabled: !l.Disabled}
	if l.Schedule != nil {
		line.Schedule = l.Schedule.String()
	}
	if !l.LastRun.IsZero() {
		line.LastRun = &moment{l.LastRun}
	}
	if !l.NextRun.IsZero() {
		line.NextRun = &moment{l.NextRun}
	}
	if l.Err != nil {
		line.Error = l.Err.Error()
	}
	return line
}

// cells is the line for people, with the clock that crontabs go by.
func (l *entryLine) cells(zone *time.Location) []string {
	at := func(t *moment) string {
		if t == nil {
			return "-"
		}
		return t.In(zone).Format(time.DateTime)
	}
	next := at(l.NextRun)
	switch {
	case l.Error != "":
		next = "never: " + l.Error
	case !l.Enabled:
		next = "disabled"
	}
	return []string{l.Name, l.Task, l.Schedule, at(l.LastRun), next, strconv.Itoa(l.Count), l.Source}
}

// printTable prints columns of text.
func printTable(out io.Writer, rows [][]string) {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(table, strings.Join(row, "\t"))
	}
	_ = table.Flush() // nobody reads it
}

// runEntry sends what one entry calls, now.
func (p *program) runEntry(c *cli.Context, name string) error {
	return p.ask(c, func(ctx context.Context, s *beatSettings, b *app.Beat) error {
		if err := s.acceptHooks(c, s.refused); err != nil {
			return err
		}
		id, err := b.SendNow(ctx, name)
		var unknown *beat.UnknownError
		if errors.As(err, &unknown) {
			return usage(c, fmt.Errorf("%w.%s", err, didYouMean(name, unknown.Known, "")), false)
		}
		if err != nil {
			return err
		}
		fmt.Fprintln(p.stdout, id)
		return nil
	})
}
