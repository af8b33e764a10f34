package pickle

import (
	"bytes"
	"encoding/binary"
	"strconv"
	"time"

	"github.com/apium/apium/protocol/serializer/plain"
)

// maxValues is how many values one pickle may make. Each takes up to about 100 bytes.
const maxValues = 8 << 20

// Load reads a pickle of plain data: see package plain for what it returns. Every
// error is an *Error.
func Load(data []byte) (any, error) { return newReader(data, false).run() }

// LoadRecord is Load for a task's result record. There an exception may be pickled as
// the object it was. It is returned as Celery's JSON records have it, a dict of
// exc_type, exc_message and exc_module, whatever its class: nothing is built of it.
func LoadRecord(data []byte) (any, error) { return newReader(data, true).run() }

// reader runs the program that a pickle is, on a stack of values.
type reader struct {
	data       []byte
	pos        int
	stack      []any
	marks      []int // heights of the stack
	memo       map[int]any
	values     int  // made so far
	exceptions bool // whether objects of any class may stand for exceptions
	zones      map[string]*time.Location
}

func newReader(data []byte, exceptions bool) *reader {
	return &reader{data: data, memo: map[int]any{}, exceptions: exceptions, zones: map[string]*time.Location{}}
}

func (r *reader) run() (any, error) {
	for r.pos < len(r.data) {
		op := r.data[r.pos]
		r.pos++
		if op == opStop {
			return r.pop()
		}
		if err := r.charge(1); err != nil {
			return nil, err
		}
		if err := r.step(op); err != nil {
			return nil, err
		}
	}
	return nil, failf("it has no end")
}

// charge counts work that is more than reading the bytes of the pickle.
func (r *reader) charge(n int) error {
	if r.values += n; r.values > maxValues {
		return failf("more than %d values", maxValues)
	}
	return nil
}

// step carries out one opcode. The families hand on what is not theirs.
func (r *reader) step(op byte) error {
	switch op {
	case opMark:
		r.marks = append(r.marks, len(r.stack))
		return nil
	case opPop:
		if n := len(r.marks); n > 0 && r.marks[n-1] == len(r.stack) {
			r.marks = r.marks[:n-1]
			return nil
		}
		_, err := r.pop()
		return err
	case opPopMark:
		_, err := r.popMark()
		return err
	case opDup:
		v, err := r.top()
		if err != nil {
			return err
		}
		return r.push(v, nil)
	case opProto:
		version, err := r.byte()
		if err == nil && version > maxProtocol {
			err = failf("unsupported protocol %d", version)
		}
		return err
	case opFrame:
		_, err := r.bytes(8)
		return err
	case opNone:
		return r.push(nil, nil)
	case opNewTrue:
		return r.push(true, nil)
	case opNewFalse:
		return r.push(false, nil)
	case opEmptyTuple, opEmptyList, opEmptySet:
		return r.push(&plain.List{}, nil)
	case opEmptyDict:
		return r.push(&plain.Dict{}, nil)
	}
	return r.stepNumber(op)
}

func (r *reader) push(v any, err error) error {
	if err == nil {
		r.stack = append(r.stack, v)
	}
	return err
}

func (r *reader) top() (any, error) {
	if n := len(r.stack); n > 0 && (len(r.marks) == 0 || r.marks[len(r.marks)-1] < n) {
		return r.stack[n-1], nil
	}
	return nil, failf("a value is missing")
}

func (r *reader) pop() (any, error) {
	v, err := r.top()
	if err == nil {
		r.stack = r.stack[:len(r.stack)-1]
	}
	return v, err
}

// popMark takes everything above the last mark. The slice holds until the next push.
func (r *reader) popMark() ([]any, error) {
	n := len(r.marks)
	if n == 0 {
		return nil, failf("a mark is missing")
	}
	from := r.marks[n-1]
	r.marks = r.marks[:n-1]
	items := r.stack[from:]
	r.stack = r.stack[:from]
	return items, nil
}

var errShort = &Error{Reason: "it ends too early"}

func (r *reader) byte() (byte, error) {
	b, err := r.bytes(1)
	if err != nil {
		return 0, err
	}
	return b[0], nil
}

// bytes takes n bytes, without copying them.
func (r *reader) bytes(n uint64) ([]byte, error) {
	if n > uint64(len(r.data)-r.pos) { //nolint:gosec // never negative
		return nil, errShort
	}
	b := r.data[r.pos : r.pos+int(n)] //nolint:gosec // just checked
	r.pos += int(n)                   //nolint:gosec // checked above
	return b, nil
}

// uint takes a little-endian number of so many bytes.
func (r *reader) uint(size uint64) (uint64, error) {
	b, err := r.bytes(size)
	if err != nil {
		return 0, err
	}
	var full [8]byte
	copy(full[:], b)
	return binary.LittleEndian.Uint64(full[:]), nil
}

// counted takes bytes whose number comes first, as an integer of so many bytes.
func (r *reader) counted(size uint64) ([]byte, error) {
	n, err := r.uint(size)
	if err != nil {
		return nil, err
	}
	return r.bytes(n)
}

// line takes the text up to the end of the line.
func (r *reader) line() (string, error) {
	end := bytes.IndexByte(r.data[r.pos:], '\n')
	if end < 0 {
		return "", errShort
	}
	line := r.data[r.pos : r.pos+end]
	r.pos += end + 1
	return string(bytes.TrimSuffix(line, []byte("\r"))), nil
}

// memoIndex takes the index of a text opcode.
func (r *reader) memoIndex() (int, error) {
	text, err := r.line()
	if err != nil {
		return 0, err
	}
	i, err := strconv.Atoi(text)
	if err != nil || i < 0 {
		return 0, failf("bad memo index %q", text)
	}
	return i, nil
}
