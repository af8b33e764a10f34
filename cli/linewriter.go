package cli

import (
	"io"
	"sync"
)

// maxPending bounds what waits for a slow log destination; writers then wait too.
const maxPending = 1 << 20

// lineWriter is safe for concurrent use. Lines that come while a write is under
// way go out together in the next one, so that a busy worker does not pay a
// system call for each; a line that comes alone is written at once.
type lineWriter struct {
	out io.Writer

	mu      sync.Mutex
	changed sync.Cond // pending was taken, or all is written
	writing bool      // somebody is writing, and takes pending along
	pending []byte
	spare   []byte
	err     error // of the last write
}

func newLineWriter(out io.Writer) *lineWriter {
	w := &lineWriter{out: out}
	w.changed.L = &w.mu
	return w
}

// Write takes a whole line. It returns the error of the last finished write.
func (w *lineWriter) Write(line []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.writing && len(w.pending) > maxPending {
		w.changed.Wait()
	}
	w.pending = append(w.pending, line...)
	if w.writing {
		return len(line), w.err
	}
	w.writing = true
	for len(w.pending) > 0 {
		batch := w.pending
		w.pending = w.spare[:0]
		w.changed.Broadcast()
		w.mu.Unlock()
		_, err := w.out.Write(batch)
		w.mu.Lock()
		w.spare, w.err = batch, err
	}
	w.writing = false
	w.changed.Broadcast()
	return len(line), w.err
}

// Flush waits until every line is written.
func (w *lineWriter) Flush() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.writing {
		w.changed.Wait()
	}
}
