package settings

import (
	"maps"
	"slices"
	"time"
)

// Annotation is what task_annotations says about one task. A field that is nil was
// not given: the task keeps its own option.
type Annotation struct {
	AcksLate                 *bool
	AcksOnFailureOrTimeout   *bool
	AcksOnFailure            *bool
	AcksOnTimeout            *bool
	RejectOnWorkerLost       *bool
	RetryOnWorkerLost        *bool
	IgnoreResult             *bool
	StoreErrorsEvenIfIgnored *bool
	TrackStarted             *bool
	Trail                    *bool
	SendEvents               *bool

	RateLimit     *string        // "10/s", "100/m", "5/h", tasks a second; "": none
	TimeLimit     *time.Duration // 0: none
	SoftTimeLimit *time.Duration // 0: none

	MaxRetries        *int // -1: no limit, Python's None
	DefaultRetryDelay *time.Duration
	AutoretryFor      []string // names of Python's exceptions
	DontAutoretryFor  []string
	RetryBackoff      *int // seconds before the first retry, doubled each time; 0: no backoff
	RetryBackoffMax   *time.Duration
	RetryJitter       *bool

	// For sending the task.
	Queue        *string
	Exchange     *string
	RoutingKey   *string
	Priority     *int
	Serializer   *string
	Compression  *string
	DeliveryMode *int
	Expires      *time.Duration
}

func (a *Annotation) fields() map[string]any {
	return map[string]any{
		"acks_late":                    &a.AcksLate,
		"acks_on_failure_or_timeout":   &a.AcksOnFailureOrTimeout,
		"acks_on_failure":              &a.AcksOnFailure,
		"acks_on_timeout":              &a.AcksOnTimeout,
		"reject_on_worker_lost":        &a.RejectOnWorkerLost,
		"retry_on_worker_lost":         &a.RetryOnWorkerLost,
		"ignore_result":                &a.IgnoreResult,
		"store_errors_even_if_ignored": &a.StoreErrorsEvenIfIgnored,
		"track_started":                &a.TrackStarted,
		"trail":                        &a.Trail,
		"send_events":                  &a.SendEvents,
		"rate_limit":                   lifted[string]{&a.RateLimit, func(dst **string) any { return rate{dst} }},
		"time_limit":                   lifted[time.Duration]{&a.TimeLimit, nil},
		"soft_time_limit":              lifted[time.Duration]{&a.SoftTimeLimit, nil},
		"max_retries":                  retries{&a.MaxRetries},
		"default_retry_delay":          &a.DefaultRetryDelay,
		"autoretry_for":                &a.AutoretryFor,
		"dont_autoretry_for":           &a.DontAutoretryFor,
		"retry_backoff":                backoff{&a.RetryBackoff},
		"retry_backoff_max":            &a.RetryBackoffMax,
		"retry_jitter":                 &a.RetryJitter,
		"retry_kwargs":                 retryKwargs{a},
		"queue":                        &a.Queue,
		"exchange":                     &a.Exchange,
		"routing_key":                  &a.RoutingKey,
		"priority":                     priority{&a.Priority},
		"serializer":                   optionalOf{&a.Serializer, serializers},
		"compression":                  optionalOf{&a.Compression, compressions},
		"delivery_mode":                mode{&a.DeliveryMode},
		"expires":                      &a.Expires,
		"mandatory":                    nothing{}, // RabbitMQ's
		"immediate":                    nothing{},
		"typing":                       nothing{}, // arguments are always checked
		"store_eager_result":           nothing{}, // nothing is run in the client
		"pydantic":                     nothing{}, // of Python's arguments
	}
}

// Annotations is task_annotations: mappings of task names, or "*", to options.
type Annotations []map[string]object

// For returns what is said about a task: the options under its name in the first
// mapping that has it, then those of the first "*". As in Celery (Task.annotate), the
// latter win where both give the same option.
func (a *Annotations) For(task string) Annotation {
	var merged Annotation
	for _, name := range []string{task, "*"} {
		for _, table := range *a {
			if options, ok := table[name]; ok {
				(&decoder{}).members(options, merged.fields())
				break
			}
		}
	}
	return merged
}

// Tasks returns the names that are annotated, "*" not among them, in order.
func (a *Annotations) Tasks() []string {
	names := map[string]bool{}
	for _, table := range *a {
		for name := range table {
			names[name] = true
		}
	}
	delete(names, "*")
	return slices.Sorted(maps.Keys(names))
}

func (a *Annotations) decode(d *decoder, value any) {
	*a = nil
	each(d, value, func(v any) {
		o, ok := d.object(v)
		if !ok {
			return
		}
		table := make(map[string]object, len(o))
		for _, m := range o {
			d.in(m.key, func() {
				if options, ok := d.object(m.value); ok {
					table[m.key] = options
					checkAnnotation(d, options)
				}
			})
		}
		*a = append(*a, table)
	})
}

// checkAnnotation reports what For will not be able to read. Python sets any attribute of
// a task in this way.
func checkAnnotation(d *decoder, options object) {
	var a Annotation
	d.members(options, a.fields())
}

// lifted keeps apart an option that was given as None, which is its zero value, from
// one that was not given.
type lifted[T any] struct {
	dst **T
	as  func(dst **T) any // nil: as it is
}

func (l lifted[T]) decode(d *decoder, value any) {
	if value == nil {
		*l.dst = new(T)
		return
	}
	var field any = l.dst
	if l.as != nil {
		field = l.as(l.dst)
	}
	d.assign(field, value)
}

// retries is a number of retries, -1 for Python's None.
type retries struct{ dst **int }

func (r retries) decode(d *decoder, value any) {
	n := new(int)
	orNone{n}.decode(d, value)
	*r.dst = n
}

// retryKwargs are the arguments of the retry that autoretry_for brings about.
type retryKwargs struct{ a *Annotation }

func (r retryKwargs) decode(d *decoder, value any) {
	if o, ok := d.object(value); ok {
		d.members(o, map[string]any{"max_retries": retries{&r.a.MaxRetries}, "countdown": &r.a.DefaultRetryDelay})
	}
}

// backoff is a number of seconds, or true for one.
type backoff struct{ dst **int }

func (b backoff) decode(d *decoder, value any) {
	n := new(int)
	switch v := value.(type) {
	case bool:
		if v {
			*n = 1
		}
	case float64: // Celery cuts it to a whole number
		positive{n}.decode(d, int64(v))
	default:
		positive{n}.decode(d, value)
	}
	*b.dst = n
}

// optionalOf is oneOf, or nil.
type optionalOf struct {
	dst   **string
	known []string
}

func (o optionalOf) decode(d *decoder, value any) {
	if *o.dst = nil; value != nil {
		text := new(string)
		oneOf{text, o.known}.decode(d, value)
		*o.dst = text
	}
}

// mode is deliveryMode, or nil.
type mode struct{ dst **int }

func (m mode) decode(d *decoder, value any) {
	if *m.dst = nil; value != nil {
		n := new(int)
		deliveryMode{n}.decode(d, value)
		*m.dst = n
	}
}
