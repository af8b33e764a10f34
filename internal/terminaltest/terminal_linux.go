package terminaltest

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long something may take to be shown.
const patience = time.Minute

// Terminal is a terminal with a program on it.
type Terminal struct {
	t      testing.TB
	master *os.File
	closed chan struct{} // nothing more is shown

	mu     sync.Mutex
	screen *Screen
}

// Start starts cmd in a session of its own on a terminal of that size. At the end of the test it is killed.
func Start(t testing.TB, cmd *exec.Cmd, width, height int) *Terminal {
	t.Helper()
	master, slave, err := open()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = slave.Close() }()
	term := &Terminal{t: t, master: master, screen: NewScreen(width, height), closed: make(chan struct{})}
	term.setSize(width, height)
	cmd.Stdin, cmd.Stdout = slave, slave
	if cmd.Stderr == nil {
		cmd.Stderr = slave
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
		<-term.closed
		_ = master.Close()
		if t.Failed() {
			t.Logf("the screen of %s:\n%s", strings.Join(cmd.Args, " "), term.Show(func(s *Screen) string { return s.String() }))
		}
	})
	go term.show()
	return term
}

func open() (master, slave *os.File, err error) {
	if master, err = os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		return nil, nil, err
	}
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		_ = master.Close()
	}
	return master, slave, err
}

func (term *Terminal) show() {
	defer close(term.closed)
	buffer := make([]byte, 64<<10)
	for {
		n, err := term.master.Read(buffer)
		term.mu.Lock()
		_, _ = term.screen.Write(buffer[:n])
		term.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// Type types keys.
func (term *Terminal) Type(keys string) {
	term.t.Helper()
	if _, err := term.master.WriteString(keys); err != nil {
		term.t.Fatal(err)
	}
}

// Resize gives the terminal another size, and tells the program.
func (term *Terminal) Resize(width, height int) {
	term.t.Helper()
	term.mu.Lock()
	term.screen.Resize(width, height)
	term.mu.Unlock()
	term.setSize(width, height)
}

func (term *Terminal) setSize(width, height int) {
	term.t.Helper()
	size := &unix.Winsize{Row: uint16(height), Col: uint16(width)} //nolint:gosec // of tests
	if err := unix.IoctlSetWinsize(int(term.master.Fd()), unix.TIOCSWINSZ, size); err != nil {
		term.t.Fatal(err)
	}
}

// Show returns what look makes of the screen.
func (term *Terminal) Show(look func(*Screen) string) string {
	term.mu.Lock()
	defer term.mu.Unlock()
	return look(term.screen)
}

// WaitUntil waits until the screen is as it should be.
func (term *Terminal) WaitUntil(what string, met func(*Screen) bool) {
	term.t.Helper()
	for deadline := time.Now().Add(patience); ; <-time.After(5 * time.Millisecond) {
		term.mu.Lock()
		done := met(term.screen)
		term.mu.Unlock()
		switch {
		case done:
			return
		case time.Now().After(deadline):
			term.t.Fatalf("the terminal does not show %s", what)
		}
	}
}

// WaitFor waits until the screen shows all texts.
func (term *Terminal) WaitFor(texts ...string) {
	term.t.Helper()
	for _, text := range texts {
		term.WaitUntil(fmt.Sprintf("%q", text), func(s *Screen) bool { return strings.Contains(s.String(), text) })
	}
}

// Ask types keys to which others answer, waits for the title of what is shown then, and types back and the keys again until
// all wanted answers are there: a busy machine may be late with some.
func (term *Terminal) Ask(keys, title, back string, wants ...string) {
	term.t.Helper()
	for deadline := time.Now().Add(patience); ; {
		term.Type(keys)
		term.WaitFor(title)
		shown := term.Show(func(s *Screen) string { return s.String() })
		if !slices.ContainsFunc(wants, func(want string) bool { return !strings.Contains(shown, want) }) {
			return
		}
		if time.Now().After(deadline) {
			term.t.Fatalf("not all of %q were shown", wants)
		}
		term.Type(back)
		term.WaitUntil("the picture before", func(s *Screen) bool { return !strings.Contains(s.String(), title) })
	}
}

// Raw says whether lines are not edited and keys not echoed: it is what a program must undo at its end.
func (term *Terminal) Raw() bool {
	term.t.Helper()
	state, err := unix.IoctlGetTermios(int(term.master.Fd()), unix.TCGETS)
	if err != nil {
		term.t.Fatal(err)
	}
	return state.Lflag&(unix.ICANON|unix.ECHO|unix.ISIG) != unix.ICANON|unix.ECHO|unix.ISIG
}
