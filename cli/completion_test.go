package cli

import (
	"strings"
	"testing"
)

// suggested is what the program says to a shell.
func suggested(t *testing.T, words ...string) []string {
	t.Helper()
	var texts []string
	for line := range strings.Lines(mustCall(t, append([]string{"complete", "--"}, words...)...)) {
		text, meaning, told := strings.Cut(line, "\t")
		if !told || strings.Contains(meaning, "`") {
			t.Errorf("%q", line)
		}
		texts = append(texts, text)
	}
	return texts
}

func TestSuggestions(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ line, want string }{
		{"be", "beat"},
		{"compl", "completion"}, // and not the hidden command
		{"worker --po", "--pool --port --pool-start-method"},
		{"worker --execut", "--executable"},
		{"worker --ui", ""}, // it is refused
		{"worker -P pr", "prefork processes"},
		{"worker -l in", "INFO"}, // as one types it
		{"worker --log-format ", "text json"},
		{"worker --unknown-task=f", "--unknown-task=fail --unknown-task=forward:"},
		{"worker --nothing=", ""},
		{"worker -O ", "default fair"},
		{"worker -Q a,b -", "*"},
		{"worker -- --po", ""},
		{"beat ", "list run"},
		{"beat -S redb", "redbeat"},
		{"beat run ", ""},
		{"--broker redis://localhost/0 pur", "purge"},
		{"-A mysite inspect -d celery@a reg", "registered"},
		{"control reg", ""},
		{"dlq --json re", "replay"},
		{"send proj.", "proj.add proj.echo proj.fail proj.nap proj.stubborn"},
		{"completion ", "bash zsh fish"},
		{"nope ", ""},
	} {
		got := strings.Join(suggested(t, strings.Split(test.line, " ")...), " ")
		if got != test.want && (test.want != "*" || len(got) < 500) {
			t.Errorf("%q: %q, want %q", test.line, got, test.want)
		}
	}
	if got := suggested(t); len(got) < 15 {
		t.Errorf("without a word: %q", got)
	}
}

// What is suggested as the value of an option is one.
func TestSuggestedValuesAreTaken(t *testing.T) {
	t.Parallel()
	url := startEmbedded(t)
	for _, options := range []string{"worker -l", "worker -P", "worker --log-format", "worker -O", "worker --queue-order-strategy", "worker --unknown-task", "worker --pool-start-method"} {
		values := suggested(t, append(strings.Fields(options), "")...)
		if len(values) < 2 {
			t.Errorf("%s: %q", options, values)
		}
		for _, value := range values {
			if strings.HasSuffix(value, ":") {
				value += "other"
			}
			// What is looked at last is wrong, and nothing else.
			args := append(strings.Fields(options), value, "-b", url, "-Q", "a", "-X", "a")
			if _, _, stderr := call(t, args...); !strings.HasSuffix(stderr, "Error: No queue is left to consume from\n") {
				t.Errorf("%v: %s", args, stderr)
			}
		}
	}
	for _, value := range suggested(t, "send", "--serializer", "") {
		mustCall(t, "send", "proj.add", "1", "2", "--serializer", value, "-b", url)
	}
}

func TestCompletionMistakes(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"":          "Missing argument: one of bash, zsh, fish",
		"tcsh":      "Invalid argument: 'tcsh' is not one of 'bash', 'zsh', 'fish'",
		"bash more": "Got unexpected argument 'more'",
	} {
		status, _, stderr := call(t, append([]string{"completion"}, strings.Fields(args)...)...)
		if status != exitUsage || !strings.Contains(stderr, want) {
			t.Errorf("%q: status %d: %s", args, status, stderr)
		}
	}
	var out, errs buffer
	if status := run(t.Context(), testRegistry(), []string{"/tmp/go-build1/exe/main", "completion", "bash"}, &out, &errs); status != exitUsage {
		t.Errorf("status %d: %s", status, out.String())
	}
}
