package settings

import (
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/apium/apium/internal/nearest"
)

// decoder assigns the values of a document to fields and collects what is wrong.
type decoder struct {
	origin   Origin   // of the setting being read
	path     []string // inside its value
	problems []Problem
	warnings []string
	inPython bool // there is an app in Python, which has what Go does not know
}

// decodable is a field that is more than one scalar, or has rules of its own.
type decodable interface {
	decode(d *decoder, value any)
	encode() any // the value of a document that decodes into it
}

func (d *decoder) bad(format string, args ...any) { d.misspelt("", format, args...) }

// misspelt is a problem with a name that was probably meant.
func (d *decoder) misspelt(meant, format string, args ...any) {
	message := fmt.Sprintf(format, args...)
	if len(d.path) > 0 {
		message = strings.Join(d.path, ": ") + ": " + message
	}
	d.problems = append(d.problems, Problem{Origin: d.origin, Message: message, Nearest: meant})
}

func (d *decoder) warn(format string, args ...any) {
	where := d.origin.String()
	if len(d.path) > 0 {
		where += ": " + strings.Join(d.path, ": ")
	}
	d.warnings = append(d.warnings, where+" "+fmt.Sprintf(format, args...))
}

// in runs f for a member of the value being read.
func (d *decoder) in(step string, f func()) {
	d.path = append(d.path, step)
	f()
	d.path = d.path[:len(d.path)-1]
}

// assign decodes value into what dst points to. Python's None, which is nil here,
// is the zero value.
func (d *decoder) assign(dst, value any) {
	switch dst := dst.(type) {
	case decodable:
		dst.decode(d, value)
	case *bool:
		scalar(d, dst, value, asBool)
	case *int:
		scalar(d, dst, value, asInt)
	case *string:
		scalar(d, dst, value, asText)
	case *time.Duration:
		scalar(d, dst, value, asSeconds)
	case **bool:
		optional(d, dst, value, asBool)
	case **int:
		optional(d, dst, value, asInt)
	case **string:
		optional(d, dst, value, asText)
	case **time.Duration:
		optional(d, dst, value, asSeconds)
	case *[]string:
		*dst = nil
		each(d, value, func(v any) {
			var text string
			d.assign(&text, v)
			*dst = append(*dst, text)
		})
	case *[]int:
		*dst = nil
		each(d, value, func(v any) {
			var n int
			d.assign(&n, v)
			*dst = append(*dst, n)
		})
	default:
		panic(fmt.Sprintf("settings: no decoding into %T", dst))
	}
}

func scalar[T any](d *decoder, dst *T, value any, as func(any) (T, error)) {
	var zero T
	if value == nil {
		*dst = zero
		return
	}
	v, err := as(value)
	if err != nil {
		d.bad("%v", err)
		return
	}
	*dst = v
}

func optional[T any](d *decoder, dst **T, value any, as func(any) (T, error)) {
	if value == nil {
		*dst = nil
		return
	}
	v, err := as(value)
	if err != nil {
		d.bad("%v", err)
		return
	}
	*dst = &v
}

// each calls f for the elements of a list; anything else is a list of one, as for Celery.
func each(d *decoder, value any, f func(any)) {
	switch v := value.(type) {
	case nil:
	case []any:
		for i, element := range v {
			d.in(strconv.Itoa(i+1), func() { f(element) })
		}
	default:
		f(v)
	}
}

func (d *decoder) object(value any) (object, bool) {
	switch v := value.(type) {
	case nil:
		return object{}, true
	case object:
		return v, true
	}
	if _, ok := value.(string); ok { // it may be a mapping in another notation, with a password
		d.bad("must be a mapping, not a text")
		return nil, false
	}
	d.bad("must be a mapping, not %s", describe(value))
	return nil, false
}

// members decodes an object into fields by name. What is none of them has no effect, as
// in Celery, whose transports and classes take what they know.
func (d *decoder) members(o object, fields map[string]any) {
	var unknown []string
	for _, m := range o {
		if dst, ok := fields[m.key]; ok {
			d.in(m.key, func() { d.assign(dst, m.value) })
			continue
		}
		unknown = append(unknown, m.key)
	}
	d.warnUnknown("option", unknown, func(name string) string {
		return meant(nearest.Name(name, slices.Sorted(maps.Keys(fields))))
	})
}

// warnUnknown is one warning for all names that mean nothing here. hint says more about one,
// or nothing.
func (d *decoder) warnUnknown(what string, names []string, hint func(name string) string) {
	if len(names) == 0 {
		return
	}
	shown := make([]string, len(names))
	for i, name := range names {
		shown[i] = "'" + name + "'"
		if more := hint(name); more != "" {
			shown[i] += " (" + more + ")"
		}
	}
	text := "has no effect: there is no such " + what
	if len(names) > 1 {
		text = "have no effect: there are no such " + what + "s"
	}
	where := append([]string{d.origin.String()}, d.path...)
	d.warnings = append(d.warnings, strings.Join(where, ": ")+": "+strings.Join(shown, ", ")+" "+text)
}

// meant asks for the name that was probably meant, if there is one.
func meant(name string) string {
	if name == "" {
		return ""
	}
	return "did you mean '" + name + "'?"
}

// nothing accepts a member that has no meaning here.
type nothing struct{}

func (nothing) decode(*decoder, any) {}

func (nothing) encode() any { return absent{} }

// synonym is a further name of a text.
type synonym struct{ dst *string }

func (s synonym) decode(d *decoder, value any) { d.assign(s.dst, value) }

func (synonym) encode() any { return absent{} }

func asBool(value any) (bool, error) {
	switch v := value.(type) {
	case bool:
		return v, nil
	case int64:
		if v == 0 || v == 1 {
			return v == 1, nil
		}
	case string:
		return false, fmt.Errorf("must be true or false, not %s, which Python takes for true whatever it says", strings.Replace(describe(v), "'", "the text '", 1))
	}
	return false, fmt.Errorf("must be true or false, not %s", describe(value))
}

func asInt(value any) (int, error) {
	switch v := value.(type) {
	case int64:
		if v >= math.MinInt32 && v <= math.MaxInt32 {
			return int(v), nil
		}
		return 0, fmt.Errorf("%d is out of range", v)
	case float64:
		if v == math.Trunc(v) && math.Abs(v) <= math.MaxInt32 {
			return int(v), nil
		}
	}
	return 0, fmt.Errorf("must be a whole number, not %s", describe(value))
}

func asText(value any) (string, error) {
	if v, ok := value.(string); ok {
		return v, nil
	}
	return "", fmt.Errorf("must be a text, not %s", describe(value))
}

// maxSeconds is a hundred years: more does not fit a Duration three times over.
const maxSeconds = 100 * 365 * 24 * 3600

// asSeconds takes a number of seconds, or a text such as 1h30m.
func asSeconds(value any) (time.Duration, error) {
	var seconds float64
	switch v := value.(type) {
	case int64:
		seconds = float64(v)
	case float64:
		seconds = v
	case string:
		d, err := time.ParseDuration(v)
		if err != nil {
			return 0, fmt.Errorf("must be a number of seconds, or a duration like 1h30m, not '%s'", v)
		}
		seconds = d.Seconds()
	default:
		return 0, fmt.Errorf("must be a number of seconds, not %s", describe(value))
	}
	if !(seconds >= 0 && seconds <= maxSeconds) {
		return 0, fmt.Errorf("must be a number of seconds from 0 to %d, not %v", int64(maxSeconds), value)
	}
	return time.Duration(math.Round(seconds * float64(time.Second))), nil
}

// oneOf is a text out of a list of known ones.
type oneOf struct {
	dst   *string
	known []string
}

func (o oneOf) decode(d *decoder, value any) {
	var text string
	before := len(d.problems)
	d.assign(&text, value)
	if len(d.problems) > before {
		return
	}
	if text != "" && !slices.Contains(o.known, text) {
		if d.inPython && slices.Equal(o.known, serializers) {
			d.warn("'%s' is known to Python only: what the worker itself writes is JSON", text)
			return
		}
		d.misspelt(nearest.Name(text, o.known), "'%s' is not one of %s", text, strings.Join(o.known, ", "))
		return
	}
	*o.dst = text
}

// signable is a serializer that may be auth in a Python app, whose keys the worker has then.
type signable struct{ oneOf }

func (s signable) decode(d *decoder, value any) {
	if !d.inPython || value != "auth" {
		s.oneOf.decode(d, value)
	}
}

func (o oneOf) encode() any { return encodeText(*o.dst) }

var rates = regexp.MustCompile(`^[0-9]+(\.[0-9]*)?(e[+-]?[0-9]+)?(/[smh])?$`)

// rate is a rate limit: "10/s", "100/m", "5/h", a number of tasks a second, or none.
type rate struct{ dst **string }

func (r rate) decode(d *decoder, value any) {
	var text string
	switch v := value.(type) {
	case nil:
		*r.dst = nil
		return
	case int64:
		text = strconv.FormatInt(v, 10)
	case float64:
		text = strconv.FormatFloat(v, 'f', -1, 64)
	case string:
		text = v
	}
	if !rates.MatchString(text) {
		d.bad("must be a rate like 10/s, 100/m or 5/h, not %s", describe(value))
		return
	}
	*r.dst = &text
}

func (r rate) encode() any { return encode(r.dst) }

// describe names a value in a message, without repeating what may be long or secret.
func describe(value any) string {
	switch v := value.(type) {
	case nil:
		return "none"
	case bool:
		return strconv.FormatBool(v)
	case string:
		if len(v) <= 40 && !strings.Contains(v, "://") {
			return "'" + v + "'"
		}
		return "a text"
	case []any:
		return "a list"
	case object:
		return "a mapping"
	}
	return fmt.Sprint(value)
}

// plain turns objects into maps, for values that are handed on as they are.
func plain(value any) any {
	switch v := value.(type) {
	case object:
		m := make(map[string]any, len(v))
		for _, e := range v {
			m[e.key] = plain(e.value)
		}
		return m
	case []any:
		list := make([]any, len(v))
		for i, e := range v {
			list[i] = plain(e)
		}
		return list
	}
	return value
}
