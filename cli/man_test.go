package cli

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

func TestManualNamesEverything(t *testing.T) {
	t.Parallel()
	page := mustCall(t, "man")
	app := testApp().app()
	flags := visibleFlags(app.Flags)
	for _, command := range app.VisibleCommands() {
		if !strings.Contains(page, fmt.Sprintf(".SS %q\n", strings.Join(command.Names(), ", "))) {
			t.Errorf("the command %s is not in the page", command.Name)
		}
		flags = append(flags, visibleFlags(command.Flags)...)
	}
	for _, flag := range flags {
		doc, ok := flag.(cli.DocGenerationFlag)
		if name := flag.Names()[0]; !ok || name != "help" && !strings.Contains(page, bold("--"+name)) {
			t.Errorf("--%s is not in the page", name)
		}
		for _, variable := range doc.GetEnvVars() {
			if !strings.Contains(page, "$"+variable) {
				t.Errorf("$%s is not in the page", variable)
			}
		}
	}
	for _, hidden := range []string{".SS \"" + completeCommand + "\"", bold("--uid")} {
		if strings.Contains(page, hidden) {
			t.Errorf("%s is in the page", hidden)
		}
	}
	operating, err := os.ReadFile("../docs/operating.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, status := range exitStatuses {
		if line := fmt.Sprintf("| %d | %s |\n", status.code, status.when); !strings.Contains(string(operating), line) {
			t.Errorf("docs/operating.md does not have %q", line)
		}
		if !strings.Contains(page, roff(status.when)) {
			t.Errorf("status %d is not in the page", status.code)
		}
	}
}

// A reader of manual pages has nothing to say against ours, and shows texts as they are.
func TestManualIsRead(t *testing.T) {
	t.Parallel()
	mandoc, err := exec.LookPath("mandoc")
	if err != nil {
		t.Skip(err)
	}
	page := filepath.Join(t.TempDir(), "apium.1")
	if err := os.WriteFile(page, []byte(mustCall(t, "man")), 0o600); err != nil {
		t.Fatal(err)
	}
	complaints, _ := exec.Command(mandoc, "-Tlint", "-Wwarning", page).CombinedOutput()
	for line := range strings.Lines(string(complaints)) {
		if !strings.Contains(line, "missing date") { // nobody knows when it was built
			t.Error(line)
		}
	}
	shown, err := exec.Command(mandoc, "-Tascii", "-Owidth=200", page).Output()
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(shown), "\b", "") // which doubles what is bold
	for _, want := range []string{
		`    apium send shop.mail '["ann", "bob"]' hello --kwargs '{"urgent": true}' --countdown 10`,
		"    source <(apium completion bash)",
		"READY    waiting, all priorities",
		"with -A, _N_U_M_B_E_R of tasks after which a child is replaced (default: never) [$CELERY_WORKER_MAX_TASKS_PER_CHILD]",
		"without a host, for this machine only [$CELERY_WORKER_METRICS_ADDR]",
		"CRITICAL or FATAL (default: WARNING) [$CELERY_WORKER_LOGLEVEL]",
		"worker_state_db",
	} {
		if !strings.Contains(text, want) && !strings.Contains(text, strings.TrimSpace(want)) {
			t.Errorf("%q is not in the page", want)
		}
	}
}
