package cli

import (
	"strings"
	"testing"
)

// Every row of the table in docs/operating.md.
func TestExitStatuses(t *testing.T) {
	t.Parallel()
	o := startOperated(t)
	defer o.stop()
	// Waited for: a purge below would take its message away.
	if status, _, stderr := o.call(t, "send proj.fail no --task-id failed -w"); status != exitFailure {
		t.Fatal(stderr)
	}
	for line, want := range map[string]int{
		"version":                   exitOK,
		"send proj.add 1 2 -w":      exitOK,
		"status -d w@h -t 60":       exitOK,
		"inspect ping -d w@h -t 60": exitOK,
		"control rate_limit proj.add 5/m -d w@h -t 60": exitOK,
		"purge -f":                    exitOK,
		"purge --yes":                 exitOK,
		"dlq drop --all -f":           exitOK,
		"dlq drop --all -y":           exitOK,
		"dlq replay --all":            exitOK,
		"send proj.fail no -w":        exitFailure,
		"result failed":               exitFailure,
		"result never --timeout 0.01": exitFailure,
		"dlq show none":               exitFailure,
		"purge":                       exitFailure, // nobody says yes
		"control rate_limit proj.none 5/m -d w@h -t 60":    exitFailure,
		"control rate_limit proj.none 5/m -j -d w@h -t 60": exitFailure,
		"control autoscale 3 1 -d w@h -t 60":               exitFailure,
		"status --config /nosuch":                          exitFailure,
		"worker --embedded --pidfile /no/p":                exitFailure,
		"":                                                 exitOK,
		"bogus":                                            exitUsage,
		"worker --bogus":                                   exitUsage,
		"inspect bogus":                                    exitUsage,
		"control":                                          exitUsage,
		"send":                                             exitUsage,
		"result":                                           exitUsage,
		"list bogus":                                       exitUsage,
		"dlq bogus":                                        exitUsage,
		"dlq drop --all":                                   exitUsage, // nobody is there to be asked
		"status -d nobody@h -t 0.05":                       exitUnavailable,
		"inspect ping -d nobody@h -t 0.05":                 exitUnavailable,
		"control shutdown -d no@h -t 0.05":                 exitUnavailable,
	} {
		if status, stdout, stderr := o.call(t, line); status != want {
			t.Errorf("%q: status %d, want %d\n%s%s", line, status, want, stdout, stderr)
		}
	}
	for _, line := range []string{
		"status", "events", "inspect ping", "control heartbeat", "list queues", "purge -f", "dlq list",
		"send proj.add", "send proj.add -w", "result x", "result x --traceback", "worker broker_connection_retry=0",
	} {
		for _, broker := range []string{"redis://127.0.0.1:1", "amqp://127.0.0.1:1"} {
			t.Run(broker+" "+line, func(t *testing.T) {
				t.Parallel()
				args := append([]string{"-b", broker, "--result-backend", "redis://127.0.0.1:1"}, strings.Fields(line)...)
				if status, stdout, stderr := call(t, args...); status != exitUnavailable {
					t.Errorf("without a broker: status %d\n%s%s", status, stdout, stderr)
				}
			})
		}
	}
}

// All dead letters go only after a yes, or where nothing is asked.
func TestDropAllAsks(t *testing.T) {
	t.Parallel()
	s, ids := buried(t)
	drop := func(answer string) (status int, said string) {
		var out buffer
		p := &program{name: "apium", reg: testRegistry(), stdin: strings.NewReader(answer), stdout: &out, stderr: &out, asks: true}
		return p.run(t.Context(), []string{"apium", "dlq", "drop", "--all", "-b", s.URL(0)}), out.String()
	}
	for _, answer := range []string{"n\n", "\n", ""} {
		if status, said := drop(answer); status != exitFailure || !strings.Contains(said, "drops 3 dead letters") {
			t.Errorf("%q: status %d: %s", answer, status, said)
		}
	}
	if _, out, _ := call(t, "-b", s.URL(0), "dlq", "list", "--json"); strings.Count(out, "\n") != len(ids) {
		t.Errorf("dead letters are gone, %d are left of %d", strings.Count(out, "\n"), len(ids))
	}
	if status, said := drop("y\n"); status != exitOK || !strings.Contains(said, "Dropped 3 of 3.") {
		t.Errorf("yes: status %d: %s", status, said)
	}
}
