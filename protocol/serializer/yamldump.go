package serializer

import (
	"encoding/base64"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/apium/apium/protocol/pyjson"
	"github.com/apium/apium/protocol/serializer/plain"
)

// dumpYAML writes a document that safe_load reads as what safe_dump was given, in flow
// style on a single line. Like safe_dump it refuses Decimals, UUIDs and times of day.
func dumpYAML(v any) ([]byte, error) {
	data, err := appendYAML(nil, v)
	if err != nil {
		return nil, fmt.Errorf("yaml: %w", err)
	}
	return append(data, '\n'), nil
}

func appendYAML(dst []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return append(dst, "null"...), nil
	case bool:
		return strconv.AppendBool(dst, v), nil
	case int64:
		return strconv.AppendInt(dst, v, 10), nil
	case *big.Int:
		return v.Append(dst, 10), nil
	case float64:
		return appendYAMLFloat(dst, v), nil
	case string:
		return appendYAMLText(dst, v), nil
	case []byte:
		dst = append(dst, `!!binary "`...)
		return append(base64.StdEncoding.AppendEncode(dst, v), '"'), nil
	case pyjson.Date:
		return fmt.Appendf(dst, `!!timestamp "%s"`, v), nil
	case time.Time:
		return appendYAMLTime(dst, v)
	case *plain.List:
		dst = append(dst, '[')
		for i, item := range v.Items {
			if i > 0 {
				dst = append(dst, ", "...)
			}
			var err error
			if dst, err = appendYAML(dst, item); err != nil {
				return nil, err
			}
		}
		return append(dst, ']'), nil
	case *plain.Dict:
		return appendYAMLDict(dst, v)
	}
	return nil, fmt.Errorf("cannot represent an object of type %s", pythonType(v))
}

// maxSimpleKey is how long a key may be that is not announced by a question mark: 1024
// characters for PyYAML's reader.
const maxSimpleKey = 1000

func appendYAMLDict(dst []byte, dict *plain.Dict) ([]byte, error) {
	dst = append(dst, '{')
	for i, key := range dict.Keys {
		if i > 0 {
			dst = append(dst, ", "...)
		}
		text, err := appendYAML(nil, key)
		if err != nil {
			return nil, err
		}
		if len(text) > maxSimpleKey {
			dst = append(dst, "? "...)
		}
		dst = append(append(dst, text...), ": "...)
		if dst, err = appendYAML(dst, dict.Values[i]); err != nil {
			return nil, err
		}
	}
	return append(dst, '}'), nil
}

// appendYAMLFloat writes Python's repr with the point and the sign of the exponent
// that YAML 1.1 requires.
func appendYAMLFloat(dst []byte, f float64) []byte {
	switch {
	case math.IsNaN(f):
		return append(dst, ".nan"...)
	case math.IsInf(f, 1):
		return append(dst, ".inf"...)
	case math.IsInf(f, -1):
		return append(dst, "-.inf"...)
	}
	text := strconv.FormatFloat(f, 'g', -1, 64)
	mantissa, exponent, scientific := strings.Cut(text, "e")
	dst = append(dst, mantissa...)
	if !strings.Contains(mantissa, ".") {
		dst = append(dst, ".0"...)
	}
	if scientific {
		dst = append(append(dst, 'e'), exponent...) // Go writes the sign, too
	}
	return dst
}

// appendYAMLText writes a double-quoted scalar in ASCII.
func appendYAMLText(dst []byte, s string) []byte {
	dst = append(dst, '"')
	for len(s) > 0 {
		c, size := pyjson.DecodeRune(s)
		s = s[size:]
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', byte(c))
		case c == '\n':
			dst = append(dst, `\n`...)
		case ' ' <= c && c <= '~':
			dst = utf8.AppendRune(dst, c)
		case c < 0x10000:
			dst = fmt.Appendf(dst, `\u%04x`, c)
		default:
			dst = fmt.Appendf(dst, `\U%08x`, c)
		}
	}
	return append(dst, '"')
}

func appendYAMLTime(dst []byte, t time.Time) ([]byte, error) {
	layout := "2006-01-02 15:04:05.999999"
	if t.Location() != pyjson.Naive {
		layout += "-07:00"
	}
	if year := t.Year(); year < 1 || year > 9999 {
		return nil, fmt.Errorf("year %d is out of range for a Python datetime", year)
	}
	return fmt.Appendf(dst, `!!timestamp "%s"`, t.Format(layout)), nil
}

// pythonType names the type of a value that is refused.
func pythonType(v any) string {
	switch v.(type) {
	case time.Time:
		return "datetime.datetime"
	case pyjson.Date:
		return "datetime.date"
	case pyjson.Clock:
		return "datetime.time"
	case pyjson.Decimal:
		return "decimal.Decimal"
	case pyjson.UUID:
		return "uuid.UUID"
	}
	return fmt.Sprintf("%T", v)
}
