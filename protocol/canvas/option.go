package canvas

import (
	"encoding/json"
	"slices"
	"strconv"
	"time"

	"github.com/apium/apium/protocol/pyjson"
)

// Option is one execution option of a signature or of a call, by its name in Celery.
// An option that canvas does not know becomes a message property, as in Celery.
type Option struct {
	name  string
	value any // json.RawMessage, *node, or []any of these
	err   error
}

// Options are execution options in order. Where two have one name, the later counts.
type Options []Option //nolint:recvcheck // as with append: what changes the slice needs a pointer, what reads it does not

// Opt is any option by its name. A nil value is null, which for most options means
// the same as leaving it out.
func Opt(name string, value any) Option {
	raw, err := pyjson.Append(nil, value)
	return Option{name, json.RawMessage(raw), err}
}

// RawOpt is any option with a value in JSON.
func RawOpt(name string, value json.RawMessage) Option { return Option{name: name, value: value} }

// TaskID names the task; for a group or chord header it names the group.
func TaskID(id string) Option { return Opt("task_id", id) }

// Queue is where the task goes. It excludes Exchange.
func Queue(name string) Option { return Opt("queue", name) }

// Exchange is the exchange to publish to; it needs a RoutingKey.
func Exchange(name string) Option { return Opt("exchange", name) }

// RoutingKey is the routing key to publish with. Without an exchange that is not
// direct it means nothing.
func RoutingKey(key string) Option { return Opt("routing_key", key) }

// Priority is 0 to 9; on Redis 0 is the most urgent.
func Priority(p int) Option { return Opt("priority", p) }

// Countdown says to run the task no sooner than d after it is published.
func Countdown(d time.Duration) Option { return RawOpt("countdown", secondsOf(d)) }

// ETA says to run the task no sooner than t.
func ETA(t time.Time) Option { return Opt("eta", t) }

// Expires says not to run the task later than d after it is published.
func Expires(d time.Duration) Option { return RawOpt("expires", secondsOf(d)) }

// ExpiresAt says not to run the task later than t.
func ExpiresAt(t time.Time) Option { return Opt("expires", t) }

// Headers are custom message headers.
func Headers(headers map[string]any) Option { return Opt("headers", headers) }

// Shadow is the name for logs and events.
func Shadow(name string) Option { return Opt("shadow", name) }

// IgnoreResult says whether the result is not stored, whatever the task's setting is.
func IgnoreResult(ignore bool) Option { return Opt("ignore_result", ignore) }

// TimeLimit is the hard time limit.
func TimeLimit(d time.Duration) Option { return RawOpt("time_limit", secondsOf(d)) }

// SoftTimeLimit is the soft time limit.
func SoftTimeLimit(d time.Duration) Option {
	return RawOpt("soft_time_limit", secondsOf(d))
}

// Serializer is the name of the body's serializer, such as "json".
func Serializer(name string) Option { return Opt("serializer", name) }

// Compression is the name of the body's compression, such as "gzip".
func Compression(name string) Option { return Opt("compression", name) }

// ReplyTo is the reply_to property, which the rpc result backend reads.
func ReplyTo(queue string) Option { return Opt("reply_to", queue) }

// get returns the value of an option, nil if it is missing or null.
func (o Options) get(name string) any {
	i := o.index(name)
	if i < 0 || isNull(o[i].value) {
		return nil
	}
	return o[i].value
}

// has says whether the option is there, be it null.
func (o Options) has(name string) bool { return o.index(name) >= 0 }

func (o Options) index(name string) int {
	return slices.IndexFunc(o, func(opt Option) bool { return opt.name == name })
}

// set gives an option a value, at the place it has already. nil is null.
func (o *Options) set(name string, value any) {
	if isNull(value) {
		value = null
	}
	if i := o.index(name); i >= 0 {
		(*o)[i].value = value
		return
	}
	*o = append(*o, Option{name: name, value: value})
}

func (o *Options) setDefault(name string, value any) {
	if !o.has(name) {
		o.set(name, value)
	}
}

// pop removes an option and returns what get would.
func (o *Options) pop(name string) any {
	i := o.index(name)
	if i < 0 {
		return nil
	}
	value := o.get(name)
	*o = slices.Delete(*o, i, i+1)
	return value
}

// clone copies the options and the lists in them. The signatures in them are shared:
// nothing changes those once they are options.
func (o Options) clone() Options {
	copied := slices.Clone(o)
	for i, opt := range copied {
		if list, ok := opt.value.([]any); ok {
			copied[i].value = slices.Clone(list)
		}
	}
	return copied
}

// update overrides options with those of other.
func (o *Options) update(other Options) {
	*o = append(*o, other...).distinct()
}

// distinct leaves one option of each name: the last one's value, at the first one's place.
// It uses o's memory.
func (o Options) distinct() Options {
	const few = 16 // that are looked through in less time than it takes to make a map
	kept := o[:0]
	var places map[string]int
	if len(o) > few {
		places = make(map[string]int, len(o))
	}
	for _, opt := range o {
		place, known := places[opt.name]
		if places == nil {
			place = kept.index(opt.name)
			known = place >= 0
		}
		if isNull(opt.value) {
			opt.value = null
		}
		if known {
			kept[place].value = opt.value
			continue
		}
		if places != nil {
			places[opt.name] = len(kept)
		}
		kept = append(kept, opt)
	}
	return kept
}

// merged returns the options of both, other's where both have one.
func (o Options) merged(other Options) Options {
	all := o.clone()
	all.update(other)
	return all
}

// present returns the options that are not null.
func (o Options) present() Options {
	return slices.DeleteFunc(slices.Clone(o), func(opt Option) bool { return isNull(opt.value) })
}

// without returns the options except those named.
func (o Options) without(names ...string) Options {
	return slices.DeleteFunc(slices.Clone(o), func(opt Option) bool { return slices.Contains(names, opt.name) })
}

// text is what a string option says, "" without one, and the JSON text of anything else.
func (o Options) text(name string) string { return textOf(o.get(name)) }

func textOf(value any) string {
	raw, ok := value.(json.RawMessage)
	if !ok {
		return ""
	}
	if text, err := pyjson.Unquote(raw); err == nil {
		return text
	}
	return string(raw)
}

// number is the value of a numeric option.
func (o Options) number(name string) (float64, bool) {
	raw, ok := o.get(name).(json.RawMessage)
	if !ok || pyjson.Kind(raw) != '0' {
		return 0, false
	}
	f, err := strconv.ParseFloat(string(raw), 64)
	return f, err == nil
}

func (o Options) integer(name string) (int, bool) {
	f, ok := o.number(name)
	if !ok || f != float64(int(f)) {
		return 0, false
	}
	return int(f), true
}

// list is the value of an option that may be one signature or a list of them.
func (o Options) list(name string) []any { return listOf(o.get(name)) }

// check returns the first error in making an option.
func (o Options) check() error {
	for _, opt := range o {
		if opt.err != nil {
			return opt.err
		}
	}
	return nil
}

// encode writes the options as a JSON object.
func (o Options) encode() []byte {
	dst := []byte{'{'}
	for _, opt := range o {
		dst = appendValue(pyjson.AppendKey(dst, opt.name), opt.value)
	}
	return append(dst, '}')
}
