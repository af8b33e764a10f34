package protocol

import "time"

// Publication says how a task is wrapped for a queue. The zero value works.
type Publication struct {
	DeliveryTag string        // "": a fresh UUID4
	Expiration  time.Duration // time from now to Task.Expires, the expiration property; 0: none
}

// EncodeTask writes a protocol 2 message as Celery's producer does.
func EncodeTask(t *Task, p Publication) ([]byte, error) { return nil, nil }

// NewID makes a random UUID4 in text form, as Celery names tasks.
func NewID() string { return "" }
