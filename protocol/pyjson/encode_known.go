package pyjson

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"
)

func appendDuration(dst []byte, d time.Duration) ([]byte, error) {
	return appendFloat(dst, d.Seconds(), 64), nil
}

func appendDate(dst []byte, d Date) ([]byte, error) {
	if _, err := parseDate(d.String()); err != nil {
		return dst, fmt.Errorf("%s is no Python date", d)
	}
	return append(appendString(appendMarker(dst, "date"), d.String()), '}'), nil
}

func appendClock(dst []byte, c Clock) ([]byte, error) {
	if _, err := parseTimeOfDay(c.String()); err != nil {
		return dst, fmt.Errorf("%s is no Python time", c)
	}
	return append(appendString(appendMarker(dst, "time"), c.String()), '}'), nil
}

func appendDecimal(dst []byte, d Decimal) ([]byte, error) {
	text, err := parseDecimal(string(d))
	if err != nil {
		return dst, err
	}
	return append(appendString(appendMarker(dst, "decimal"), string(text)), '}'), nil
}

func appendUUID(dst []byte, u UUID) ([]byte, error) {
	dst = append(appendMarker(dst, "uuid"), `{"hex": "`...)
	return append(hex.AppendEncode(dst, u[:]), `"}}`...), nil
}

// appendRaw passes a raw value through; as in encoding/json, none is null.
func appendRaw(dst []byte, raw json.RawMessage) ([]byte, error) {
	if raw == nil {
		return append(dst, "null"...), nil
	}
	if err := Valid(raw); err != nil {
		return dst, fmt.Errorf("raw JSON: %w", err)
	}
	return append(dst, raw...), nil
}

func appendJSONNumber(dst []byte, n json.Number) ([]byte, error) {
	if n == "" {
		n = "0" // as encoding/json has it
	}
	if end, _ := skipNumber([]byte(n), 0); end != len(n) {
		return dst, fmt.Errorf("%q is no JSON number", string(n))
	}
	if err := Valid([]byte(n)); err != nil { // it may be too long
		return dst, err
	}
	return append(dst, n...), nil
}
