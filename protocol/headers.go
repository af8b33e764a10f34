package protocol

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/apium/apium/protocol/pyjson"
)

// Headers are the headers of a message, and what they say of a task: as the fields stand in
// the headers of a protocol 2 message or in the body of a protocol 1 message.
type Headers struct {
	raw  []byte
	kind byte // pyjson.Kind of the whole value, 0 when missing

	// Text is nil where it is missing or null.
	task, id, shadow, rootID, parentID []byte
	group, taskset                     []byte
	lang, origin, argsrepr, kwargsrepr []byte
	compression                        []byte
	eta, expires, timelimit            []byte // raw
	retries, groupIndex, nesting       []byte // raw
	ignoreResult                       byte   // 't', 'f' or, for null, 'n'
	utc                                byte   // kind; protocol 1
	stampedHeaders, stamps             []byte // raw
	args, kwargs                       []byte // raw; protocol 1
	callbacks, errbacks, chord         []byte // raw; protocol 1
}

// Raw is the whole JSON object; nil if it is missing or null.
func (h *Headers) Raw() []byte { return h.raw }

// Valid says whether the value can count as headers: Python tolerates what is false there,
// such as null and the empty array that PHP writes.
func (h *Headers) Valid() bool {
	return h.kind == 0 || h.kind == '{' || h.kind == 'n' || string(h.raw) == "[]"
}

// Read takes the headers, which are the value ahead in a scanner of raw.
func (h *Headers) Read(s *pyjson.Scanner, raw []byte) {
	start := s.Offset()
	*h = Headers{kind: s.Kind()}
	if !s.Enter('{') {
		h.raw = s.Value()
		if h.kind == 'n' {
			h.raw = nil
		}
		return
	}
	for s.Next() {
		h.member(string(s.Key()), s)
	}
	h.raw = raw[start:s.Offset()]
}

// member takes one member. Names are those of both protocols: in headers those of
// protocol 1 mean nothing, and reading them does no harm.
func (h *Headers) member(key string, s *pyjson.Scanner) {
	switch key {
	case "task":
		h.task = s.Scalar()
	case "id":
		h.id = s.Scalar()
	case "shadow":
		h.shadow = s.Scalar()
	case "root_id":
		h.rootID = s.Scalar()
	case "parent_id":
		h.parentID = s.Scalar()
	case "group":
		h.group = s.Scalar()
	case "lang":
		h.lang = s.Scalar()
	case "origin":
		h.origin = s.Scalar()
	case "argsrepr":
		h.argsrepr = s.Scalar()
	case "kwargsrepr":
		h.kwargsrepr = s.Scalar()
	case "eta":
		h.eta = s.Value()
	case "expires":
		h.expires = s.Value()
	case "timelimit":
		h.timelimit = s.Value()
	case "retries":
		h.retries = s.Value()
	case "group_index":
		h.groupIndex = s.Value()
	case "replaced_task_nesting":
		h.nesting = s.Value()
	case "ignore_result":
		h.ignoreResult = s.Kind()
		if raw := s.Value(); h.ignoreResult != 'n' {
			h.ignoreResult = 'f'
			if truth(raw) {
				h.ignoreResult = 't'
			}
		}
	case "stamped_headers":
		h.stampedHeaders = s.Value()
	case "stamps":
		h.stamps = s.Value()
	case "compression":
		h.compression = s.Scalar()
	default:
		h.memberV1(key, s)
	}
}

// memberV1 takes what is in the body in protocol 1 and elsewhere in protocol 2.
func (h *Headers) memberV1(key string, s *pyjson.Scanner) {
	switch key {
	case "taskset":
		h.taskset = s.Scalar()
	case "args":
		h.args = s.Value()
	case "kwargs":
		h.kwargs = s.Value()
	case "callbacks":
		h.callbacks = s.Value()
	case "errbacks":
		h.errbacks = s.Value()
	case "chord":
		h.chord = s.Value()
	case "utc":
		h.utc = s.Kind()
	}
}

// fill sets the fields of t that the headers tell, and returns an *InvalidTaskError
// for a value that no worker can act on. Dates without an offset are in loc.
func (h *Headers) fill(t *Task, loc *time.Location) error {
	if err := h.dates(t, loc); err != nil {
		return err
	}
	if err := h.limits(t); err != nil {
		return err
	}
	t.Retries, _ = looseInteger(h.retries) // what is no number does not keep Celery from running the task
	t.ReplacedTaskNesting, _ = looseInteger(h.nesting)
	if n, ok := looseInteger(h.groupIndex); ok {
		index := n
		t.GroupIndex = &index
	}
	t.StampedHeaders = stringArray(h.stampedHeaders)
	if pyjson.Kind(h.stamps) == '{' && string(h.stamps) != "{}" {
		t.Stamps = h.stamps
	}
	return nil
}

// names puts into t what is known however the rest of the message looks: the strings of
// the headers, and whether a result is wanted.
func (h *Headers) names(t *Task, x *texts) {
	x.add(&t.Name, h.task)
	x.add(&t.ID, h.id)
	x.add(&t.RootID, h.rootID)
	x.add(&t.ParentID, h.parentID)
	x.add(&t.GroupID, h.group)
	x.add(&t.Shadow, h.shadow)
	x.add(&t.Origin, h.origin)
	x.add(&t.ArgsRepr, h.argsrepr)
	x.add(&t.KwargsRepr, h.kwargsrepr)
	t.Lang = known(h.lang, "py", "go")
	switch h.ignoreResult {
	case 't':
		t.IgnoreResult = &yes
	case 'f':
		t.IgnoreResult = &no
	}
}

var yes, no = true, false // what is the same for all tasks

func (h *Headers) dates(t *Task, loc *time.Location) error {
	for _, field := range []struct {
		name string
		raw  []byte
		to   *time.Time
	}{
		{"ETA", h.eta, &t.ETA},
		{"expires", h.expires, &t.Expires},
	} {
		if isNull(field.raw) {
			continue
		}
		text, err := pyjson.Unquote(field.raw)
		if err != nil {
			return t.invalid(field.name, field.raw, "not a string")
		}
		if *field.to, err = ParseTime(text, loc); err != nil {
			return t.invalid(field.name, field.raw, err.Error())
		}
	}
	return nil
}

// limits reads [hard, soft], in seconds.
func (h *Headers) limits(t *Task) error {
	if isNull(h.timelimit) || string(h.timelimit) == "[null, null]" || !truth(h.timelimit) {
		return nil
	}
	s := pyjson.NewScanner(h.timelimit)
	if !s.Enter('[') {
		return t.invalid("timelimit", h.timelimit, "not a list")
	}
	to := [2]*time.Duration{&t.TimeLimit, &t.SoftTimeLimit}
	n := 0
	for ; s.Next(); n++ {
		raw := s.Value()
		if n >= len(to) || !truth(raw) {
			continue
		}
		seconds, ok := looseNumber(raw)
		if !ok {
			return t.invalid("timelimit", h.timelimit, "not a number of seconds")
		}
		*to[n] = duration(seconds)
	}
	if n != len(to) {
		return t.invalid("timelimit", h.timelimit, "expected two values")
	}
	return nil
}

// invalid builds the error for a header, in Celery's words.
func (t *Task) invalid(name string, raw []byte, reason string) error {
	return &InvalidTaskError{
		Task: t.Name, ID: t.ID,
		Reason: fmt.Sprintf("invalid %s value %s: %s", name, SafeRepr(raw), reason),
	}
}

func isNull(raw []byte) bool { return raw == nil || string(raw) == "null" }

// number reads a JSON number that is finite.
func number(raw []byte) (float64, bool) {
	if pyjson.Kind(raw) != '0' {
		return 0, false
	}
	f, err := strconv.ParseFloat(string(raw), 64)
	return f, err == nil && !math.IsNaN(f) && !math.IsInf(f, 0)
}

// integer reads a JSON number with an integral value that an int holds.
func integer(raw []byte) (int, bool) {
	if len(raw) == 1 && isDigit(raw[0]) {
		return int(raw[0] - '0'), true
	}
	f, ok := number(raw)
	if !ok || f != math.Trunc(f) || math.Abs(f) > 1<<53 {
		return 0, false
	}
	return int(f), true
}

// duration converts seconds. Limits that are not positive are none, as in Celery.
func duration(seconds float64) time.Duration {
	if seconds <= 0 {
		return 0
	}
	if seconds >= math.MaxInt64/float64(time.Second) {
		return math.MaxInt64
	}
	return time.Duration(seconds * float64(time.Second))
}

// stringArray reads an array, leaving out what is not a string.
func stringArray(raw []byte) []string {
	if isNull(raw) {
		return nil
	}
	var list []string
	s := pyjson.NewScanner(raw)
	if !s.Enter('[') {
		return nil
	}
	for s.Next() {
		if text, ok := s.Text(); ok {
			list = append(list, string(text))
		}
	}
	return list
}
