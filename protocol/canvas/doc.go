// Package canvas builds Celery's signatures, chains, groups and chords, reads them as
// Python does, and works out what publishing them means.
//
// Apply turns a signature into a Plan: the messages and the writes to the result
// backend, in the order in which Celery's apply_async makes them. The package itself
// does no I/O, starts no goroutine and reads no clock. Task arguments pass through as
// raw JSON, byte for byte.
//
// The order of steps, the ids given early ("freezing") and the many special cases are
// those of celery/canvas.py in Celery 5.7; testdata/ holds what that version published.
package canvas
