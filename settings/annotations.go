package settings

import (
	"maps"
	"reflect"
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

// Annotations is task_annotations: options by the name of a task, or "*" for all. Of Celery's
// lists of several mappings, what the first says about a name counts.
type Annotations map[string]Annotation

// For returns what is said about a task: the options under its name, then those of "*". As in
// Celery (Task.annotate), the latter win where both give the same option.
func (a Annotations) For(task string) Annotation {
	merged, all := a[task], a["*"]
	to, from := reflect.ValueOf(&merged).Elem(), reflect.ValueOf(&all).Elem()
	for i := range from.NumField() {
		if !from.Field(i).IsNil() {
			to.Field(i).Set(from.Field(i))
		}
	}
	return merged
}

// Tasks returns the names that are annotated, "*" not among them, in order.
func (a Annotations) Tasks() []string {
	names := slices.Sorted(maps.Keys(a))
	return slices.DeleteFunc(names, func(name string) bool { return name == "*" })
}

// annotations is task_annotations as a file has it. What is no option is reported: Python sets
// any attribute of a task in this way.
type annotations struct{ dst *Annotations }

func (a annotations) decode(d *decoder, value any) {
	*a.dst = nil
	each(d, value, func(v any) {
		o, ok := d.object(v)
		if !ok {
			return
		}
		if *a.dst == nil {
			*a.dst = Annotations{}
		}
		for _, m := range o {
			d.in(m.key, func() {
				var annotation Annotation
				options, ok := d.object(m.value)
				if !ok {
					return
				}
				d.members(options, annotation.fields())
				if _, before := (*a.dst)[m.key]; !before {
					(*a.dst)[m.key] = annotation
				}
			})
		}
	})
}

func (a annotations) encode() any {
	if *a.dst == nil {
		return absent{}
	}
	o := object{}
	for _, name := range slices.Sorted(maps.Keys(*a.dst)) {
		annotation := (*a.dst)[name]
		o = append(o, member{name, encodeMembers(annotation.fields())})
	}
	return o
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

func (l lifted[T]) encode() any {
	switch {
	case *l.dst == nil:
		return absent{}
	case reflect.ValueOf(*l.dst).Elem().IsZero():
		return nil
	}
	return encode(any(*l.dst))
}

// retries is a number of retries, -1 for Python's None.
type retries struct{ dst **int }

func (r retries) decode(d *decoder, value any) {
	n := new(int)
	orNone{n}.decode(d, value)
	*r.dst = n
}

func (r retries) encode() any { return encode(r.dst) }

// retryKwargs are the arguments of the retry that autoretry_for brings about.
type retryKwargs struct{ a *Annotation }

func (r retryKwargs) decode(d *decoder, value any) {
	if o, ok := d.object(value); ok {
		d.members(o, map[string]any{"max_retries": retries{&r.a.MaxRetries}, "countdown": &r.a.DefaultRetryDelay})
	}
}

func (retryKwargs) encode() any { return absent{} }

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

func (b backoff) encode() any { return encode(b.dst) }

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

func (o optionalOf) encode() any { return encode(o.dst) }

// mode is deliveryMode, or nil.
type mode struct{ dst **int }

func (m mode) decode(d *decoder, value any) {
	if *m.dst = nil; value != nil {
		n := new(int)
		deliveryMode{n}.decode(d, value)
		*m.dst = n
	}
}

func (m mode) encode() any { return encode(m.dst) }
