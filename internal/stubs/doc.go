// Package stubs writes the beginning of a task's move from one language to the other: the Go
// registration of a Celery app's tasks, the Python signatures of Go tasks, and what differs
// between the two.
package stubs
