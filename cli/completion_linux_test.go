package cli

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apium/apium/internal/terminaltest"
)

// inShell starts an interactive shell, in a folder with a file called notes and this test as the
// program shop-worker, and has it read the script that the program prints for it.
func inShell(t *testing.T, load string, command ...string) *terminaltest.Terminal {
	t.Helper()
	path, err := exec.LookPath(command[0])
	if err != nil {
		t.Skip(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := errors.Join(os.Symlink(exe, filepath.Join(dir, "shop-worker")), os.WriteFile(filepath.Join(dir, "notes"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, command[1:]...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), childEnv+"=1", "PATH="+dir+":"+os.Getenv("PATH"), "TERM=xterm", "HOME="+dir, "PS1=ready> ", "LC_ALL=C.UTF-8")
	shell := terminaltest.Start(t, cmd, 200, 50)
	shell.WaitFor("ready>")
	shell.Type(load + "; echo loa''ded\n")
	shell.WaitFor("loaded")
	return shell
}

// completed is what a line becomes when the tab key is pressed behind it.
var completed = []struct{ line, becomes string }{
	{"shop-worker insp", "shop-worker inspect"},
	{"shop-worker inspect active_q", "shop-worker inspect active_queues"},
	{"shop-worker worker --concur", "shop-worker worker --concurrency"},
	{"shop-worker worker -P pref", "shop-worker worker -P prefork"},
	{"shop-worker worker --pool=pref", "shop-worker worker --pool=prefork"},
	{"shop-worker -b redis://h/0 worker -l CRI", "shop-worker -b redis://h/0 worker -l CRITICAL"},
	{"shop-worker control rate_l", "shop-worker control rate_limit"},
	{"shop-worker list bind", "shop-worker list bindings"},
	{"shop-worker send proj.ec", "shop-worker send proj.echo"},
	{"shop-worker worker --config not", "shop-worker worker --config notes"},
}

func completeEach(t *testing.T, shell *terminaltest.Terminal) {
	t.Helper()
	for _, c := range completed {
		shell.Type(c.line + "\t")
		shell.WaitUntil(c.becomes, func(s *terminaltest.Screen) bool {
			return strings.Contains(s.String()+" ", c.becomes+" ") || strings.Contains(s.String(), c.becomes+"\n")
		})
		shell.Type("\x15\f") // the line away, then all that is shown
		shell.WaitUntil("an empty line", func(s *terminaltest.Screen) bool {
			return strings.TrimSpace(strings.ReplaceAll(s.String(), "ready>", "")) == ""
		})
	}
}

func TestCompletionInBash(t *testing.T) {
	t.Parallel()
	completeEach(t, inShell(t, "source <(shop-worker completion bash)", "bash", "--norc", "--noprofile", "-i"))
}

func TestCompletionInZsh(t *testing.T) {
	t.Parallel()
	completeEach(t, inShell(t, "autoload -U compinit; compinit -u -D; source <(shop-worker completion zsh)", "zsh", "-f", "-i"))
}

func TestCompletionInFish(t *testing.T) {
	t.Parallel()
	completeEach(t, inShell(t, "shop-worker completion fish | source", "fish", "--no-config", "--init-command", "function fish_prompt; echo -n 'ready> '; end", "-i"))
}
