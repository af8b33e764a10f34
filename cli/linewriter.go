package cli

import (
	"bytes"
	"io"
	"sync"
	"time"
)

const (
	// maxPending bounds what waits for a slow log destination: beyond it, lines are dropped.
	maxPending = 1 << 20
	// maxWrite is how much is written at a time, so that a slow reader is seen to go on.
	maxWrite = 64 << 10
)

// A flush ends after flushTime, or when nothing was written for flushPatience.
const (
	flushTime     = 2 * time.Second
	flushPatience = 500 * time.Millisecond
)

// lineWriter writes lines to a log destination in the background: a reader that stalls, or is
// gone, holds nobody up. Lines that come while a write is under way go out together in
// the next one. It is safe for concurrent use.
type lineWriter struct {
	out io.Writer
	// onLoss is told how many lines were dropped, once others can be written again. Nil: nobody.
	onLoss func(lines int)

	mu      sync.Mutex
	writing chan struct{} // closed when all is written; nil: nothing is to be written
	pending []byte
	spare   []byte
	lost    int // lines dropped since onLoss was told
	writes  int // finished ones
}

func newLineWriter(out io.Writer) *lineWriter { return &lineWriter{out: out} }

// Write takes whole lines. It never fails and never waits.
func (w *lineWriter) Write(lines []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.pending) > maxPending {
		w.lost += countLines(lines)
		return len(lines), nil
	}
	w.pending = append(w.pending, lines...)
	if w.writing == nil {
		w.writing = make(chan struct{})
		go w.writePending()
	}
	return len(lines), nil
}

// writePending writes until nothing is pending.
func (w *lineWriter) writePending() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.pending) > 0 {
		batch := w.pending
		w.pending = w.spare[:0]
		for rest := batch; len(rest) > 0; {
			part := firstLines(rest)
			rest = rest[len(part):]
			w.writePart(part)
		}
		w.spare = batch
	}
	close(w.writing)
	w.writing = nil
}

// writePart writes some of the lines. w.mu is held on entry and on return.
func (w *lineWriter) writePart(lines []byte) {
	w.mu.Unlock()
	n, err := w.out.Write(lines)
	w.mu.Lock()
	w.writes++
	switch {
	case err != nil:
		w.lost += countLines(lines[min(n, len(lines)):])
	case w.lost > 0 && w.onLoss != nil && len(w.pending) < maxPending/2: // there is room to say so
		lost := w.lost
		w.lost = 0
		w.mu.Unlock()
		w.onLoss(lost)
		w.mu.Lock()
	}
}

// Flush waits until every line is written, or the reader has stalled.
func (w *lineWriter) Flush() {
	enough := time.After(flushTime)
	for {
		w.mu.Lock()
		writing, before := w.writing, w.writes
		w.mu.Unlock()
		if writing == nil {
			return
		}
		select {
		case <-writing:
		case <-enough:
			return
		case <-time.After(flushPatience):
			w.mu.Lock()
			stalled := w.writes == before
			w.mu.Unlock()
			if stalled {
				return
			}
		}
	}
}

func countLines(text []byte) int { return max(bytes.Count(text, []byte{'\n'}), 1) }

// firstLines is the beginning of a text: as many whole lines as are written at a time.
func firstLines(text []byte) []byte {
	if len(text) <= maxWrite {
		return text
	}
	if end := bytes.LastIndexByte(text[:maxWrite], '\n'); end >= 0 {
		return text[:end+1]
	}
	return text[:maxWrite]
}
