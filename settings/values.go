package settings

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/nearest"
)

// What Celery and kombu know by name. Serializers that an app registers itself are
// unknown to Go, and so are messages written with them.
var (
	serializers = []string{
		"json", "yaml", "msgpack", "pickle", "application/json", "application/x-yaml", "application/x-msgpack",
		"application/x-python-serialize",
	}
	compressions = []string{
		"gzip", "zlib", "bzip2", "bzip", "bz2", "lzma", "xz", "zstd", "zstandard", "brotli", "br", "application/x-gzip",
		"application/x-bz2", "application/x-lzma", "application/x-xz", "application/zstd", "application/x-brotli",
	}
	exchangeTypes = []string{"direct", "topic", "fanout"}
	queueTypes    = []string{"classic", "quorum"}
	loginMethods  = []string{"PLAIN", "AMQPLAIN", "EXTERNAL"}
)

// RetryPolicy says how often and when publishing is tried again.
type RetryPolicy = broker.RetryPolicy

// retryPolicy keeps kombu's default for what is not given, as Celery does.
type retryPolicy struct{ p *RetryPolicy }

func (r retryPolicy) decode(d *decoder, value any) {
	*r.p = RetryPolicy{MaxRetries: 3, IntervalStart: 200 * time.Millisecond, IntervalMax: time.Second}
	r.members(d, value)
}

// members changes what is given.
func (r retryPolicy) members(d *decoder, value any) {
	if o, ok := d.object(value); ok {
		d.members(o, map[string]any{
			"max_retries":    orNone{&r.p.MaxRetries},
			"interval_start": &r.p.IntervalStart,
			"interval_step":  &r.p.IntervalStep,
			"interval_max":   &r.p.IntervalMax,
			"retry_errors":   nothing{}, // Python classes
			"errback":        nothing{},
			"timeout":        nothing{},
		})
	}
}

// encode writes everything: what is zero in Go is zero, and not kombu's default.
func (r retryPolicy) encode() any {
	p := r.p
	return object{
		{"max_retries", orNone{&p.MaxRetries}.encode()},
		{"interval_start", inSeconds(p.IntervalStart)},
		{"interval_max", inSeconds(p.IntervalMax)},
		{"interval_step", inSeconds(p.IntervalStep)},
	}
}

// orNone is a whole number; Python's None is -1, and in TOML, which has no null, written so.
type orNone struct{ dst *int }

func (n orNone) decode(d *decoder, value any) {
	if value == nil || value == int64(-1) {
		*n.dst = -1
		return
	}
	positive(n).decode(d, value)
}

func (n orNone) encode() any { return int64(*n.dst) }

// positive is a whole number that is not negative.
type positive struct{ dst *int }

func (p positive) decode(d *decoder, value any) {
	var n int
	d.assign(&n, value)
	if n < 0 {
		d.bad("%d is negative", n)
		return
	}
	*p.dst = n
}

func (p positive) encode() any { return int64(*p.dst) }

// multiplier is a whole number that is not negative, 0 for None, or nil if it was not given.
type multiplier struct{ dst **int }

func (m multiplier) decode(d *decoder, value any) {
	n := new(int)
	positive{n}.decode(d, value)
	*m.dst = n
}

func (m multiplier) encode() any { return encode(m.dst) }

// priority is 0 to 9, or none.
type priority struct{ dst **int }

func (p priority) decode(d *decoder, value any) {
	if text, ok := value.(string); ok { // Celery's type of task_default_priority is a string
		if n, err := strconv.ParseInt(text, 10, 32); err == nil {
			value = n
		}
	}
	var n *int
	d.assign(&n, value)
	if n != nil && (*n < 0 || *n > 9) { // kombu's Redis transport does the same, without a word
		near := min(max(*n, 0), 9)
		d.warn("counts as %d: priorities are 0 to 9", near)
		n = &near
	}
	*p.dst = n
}

func (p priority) encode() any { return encode(p.dst) }

// maxPriority is x-max-priority of a queue, or none.
type maxPriority struct{ dst **int }

func (m maxPriority) decode(d *decoder, value any) {
	var n *int
	d.assign(&n, value)
	if n != nil && (*n < 0 || *n > 255) {
		d.bad("%d is not a number from 0 to 255, which is what RabbitMQ takes", *n)
		return
	}
	*m.dst = n
}

func (m maxPriority) encode() any { return encode(m.dst) }

// loginMethod is a mechanism of SASL.
type loginMethod struct{ dst *string }

func (l loginMethod) decode(d *decoder, value any) {
	if value == "GSSAPI" {
		d.bad("Kerberos (GSSAPI) is not spoken here; PLAIN, AMQPLAIN and EXTERNAL are")
		return
	}
	oneOf{l.dst, loginMethods}.decode(d, value)
}

func (l loginMethod) encode() any { return encodeText(*l.dst) }

// protocol is the version of task messages.
type protocol struct{ dst *int }

func (p protocol) decode(d *decoder, value any) {
	n := 0
	before := len(d.problems)
	d.assign(&n, value)
	switch {
	case len(d.problems) > before:
	case n != 1 && n != 2:
		d.bad("there are task protocols 1 and 2, not %d", n)
	default:
		*p.dst = n
	}
}

func (p protocol) encode() any { return int64(*p.dst) }

// concurrency is a number, or "auto" or None, which are 0.
type concurrency struct{ dst *int }

func (c concurrency) decode(d *decoder, value any) {
	if text, ok := value.(string); ok {
		if strings.EqualFold(text, "auto") {
			value = nil
		} else if n, err := strconv.ParseInt(text, 10, 32); err == nil {
			value = n
		}
	}
	positive(c).decode(d, value)
}

func (c concurrency) encode() any {
	if *c.dst == 0 {
		return absent{}
	}
	return int64(*c.dst)
}

// deliveryMode is 1 or 2, or kombu's name for it.
type deliveryMode struct{ dst *int }

func (m deliveryMode) decode(d *decoder, value any) {
	switch value {
	case nil, int64(2), "2", "persistent":
		*m.dst = 2
	case int64(1), "1", "transient":
		*m.dst = 1
	default:
		d.bad("must be 1 (transient) or 2 (persistent), not %s", describe(value))
	}
}

func (m deliveryMode) encode() any {
	if *m.dst == 0 {
		return absent{}
	}
	return int64(*m.dst)
}

// urls is one URL or several, which are joined with semicolons.
type urls struct{ dst *string }

func (u urls) decode(d *decoder, value any) {
	var parts []string
	d.assign(&parts, value)
	*u.dst = strings.Join(parts, ";")
}

func (u urls) encode() any { return encodeText(*u.dst) }

// zone is the name of a time zone.
type zone struct{ dst *string }

func (z zone) decode(d *decoder, value any) {
	d.assign(z.dst, value)
	if _, err := time.LoadLocation(*z.dst); err != nil {
		d.bad("unknown time zone '%s'", *z.dst)
		*z.dst = ""
	}
}

func (z zone) encode() any { return encodeText(*z.dst) }

// content is a list of serializers that messages may have. One that Go does not know
// only narrows the list; but messages meant to be signed must not be read unsigned.
type content struct{ dst *[]string }

func (c content) decode(d *decoder, value any) {
	*c.dst = nil
	each(d, value, func(v any) {
		var name string
		switch d.assign(&name, v); {
		case name == "":
		case (name == "auth" || name == "application/data") && d.inPython:
			*c.dst = append(*c.dst, "application/data") // read by Python, and by nobody else
		case name == "auth" || name == "application/data":
			d.bad("signed messages (the serializer auth) are not supported: their signature would not be checked")
		case slices.Contains(serializers, name):
			*c.dst = append(*c.dst, name)
		default:
			near := ""
			if n := nearest.Name(name, serializers); n != "" {
				near = " Did you mean '" + n + "'?"
			}
			d.warn("has no effect for '%s', which is no serializer of Celery's: messages of it are refused.%s", name, near)
		}
	})
}

func (c content) encode() any { return encodeList(*c.dst) }
