// Command bench measures workers side by side: tasks per second with results stored,
// and what one task costs. See README.md for the method; start it with ./run.
package main

import (
	"cmp"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

var (
	bin        = flag.String("bin", "", "directory of the built peers")
	python     = flag.String("python", "", "bin directory of the virtual environment with Celery")
	rounds     = flag.Int("rounds", 3, "rounds; the median counts")
	scale      = flag.Float64("scale", 1, "multiplies the number of tasks")
	only       = flag.String("only", "", "measure the workers matching this regular expression")
	extras     = flag.Bool("extras", true, "measure allocations, round trips, memory and latency, too")
	parked     = flag.Int("parked", 0, "show the memory of so many tasks that are due in an hour, and nothing else")
	beats      = flag.Int("beats", 0, "measure the sending of so many periodic tasks, and nothing else")
	onRabbit   = flag.Bool("rabbit", false, "measure workers on RabbitMQ, and nothing else")
	onCanvas   = flag.Bool("canvases", false, "measure chains, chords and large tasks, and nothing else")
	onNaps     = flag.Bool("naps", false, "measure 1,000 tasks at once that only wait, and nothing else")
	onLatency  = flag.Bool("latency", false, "measure how long a client waits for a result while the worker has other tasks, and nothing else")
	onSeveral  = flag.Bool("several", false, "measure several workers on one Redis, and many queues, and nothing else")
	due        = flag.Int("due", 0, "measure how late so many tasks start that are due at once, beside ten times as many for later, and nothing else")
	workers    = flag.Int("fleet", 0, "measure what so many idle workers cost one Redis, and nothing else")
	fleetStart = flag.Duration("fleet-start", 0, "time over which these workers start, evenly")
	allocs     = flag.String("allocprofile", "", "write a profile of what Apium -c 50 allocates for 100,000 tasks here, and measure nothing else")
	cpu        = flag.String("cpuprofile", "", "write a CPU profile of one more Apium round here")
)

func main() {
	log.SetFlags(0)
	flag.Parse()
	if err := run(); err != nil {
		log.Fatal("bench: ", err)
	}
}

func run() error {
	pattern, err := regexp.Compile(*only)
	if err != nil {
		return err
	}
	defer func() { stopPostgres() }()
	fmt.Printf("%s, %s\n\n", time.Now().Format(time.DateOnly), machine())
	if *parked > 0 {
		return measureParked(*parked)
	}
	if *beats > 0 {
		return measureBeats(*beats, pattern)
	}
	if *workers > 0 {
		return measureFleet(*workers, pattern)
	}
	if *onCanvas {
		return measureCanvases(pattern)
	}
	if *onRabbit {
		return measureRabbit(pattern)
	}
	if *onNaps {
		return measureNaps(pattern)
	}
	if *onLatency {
		return measureLatency(pattern)
	}
	if *onSeveral {
		return measureSeveral(pattern)
	}
	if *allocs != "" {
		_, err := counters(100_000, "BENCH_ALLOCS="+*allocs)
		return err
	}
	if *due > 0 {
		return measureDue(*due, pattern)
	}
	var chosen []contender
	for _, c := range contenders() {
		if pattern.MatchString(c.name) {
			chosen = append(chosen, c)
		}
	}
	speeds := map[string][]speed{}
	for range *rounds { // in turns, so that a slow spell of the machine hits all
		for _, c := range chosen {
			s, err := measure(c, nil)
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			say(c.name, s)
			speeds[c.name] = append(speeds[c.name], s)
		}
	}
	table(chosen, speeds, onRedis(celeryPrefork, celeryPrefork), onRedis("asynq", asynqDefault))
	if *cpu != "" {
		if err := profile(*cpu); err != nil {
			return err
		}
	}
	if *extras {
		return costs()
	}
	return nil
}

// say tells of one round.
func say(name string, s speed) {
	fmt.Fprintf(os.Stderr, "%-40s %9.0f tasks/s %9v of CPU per task, %9v of the broker's\n", name, s.rate, s.cpu, s.broker)
}

// against is what workers are compared with: which other one, if any, each is.
type against struct {
	title string
	other func(name string) string
}

func onRedis(title, name string) against {
	return against{title, func(string) string { return name }}
}

func table(chosen []contender, speeds map[string][]speed, others ...against) {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 1, ' ', 0)
	head, rule := "| worker\t| tasks/s\t| lowest\t| highest\t| CPU per task\t| the broker's\t|", "|---\t|---\t|---\t|---\t|---\t|---\t|"
	for _, o := range others {
		head, rule = head+" × "+o.title+"\t|", rule+"---\t|"
	}
	fmt.Fprintln(w, head)
	fmt.Fprintln(w, rule)
	for _, c := range chosen {
		rates := ratesOf(speeds[c.name])
		fmt.Fprintf(w, "| %s\t| %.0f\t| %.0f\t| %.0f\t| %v\t| %v\t|", c.name, median(rates), rates[0], rates[len(rates)-1],
			medianOf(speeds[c.name], func(s speed) time.Duration { return s.cpu }), medianOf(speeds[c.name], func(s speed) time.Duration { return s.broker }))
		for _, o := range others {
			ratio := "-"
			if m := median(ratesOf(speeds[o.other(c.name)])); m > 0 {
				ratio = fmt.Sprintf("%.1f", median(rates)/m)
			}
			fmt.Fprintf(w, " %s\t|", ratio)
		}
		fmt.Fprintln(w)
	}
	_ = w.Flush()
}

// medianRound measures something as often as is wanted, and returns the round whose rate is the median.
func medianRound[T any](name string, measure func() (T, error), of func(T) speed) (m T, err error) {
	var all []T
	for range *rounds {
		r, err := measure()
		if err != nil {
			return m, fmt.Errorf("%s: %w", name, err)
		}
		say(name, of(r))
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b T) int { return cmp.Compare(of(a).rate, of(b).rate) })
	return all[len(all)/2], nil
}

func ratesOf(all []speed) (rates []float64) {
	for _, s := range all {
		rates = append(rates, s.rate)
	}
	slices.Sort(rates)
	return rates
}

func median(sorted []float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[len(sorted)/2]
}

func medianOf[T any](all []T, what func(T) time.Duration) time.Duration {
	values := make([]time.Duration, len(all))
	for i, s := range all {
		values[i] = what(s)
	}
	slices.Sort(values)
	return values[len(values)/2].Round(100 * time.Nanosecond)
}

// machine describes the computer, for whoever compares tables.
func machine() string {
	cpu := "unknown CPU"
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		cores := strings.Count(string(info), "\nmodel name") + 1
		if _, rest, found := strings.Cut(string(info), "model name"); found {
			name, _, _ := strings.Cut(rest, "\n")
			cpu = fmt.Sprintf("%d × %s", cores-1, strings.Trim(name, "\t: "))
		}
	}
	return cpu + ", " + version("redis-server", "--version") + ", " + version("go", "version") + ", " +
		version(*python+"/python", "--version") + ", Celery " + version(*python+"/celery", "--version")
}

func version(program, flag string) string {
	out, err := exec.Command(program, flag).Output()
	if err != nil {
		return program + " ?"
	}
	words := strings.Fields(string(out))
	return strings.Join(words[:min(3, len(words))], " ")
}
