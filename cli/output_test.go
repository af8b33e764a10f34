package cli

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// moody is a log destination that can stall, and fail.
type moody struct {
	mu    sync.Mutex // held: it stalls
	fails bool
	got   strings.Builder
}

func (m *moody) Write(p []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fails {
		return 0, errors.New("nobody reads")
	}
	return m.got.Write(p)
}

func TestLinesAreDroppedWhileTheReaderStalls(t *testing.T) {
	t.Parallel()
	var out moody
	lines := newLineWriter(&out)
	var lost int
	lines.onLoss = func(n int) { lost += n; _, _ = lines.Write([]byte("some were dropped\n")) }
	out.mu.Lock()
	line := strings.Repeat("x", 999) + "\n"
	const n = 3000
	for range n {
		_, _ = lines.Write([]byte(line)) // does not wait
	}
	start := time.Now()
	lines.Flush() // nor does this, for long
	if took := time.Since(start); took > 10*flushPatience {
		t.Errorf("the flush took %v", took)
	}
	out.mu.Unlock()
	lines.Flush()
	got := strings.Count(out.got.String(), line)
	if lost == 0 || got+lost != n || !strings.HasSuffix(out.got.String(), "some were dropped\n") {
		t.Errorf("%d lines came, %d were dropped, of %d", got, lost, n)
	}
}

func TestLinesThatCannotBeWrittenAreCounted(t *testing.T) {
	t.Parallel()
	out := moody{fails: true}
	lines := newLineWriter(&out)
	var lost int
	lines.onLoss = func(n int) { lost += n }
	_, _ = lines.Write([]byte("one\ntwo\n"))
	lines.Flush()
	out.fails = false
	_, _ = lines.Write([]byte("three\n"))
	lines.Flush()
	if lost != 2 || out.got.String() != "three\n" {
		t.Errorf("%d dropped, written: %q", lost, out.got.String())
	}
}

// As logrotate does it: the file is moved away, or removed.
func TestLogFileIsOpenedAgain(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "worker.log")
	file, err := openLogFile(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	write := func(line string) {
		t.Helper()
		if _, err := file.Write([]byte(line + "\n")); err != nil {
			t.Fatal(err)
		}
	}
	want := func(path, content string) {
		t.Helper()
		if got, err := os.ReadFile(path); err != nil || string(got) != content {
			t.Errorf("%s: %q, %v, want %q", path, got, err, content)
		}
	}
	write("one")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	write("two")
	want(path+".1", "one\n")
	want(path, "two\n")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	write("three")
	want(path, "three\n")
}
