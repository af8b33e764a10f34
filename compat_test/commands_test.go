package compat_test

import (
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Lines of celery --help that name a command; 4.4 has another form.
var (
	helpLine   = regexp.MustCompile(`(?m)^  ([a-z]+)  `)
	helpLine44 = regexp.MustCompile(`(?m)^\|    celery ([a-z]+)`)
)

// Every command of Celery's is one of ours, or answered with what to do instead.
func TestEveryCommandHasAnAnswer(t *testing.T) {
	t.Parallel()
	for _, venv := range []string{celery57, celery52, celery44} {
		help, _ := exec.Command(interpreter(venv), "-m", "celery", "--help").Output() // 4.4 ends with 64
		_, list, ok := strings.Cut(string(help), "\nCommands:\n")
		line := helpLine
		if !ok {
			list, line = string(help), helpLine44
		}
		var commands []string
		for _, match := range line.FindAllStringSubmatch(list, -1) {
			commands = append(commands, match[1])
		}
		slices.Sort(commands)
		commands = slices.Compact(commands)
		if len(commands) < 17 {
			t.Errorf("%s has only these commands: %q", venv, commands)
		}
		for _, command := range commands {
			out, err := exec.Command(apiumBinary, command, "--help").CombinedOutput()
			if err != nil && !strings.Contains(string(out), "\nError: There is no command '"+command+"' here. ") {
				t.Errorf("%s: apium %s: %v\n%s", venv, command, err, out)
			}
		}
	}
}
