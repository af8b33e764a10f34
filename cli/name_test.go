package cli

import (
	"strings"
	"testing"
)

// What users build has a name of its own, and so say its texts.
func TestTextsNameTheProgram(t *testing.T) {
	t.Parallel()
	p := &program{name: "shopworker", reg: testRegistry()}
	lines := []string{"", "bogus", "worker --bogus", "worker extra", "inspect bogus", "inspect rate_limit", "control active", "dlq", "list"}
	for _, command := range p.app().Commands {
		lines = append(lines, command.Name+" --help")
	}
	for _, line := range lines {
		var out buffer
		run(t.Context(), testRegistry(), append([]string{"/usr/local/bin/shopworker"}, strings.Fields(line)...), &out, &out)
		if text := out.String(); !strings.Contains(text, "shopworker") || strings.Contains(text, "apium") {
			t.Errorf("%q prints\n%s", line, text)
		}
	}
}

func TestProgramName(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"apium": "apium", "/opt/shop/shopworker": "shopworker", "./worker.exe": "worker",
		"/tmp/go-build12/b001/exe/apium": "go run .",
	} {
		if got := programName(path); got != want {
			t.Errorf("%s is called %q, want %q", path, got, want)
		}
	}
}
