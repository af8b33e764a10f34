// Package protocol reads and writes the formats a Celery worker shares with Python: task
// messages of protocol 1 and 2, remote control, events, signatures, result records and
// exceptions. How a broker wraps a message is not its business.
//
// It does no I/O, starts no goroutine and reads no clock. Whatever a message only
// passes through (arguments, signatures, headers) stays raw JSON text, so that a
// value which Go does not know survives a round trip byte for byte.
package protocol
