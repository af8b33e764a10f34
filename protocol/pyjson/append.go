package pyjson

import (
	"encoding/base64"
	"encoding/json"
	"math"
	"math/big"
	"reflect"
	"slices"
	"strconv"
	"time"
	"unicode/utf16"
	"unicode/utf8"
)

// Append appends v as Python's json.dumps with kombu's types writes it: in
// ASCII, with ", " and ": ", floats as Python's repr, and __type__ objects for
// time.Time (datetime; see [Naive]), [Date], [Clock], [Decimal], [UUID] and
// []byte. Bytes of a string that are no UTF-8 are written as Python's os.fsdecode has
// them: see [Unquote].
//
// Structs go by the tags of encoding/json; json.Marshaler and
// encoding.TextMarshaler are asked, and json.RawMessage is taken as it stands,
// if it is valid. Map keys are sorted. Only nil pointers and interfaces are
// null: a nil slice is [], a nil map {}, a nil []byte empty bytes. A
// time.Duration is a float of seconds.
//
// Errors: [*UnsupportedTypeError] for channels, functions, complex numbers and
// big.Float, [ErrTooDeep], what a marshaler returns, and values Python cannot
// have, such as a time in the year 10000 or an int of more than [MaxIntDigits].
// dst is then returned as it came.
func Append(dst []byte, v any) ([]byte, error) {
	out, err := appendAny(dst, v, 0)
	if err != nil {
		return dst, err
	}
	return out, nil
}

func appendAny(dst []byte, v any, depth int) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return append(dst, "null"...), nil
	case bool:
		return strconv.AppendBool(dst, v), nil
	case int:
		return strconv.AppendInt(dst, int64(v), 10), nil
	case int64:
		return strconv.AppendInt(dst, v, 10), nil
	case float64:
		return appendFloat(dst, v, 64), nil
	case string:
		return appendString(dst, v), nil
	case []byte:
		return appendBytes(dst, v)
	case json.RawMessage:
		return appendRaw(dst, v)
	case []any:
		return appendList(dst, v, depth)
	case map[string]any:
		return appendDict(dst, v, depth)
	case time.Time:
		return appendTime(dst, v)
	case *big.Int:
		if v != nil {
			return appendBigInt(dst, v)
		}
	}
	rv := reflect.ValueOf(v)
	return codecOf(rv.Type()).encode(dst, rv, depth)
}

func appendList(dst []byte, list []any, depth int) ([]byte, error) {
	if depth == maxDepth {
		return dst, ErrTooDeep
	}
	dst = append(dst, '[')
	for i, v := range list {
		if i > 0 {
			dst = append(dst, ", "...)
		}
		var err error
		if dst, err = appendAny(dst, v, depth+1); err != nil {
			return dst, err
		}
	}
	return append(dst, ']'), nil
}

func appendDict(dst []byte, dict map[string]any, depth int) ([]byte, error) {
	if depth == maxDepth {
		return dst, ErrTooDeep
	}
	var few [16]string
	keys := few[:0]
	for key := range dict {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	dst = append(dst, '{')
	for i, key := range keys {
		if i > 0 {
			dst = append(dst, ", "...)
		}
		dst = append(appendString(dst, key), ": "...)
		var err error
		if dst, err = appendAny(dst, dict[key], depth+1); err != nil {
			return dst, err
		}
	}
	return append(dst, '}'), nil
}

// appendFloat writes Python's repr: the shortest digits that read back the
// same, always with a point or an exponent.
func appendFloat(dst []byte, f float64, bits int) []byte {
	switch {
	case math.IsNaN(f):
		return append(dst, "NaN"...)
	case math.IsInf(f, 1):
		return append(dst, "Infinity"...)
	case math.IsInf(f, -1):
		return append(dst, "-Infinity"...)
	}
	size := math.Abs(f)
	small := size < 1e-4
	if bits == 32 { // the nearest float32 to 1e-4 is smaller than it
		small = float32(size) < 1e-4
	}
	if size != 0 && (small || size >= 1e16) {
		return strconv.AppendFloat(dst, f, 'e', -1, bits)
	}
	start := len(dst)
	dst = strconv.AppendFloat(dst, f, 'f', -1, bits)
	if slices.Contains(dst[start:], '.') {
		return dst
	}
	return append(dst, ".0"...)
}

const hexDigits = "0123456789abcdef"

// appendString quotes s in ASCII, bytes that are no UTF-8 as lone surrogates.
func appendString[T string | []byte](dst []byte, s T) []byte {
	dst = append(dst, '"')
	done := 0
	for i := 0; i < len(s); {
		c := s[i]
		if ' ' <= c && c <= '~' && c != '"' && c != '\\' {
			i++
			continue
		}
		dst = append(dst, s[done:i]...)
		if c < utf8.RuneSelf {
			dst = appendEscape(dst, c)
			i++
		} else {
			r, size := DecodeRune(s[i:])
			if r > 0xffff {
				high, low := utf16.EncodeRune(r)
				dst = appendHex(dst, high)
				r = low
			}
			dst = appendHex(dst, r)
			i += size
		}
		done = i
	}
	return append(append(dst, s[done:]...), '"')
}

func appendEscape(dst []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\n':
		return append(dst, `\n`...)
	case '\r':
		return append(dst, `\r`...)
	case '\t':
		return append(dst, `\t`...)
	case '\b':
		return append(dst, `\b`...)
	case '\f':
		return append(dst, `\f`...)
	default:
		return appendHex(dst, rune(c))
	}
}

func appendHex(dst []byte, r rune) []byte {
	return append(dst, '\\', 'u', hexDigits[r>>12], hexDigits[r>>8&15], hexDigits[r>>4&15], hexDigits[r&15])
}

// appendMarker opens a __type__ object; what follows is its value and a brace.
func appendMarker(dst []byte, name string) []byte {
	dst = append(dst, `{"__type__": "`...)
	dst = append(dst, name...)
	return append(dst, `", "__value__": `...)
}

func appendBytes(dst, b []byte) ([]byte, error) {
	if utf8.Valid(b) {
		return append(appendString(appendMarker(dst, "bytes"), b), '}'), nil
	}
	dst = append(appendMarker(dst, "base64"), '"')
	return append(base64.StdEncoding.AppendEncode(dst, b), `"}`...), nil
}

func appendTime(dst []byte, t time.Time) ([]byte, error) {
	dst, err := appendDatetime(append(appendMarker(dst, "datetime"), '"'), t)
	return append(dst, `"}`...), err
}
