// Package sdnotify tells systemd, or whatever else has started the process and speaks its protocol, how a service is:
// that it is ready, loads anew, ends, and lives.
package sdnotify

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// Notifier is the way to whom the process reports. A nil one reports to nobody. What cannot be said
// within a second is dropped.
type Notifier struct {
	to       *net.UnixConn
	watchdog time.Duration
}

// Open finds in the environment whom to tell; nil: nobody wants to know. The error says why somebody who does cannot be
// told.
func Open() (*Notifier, error) {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil, nil
	}
	if abstract, is := strings.CutPrefix(path, "@"); is {
		path = "\x00" + abstract
	}
	to, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return nil, fmt.Errorf("NOTIFY_SOCKET: %w", err)
	}
	return &Notifier{to: to, watchdog: watchdog()}, nil
}

// watchdog is the time between two signs of life at most; 0: nobody waits for them.
func watchdog() time.Duration {
	if pid := os.Getenv("WATCHDOG_PID"); pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return 0
	}
	µs, err := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64)
	if err != nil || µs < 0 {
		return 0
	}
	return time.Duration(µs) * time.Microsecond
}

// Watchdog is how long Alive may be silent before the process is taken for stuck and killed; 0: for ever.
func (n *Notifier) Watchdog() time.Duration {
	if n == nil {
		return 0
	}
	return n.watchdog
}

// Ready says that the service has started, or has loaded what it was told to load anew.
func (n *Notifier) Ready() { n.tell("READY=1") }

// Reloading says that the service loads something anew. Ready ends that.
func (n *Notifier) Reloading() {
	if at := monotonic(); at != 0 {
		n.tell("RELOADING=1\nMONOTONIC_USEC=" + strconv.FormatInt(at, 10))
		return
	}
	n.tell("RELOADING=1")
}

// Stopping says that the service ends.
func (n *Notifier) Stopping() { n.tell("STOPPING=1") }

// Alive is a sign of life.
func (n *Notifier) Alive() { n.tell("WATCHDOG=1") }

// Status says in a line what the service does, for those who ask.
func (n *Notifier) Status(line string) {
	n.tell("STATUS=" + strings.ReplaceAll(line, "\n", " "))
}

// Close ends the reports.
func (n *Notifier) Close() {
	if n != nil {
		_ = n.to.Close()
	}
}

func (n *Notifier) tell(state string) {
	if n == nil {
		return
	}
	_ = n.to.SetWriteDeadline(time.Now().Add(time.Second))
	_, _ = n.to.Write([]byte(state)) // whoever has gone is told nothing
}
