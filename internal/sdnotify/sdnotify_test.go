package sdnotify

import (
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// listen stands in for systemd, at a path or, with @, at an abstract name.
func listen(t *testing.T, name string) *net.UnixConn {
	t.Helper()
	address := name
	if address[0] == '@' {
		address = "\x00" + address[1:]
	}
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: address, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	t.Setenv("NOTIFY_SOCKET", name)
	return c
}

func heard(t *testing.T, c *net.UnixConn) string {
	t.Helper()
	b := make([]byte, 4096)
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	n, err := c.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n])
}

func TestWhatIsSaid(t *testing.T) {
	for _, name := range []string{filepath.Join(t.TempDir(), "notify"), "@apium-test-" + strconv.Itoa(os.Getpid())} {
		c := listen(t, name)
		n, err := Open()
		if err != nil {
			t.Fatal(err)
		}
		n.Status("not\nready")
		n.Ready()
		n.Alive()
		n.Stopping()
		for _, want := range []string{"STATUS=not ready", "READY=1", "WATCHDOG=1", "STOPPING=1"} {
			if got := heard(t, c); got != want {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
		n.Reloading()
		if got := heard(t, c); !regexp.MustCompile(`^RELOADING=1\nMONOTONIC_USEC=\d+$`).MatchString(got) {
			t.Errorf("%s: %q", name, got)
		}
		n.Close()
	}
}

func TestNobodyListens(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	n, err := Open()
	if n != nil || err != nil {
		t.Errorf("%v, %v", n, err)
	}
	n.Ready() // a nil one
	n.Close()
	if n.Watchdog() != 0 {
		t.Error("somebody waits for signs of life")
	}
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "nobody"))
	if _, err := Open(); err == nil {
		t.Error("a socket that is not there: no error")
	}
	c := listen(t, filepath.Join(t.TempDir(), "notify"))
	if n, err = Open(); err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	n.Ready() // who listened has gone
}

func TestWatchdog(t *testing.T) {
	listen(t, filepath.Join(t.TempDir(), "notify"))
	for _, test := range []struct {
		µs, pid string
		want    time.Duration
	}{
		{"30000000", "", 30 * time.Second},
		{"30000000", strconv.Itoa(os.Getpid()), 30 * time.Second},
		{"30000000", "1", 0}, // of another process
		{"", "", 0},
		{"much", "", 0},
		{"-1", "", 0},
	} {
		t.Setenv("WATCHDOG_USEC", test.µs)
		t.Setenv("WATCHDOG_PID", test.pid)
		n, err := Open()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(test.want, n.Watchdog()); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", test, diff)
		}
		n.Close()
	}
}
