package compat_test

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/apium/apium/internal/terminaltest"
)

// What is done with keys in apium events is done by Celery's worker as by ours, as Celery's own command line tells.
func TestEventsOnATerminal(t *testing.T) {
	t.Parallel()
	c := startControlled(t, "-E")
	terminal := terminaltest.Start(t, exec.Command(apiumBinary, "events", "-b", c.server.url(0)), 160, 40)
	terminal.WaitFor("q:quit")
	for deadline := time.Now().Add(time.Minute); ; { // until it hears events
		_ = exec.Command(apiumBinary, "control", "heartbeat", "-b", c.server.url(0)).Run()
		shown := terminal.Show(func(s *terminaltest.Screen) string { return s.String() })
		if strings.Contains(shown, pyNode) && strings.Contains(shown, goNode) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("no worker is shown")
		}
	}
	for _, queue := range []string{pyQueue, goQueue} {
		out, err := exec.Command(apiumBinary, "send", "tapp.add", "1", "2", "--countdown", "500", "-Q", queue, "-b", c.server.url(0)).Output()
		if err != nil {
			t.Fatal(err)
		}
		id := strings.TrimSpace(string(out))
		terminal.WaitFor(id)
		terminal.Type("g") // the latest
		terminal.WaitUntil("it chosen", func(s *terminaltest.Screen) bool { return strings.Contains(s.Reversed(), id) })
		flagged := ": OK tasks {'" + id + "'} flagged as revoked"
		terminal.Ask("c", "Answers to revoke", "q", pyNode+flagged, goNode+flagged)
		if said, _ := c.say(t, "inspect", "revoked", "-d", pyNode+","+goNode, "-t", "120"); strings.Count(said, id) != 2 {
			t.Errorf("who has revoked %s:\n%s", id, said)
		}
		terminal.Type("q")
	}
	terminal.Ask("l7/m\r", "Answers to rate_limit", "q", pyNode+": OK new rate limit", goNode+": OK new rate limit")
	if said, _ := c.say(t, "inspect", "registered", "rate_limit", "-d", pyNode+","+goNode, "-t", "120"); strings.Count(said, "tapp.add [rate_limit=7/m]") != 2 {
		t.Errorf("the rate limits:\n%s", said)
	}
	terminal.Type("qq")
	terminal.WaitUntil("the screen of before", func(s *terminaltest.Screen) bool { return !s.Alternate() })
}
