package pickle

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/big"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/apium/apium/protocol/pyjson"
	"github.com/apium/apium/protocol/serializer/plain"
)

// Dump writes plain values as a pickle of protocol 2, which every Python reads. (Aware
// datetimes need Python 3: Python 2 has no class for their zone.)
func Dump(v any) ([]byte, error) {
	w := &dumper{buf: []byte{opProto, 2}}
	if err := w.value(v, 0); err != nil {
		return nil, err
	}
	return append(w.buf, opStop), nil
}

// maxDepth is how deep the values that are written may nest.
const maxDepth = 1000

type dumper struct{ buf []byte }

func (w *dumper) op(op byte, data ...byte) { w.buf = append(append(w.buf, op), data...) }

func (w *dumper) value(v any, depth int) error {
	if depth > maxDepth {
		return failf("nested too deep")
	}
	switch v := v.(type) {
	case nil:
		w.op(opNone)
	case bool:
		if v {
			w.op(opNewTrue)
		} else {
			w.op(opNewFalse)
		}
	case int64:
		w.int(v)
	case *big.Int:
		return w.long(v)
	case float64:
		w.op(opBinFloat)
		w.buf = binary.BigEndian.AppendUint64(w.buf, math.Float64bits(v))
	case string:
		return w.text(v)
	case []byte:
		return w.bytes(v)
	case *plain.List:
		return w.list(v, depth)
	case *plain.Dict:
		return w.dict(v, depth)
	case *raised:
		w.global(v.module, v.name)
		return w.apply(v.args.Items...)
	default:
		return w.known(v)
	}
	return nil
}

// known writes values of Python's library, as a call of their class.
func (w *dumper) known(v any) error {
	switch v := v.(type) {
	case pyjson.Decimal:
		w.global("decimal", "Decimal")
		return w.apply(string(v))
	case pyjson.UUID:
		w.global("uuid", "UUID")
		return w.apply(v.String())
	case pyjson.Date:
		w.global("datetime", "date")
		return w.apply([]byte{byte(v.Year >> 8), byte(v.Year), byte(v.Month), byte(v.Day)})
	case pyjson.Clock:
		return w.clock(v)
	case time.Time:
		return w.datetime(v)
	case delta:
		w.global("datetime", "timedelta")
		return w.apply(int64(0), int64(v), int64(0))
	case timezone:
		w.global("datetime", "timezone")
		return w.apply(delta(v))
	}
	return failf("cannot write a %T", v)
}

// delta is a datetime.timedelta, timezone a datetime.timezone; both in seconds.
type (
	delta    int64
	timezone int64
)

func (w *dumper) global(module, name string) {
	w.op(opGlobal)
	w.buf = append(w.buf, module...)
	w.buf = append(w.buf, '\n')
	w.buf = append(w.buf, name...)
	w.buf = append(w.buf, '\n')
}

// apply calls the global written before.
func (w *dumper) apply(args ...any) error {
	w.op(opMark)
	for _, arg := range args {
		if err := w.value(arg, 0); err != nil {
			return err
		}
	}
	w.op(opTuple)
	w.op(opReduce)
	return nil
}

func (w *dumper) int(n int64) {
	switch {
	case n >= 0 && n <= math.MaxUint8:
		w.op(opBinInt1, byte(n))
	case n >= math.MinInt32 && n <= math.MaxInt32:
		w.op(opBinInt)
		w.buf = binary.LittleEndian.AppendUint32(w.buf, uint32(n)) //nolint:gosec // two's complement
	default:
		w.op(opLong1, 8)
		w.buf = binary.LittleEndian.AppendUint64(w.buf, uint64(n)) //nolint:gosec // two's complement
	}
}

func (w *dumper) long(n *big.Int) error {
	size := n.BitLen()/8 + 1 // with room for the sign
	if size > maxIntBytes {
		return failf("%s", pyjson.TooManyDigits(0))
	}
	if n.Sign() < 0 {
		n = new(big.Int).Add(n, new(big.Int).Lsh(big.NewInt(1), uint(8*size))) //nolint:gosec // small
	}
	b := n.FillBytes(make([]byte, size))
	slices.Reverse(b)
	w.op(opLong4)
	w.buf = binary.LittleEndian.AppendUint32(w.buf, uint32(size)) //nolint:gosec // small
	w.buf = append(w.buf, b...)
	return nil
}

// text writes lone surrogates as Python does: encoded as if they were characters.
func (w *dumper) text(s string) error {
	if !utf8.ValidString(s) {
		s = string(surrogatepass(s))
	}
	if uint64(len(s)) > math.MaxUint32 {
		return failf("text of %d bytes", len(s))
	}
	w.op(opBinUnicode)
	w.buf = binary.LittleEndian.AppendUint32(w.buf, uint32(len(s))) //nolint:gosec // just checked
	w.buf = append(w.buf, s...)
	return nil
}

func surrogatepass(s string) (out []byte) {
	for len(s) > 0 {
		r, size := pyjson.DecodeRune(s)
		if 0xd800 <= r && r <= 0xdfff {
			out = append(out, 0xed, 0x80|byte(r>>6&0x3f), 0x80|byte(r&0x3f))
		} else {
			out = append(out, s[:size]...)
		}
		s = s[size:]
	}
	return out
}

// bytes writes them as Python 3 does in protocol 2, so that Python 2 reads a str.
func (w *dumper) bytes(b []byte) error {
	runes := make([]rune, len(b))
	for i, c := range b {
		runes[i] = rune(c)
	}
	w.global("_codecs", "encode")
	return w.apply(string(runes), "latin1")
}

func (w *dumper) list(list *plain.List, depth int) error {
	w.op(opEmptyList)
	w.op(opMark)
	for _, item := range list.Items {
		if err := w.value(item, depth+1); err != nil {
			return err
		}
	}
	w.op(opAppends)
	return nil
}

func (w *dumper) dict(dict *plain.Dict, depth int) error {
	w.op(opEmptyDict)
	w.op(opMark)
	for i, key := range dict.Keys {
		if err := w.value(key, depth+1); err != nil {
			return err
		}
		if err := w.value(dict.Values[i], depth+1); err != nil {
			return err
		}
	}
	w.op(opSetItems)
	return nil
}

func (w *dumper) datetime(t time.Time) error {
	year, month, day := t.Date()
	if year < 1 || year > 9999 {
		return failf("year %d is out of range for a Python datetime", year)
	}
	state := []byte{byte(year >> 8), byte(year), byte(month), byte(day), byte(t.Hour()), byte(t.Minute()), byte(t.Second())}
	state = append(state, micros(t.Nanosecond()/1000)...)
	w.global("datetime", "datetime")
	if t.Location() == pyjson.Naive {
		return w.apply(state)
	}
	_, offset := t.Zone()
	return w.apply(state, timezone(offset))
}

func (w *dumper) clock(c pyjson.Clock) error {
	state := append([]byte{byte(c.Hour), byte(c.Minute), byte(c.Second)}, micros(c.Microsecond)...)
	w.global("datetime", "time")
	if c.Zone == "" {
		return w.apply(state)
	}
	var hours, minutes, seconds int64
	if n, _ := fmt.Sscanf(c.Zone[1:], "%d:%d:%d", &hours, &minutes, &seconds); n < 2 {
		return failf("bad UTC offset %q", c.Zone)
	}
	offset := hours*3600 + minutes*60 + seconds
	if c.Zone[0] == '-' {
		offset = -offset
	}
	return w.apply(state, timezone(offset))
}

func micros(n int) []byte { return []byte{byte(n >> 16), byte(n >> 8), byte(n)} }
