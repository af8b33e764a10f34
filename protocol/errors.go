package protocol

import (
	"errors"
	"fmt"
)

// ErrUnknownMessage says that a message is well formed but holds no task: neither
// a task header nor a protocol 1 body. A Python worker rejects it with a warning.
var ErrUnknownMessage = errors.New("unknown message: no task in its headers or body")

// DecodeError says that an envelope, a body or a record cannot be read. A worker
// logs it and acknowledges the message. Some of these messages end a Python worker.
type DecodeError struct {
	Field string // what is wrong, as a path: "properties.delivery_tag", "body", "headers.id"
	Err   error
}

func (e *DecodeError) Error() string { return fmt.Sprintf("cannot decode %s: %v", e.Field, e.Err) }

// Unwrap returns the cause.
func (e *DecodeError) Unwrap() error { return e.Err }

// UnreadableError says that a body is in a serializer that is not known here, or holds what cannot
// be read here, such as objects of classes in pickle. Somebody else may be able to: see
// [Decoder.DecodeTold].
type UnreadableError struct{ Err error }

func (e *UnreadableError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *UnreadableError) Unwrap() error { return e.Err }

// ContentDisallowedError says that the message's content type is not in the accept
// list. A worker logs it and rejects the message. Its text is kombu's.
type ContentDisallowedError struct {
	Task, ID    string // "" where the message does not say
	ContentType string
}

func (e *ContentDisallowedError) Error() string {
	name := e.ContentType
	for serializer, contentType := range contentTypes {
		if contentType == e.ContentType {
			name = serializer
		}
	}
	return fmt.Sprintf("Refusing to deserialize untrusted content of type %s (%s)", name, e.ContentType)
}

// InvalidTaskError says that a task's headers hold a value no worker can act on,
// such as an ETA that is no date. A worker logs it and rejects the message.
type InvalidTaskError struct {
	Task, ID string
	Class    string // the builtin exception a Python worker raises, or "" for InvalidTaskError
	Reason   string // in Celery's words: "invalid ETA value 'soon': …"
}

func (e *InvalidTaskError) Error() string { return e.Reason }

var (
	errHeaders = &DecodeError{"headers", errors.New("not a JSON object")}
	errMissing = errors.New("missing")
	errNoArgs  = errors.New("an object without args")
	errSigned  = errors.New("there are no keys to check signatures with, so signed messages are refused")
)
