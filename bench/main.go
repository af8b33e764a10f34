// Command bench measures workers side by side: tasks per second with results stored,
// and what one task costs. See README.md for the method; start it with ./run.
package main

import (
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
	bin    = flag.String("bin", "", "directory of the built peers")
	python = flag.String("python", "", "bin directory of the virtual environment with Celery")
	rounds = flag.Int("rounds", 3, "rounds; the median counts")
	scale  = flag.Float64("scale", 1, "multiplies the number of tasks")
	only   = flag.String("only", "", "measure the workers matching this regular expression")
	extras = flag.Bool("extras", true, "measure allocations, round trips, memory and latency, too")
	parked = flag.Int("parked", 0, "show the memory of so many tasks that are due in an hour, and nothing else")
	cpu    = flag.String("cpuprofile", "", "write a CPU profile of one more Apium round here")
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
	fmt.Printf("%s, %s\n\n", time.Now().Format(time.DateOnly), machine())
	if *parked > 0 {
		return measureParked(*parked)
	}
	var chosen []contender
	for _, c := range contenders() {
		if pattern.MatchString(c.name) {
			chosen = append(chosen, c)
		}
	}
	rates := map[string][]float64{}
	for range *rounds { // in turns, so that a slow spell of the machine hits all
		for _, c := range chosen {
			rate, err := measure(c, nil)
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			fmt.Fprintf(os.Stderr, "%-24s %9.0f tasks/s\n", c.name, rate)
			rates[c.name] = append(rates[c.name], rate)
		}
	}
	table(chosen, rates)
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

func table(chosen []contender, rates map[string][]float64) {
	median := func(name string) float64 {
		r := slices.Sorted(slices.Values(rates[name]))
		if len(r) == 0 {
			return 0
		}
		return r[len(r)/2]
	}
	ratio := func(a, b float64) string {
		if b == 0 {
			return "-"
		}
		return fmt.Sprintf("%.1f", a/b)
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 1, ' ', 0)
	fmt.Fprintln(w, "| worker\t| tasks/s\t| lowest\t| highest\t| × Celery prefork -c 2\t| × asynq\t|")
	fmt.Fprintln(w, "|---\t|---\t|---\t|---\t|---\t|---\t|")
	for _, c := range chosen {
		m := median(c.name)
		fmt.Fprintf(w, "| %s\t| %.0f\t| %.0f\t| %.0f\t| %s\t| %s\t|\n", c.name, m,
			slices.Min(rates[c.name]), slices.Max(rates[c.name]), ratio(m, median(celeryPrefork)), ratio(m, median(asynqDefault)))
	}
	_ = w.Flush()
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
