// Package protocol reads and writes the wire formats a Celery worker shares with
// Python: kombu's message envelope, task messages of protocol 1 and 2, signatures,
// result records and exceptions.
//
// It does no I/O, starts no goroutine and reads no clock. Whatever a message only
// passes through (arguments, signatures, headers) stays raw JSON text, so that a
// value which Go does not know survives a round trip byte for byte.
package protocol
