package cli

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/apium/apium/operate/control"
	"github.com/apium/apium/protocol/pyjson"
)

func (p *program) shadowCommand() *cli.Command {
	return &cli.Command{
		Name:  "shadow",
		Usage: "show how Go handlers do that run beside Python's tasks, to be compared",
		Description: "Workers that were given --shadow run the Go handler of a task on copies of what Python has run. This shows, for all\n" +
			"workers together, since they have started:\n\n" +
			"SHADOW      of how many of the messages a copy is run\n" +
			"COMPARED    how many have ended in Go, and how many of them as in Python (SAME) or not (DIFFERENT)\n" +
			"UNCOMPARED  Python has returned what has no form in JSON\n" +
			"TIMEOUT     the Go handler took too long\n" +
			"DROPPED     were not run, as too many waited\n" +
			"PYTHON, GO  how long the last ones took: half of them less\n\n" +
			"and then the last differences. The status is 1 if there are any. '" + p.name + " control shadow TASK PERCENT' changes how many.",
		Flags:  remoteFlags(),
		Action: p.runShadow,
	}
}

func (p *program) runShadow(c *cli.Context) (err error) {
	o, err := p.operator(c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, o.Close()) }()
	replies, err := o.ask(c, "shadows", nil, nil)
	if err != nil {
		return err
	}
	replies = byNode(replies, p.stderr)
	all := shadowsOf(replies)
	if c.Bool("json") {
		err = p.printByNode(replies)
	} else {
		err = p.printShadows(all)
	}
	if slices.ContainsFunc(all, func(s *fleetShadow) bool { return s.Different > 0 }) {
		err = errors.Join(err, statusError(exitFailure))
	}
	return err
}

// fleetShadow is what all workers tell of a task together.
type fleetShadow struct {
	control.Shadow
	task   string
	shares []string
	nodes  []string // of each difference
}

// shadowsOf adds up what workers tell, by task. Python's do not know what they are asked.
func shadowsOf(replies []control.Reply) []*fleetShadow {
	all := map[string]*fleetShadow{}
	for _, r := range replies {
		var told map[string]control.Shadow
		if err := pyjson.Unmarshal(r.Value, &told); err != nil {
			continue
		}
		for task, s := range told {
			sum := all[task]
			if sum == nil {
				sum = &fleetShadow{task: task}
				all[task] = sum
			}
			sum.add(r.Node, s)
		}
	}
	sorted := slices.Collect(maps.Values(all))
	slices.SortFunc(sorted, func(a, b *fleetShadow) int { return strings.Compare(a.task, b.task) })
	return sorted
}

func (f *fleetShadow) add(node string, s control.Shadow) {
	f.Same, f.Different, f.Uncompared = f.Same+s.Same, f.Different+s.Different, f.Uncompared+s.Uncompared
	f.Timeout, f.Dropped = f.Timeout+s.Timeout, f.Dropped+s.Dropped
	f.Python, f.Go = append(f.Python, s.Python...), append(f.Go, s.Go...)
	if !slices.Contains(f.shares, s.Share) {
		f.shares = append(f.shares, s.Share)
	}
	for _, d := range s.Differences {
		f.Differences, f.nodes = append(f.Differences, d), append(f.nodes, node)
	}
}

func (p *program) printShadows(all []*fleetShadow) error {
	if len(all) == 0 {
		_, err := fmt.Fprintln(p.stdout, "No task is run in Go to be compared: start a worker with --shadow.")
		return err
	}
	table := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "TASK\tSHADOW\tCOMPARED\tSAME\tDIFFERENT\tUNCOMPARED\tTIMEOUT\tDROPPED\tPYTHON\tGO")
	for _, s := range all {
		slices.Sort(s.shares)
		fmt.Fprintf(table, "%s\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t%s\t%s\n", s.task, strings.Join(s.shares, ","), s.Same+s.Different, s.Same, s.Different,
			s.Uncompared, s.Timeout, s.Dropped, half(s.Python), half(s.Go))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, s := range all {
		for i, d := range s.Differences {
			if err := p.printDifference(s.task, s.nodes[i], d); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *program) printDifference(task, node string, d control.ShadowDifference) error {
	where := ""
	if d.Where != "" {
		where = " (result" + d.Where + ")"
	}
	at := time.UnixMicro(int64(d.Time * 1e6)).UTC().Format(time.DateTime)
	_, err := fmt.Fprintf(p.stdout, "\n%s[%s]%s, %s UTC at %s\n  args: %s kwargs: %s\n  Python %s\n  Go     %s\n",
		task, d.ID, where, at, node, d.Args, d.Kwargs, d.Python, d.Go)
	return err
}

// half is how long half of some runs took at most.
func half(all []float64) string {
	if len(all) == 0 {
		return "-"
	}
	slices.Sort(all)
	d := time.Duration(all[len(all)/2] * float64(time.Second))
	unit := time.Microsecond / 10
	for d > 1000*unit {
		unit *= 10
	}
	return d.Round(unit).String()
}
