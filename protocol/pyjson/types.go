package pyjson

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"
)

// Naive is the zone of a time that came without a UTC offset. It is read as
// UTC, and a time.Time in it is written without an offset again: a naive
// Python datetime stays one on its way through Go.
var Naive = time.FixedZone("naive", 0)

// Decimal is the text of a Python decimal.Decimal: "1.10".
type Decimal string

// Date is a Python datetime.date.
type Date struct {
	Year  int
	Month time.Month
	Day   int
}

// String returns the date as Python's isoformat does: 2030-01-02.
func (d Date) String() string {
	return fmt.Sprintf("%04d-%02d-%02d", d.Year, int(d.Month), d.Day)
}

// Clock is a Python datetime.time, a time of day.
type Clock struct {
	Hour, Minute, Second, Microsecond int
	// Zone is the UTC offset as Python writes it, "+02:00"; empty if the time has none.
	Zone string
}

// String returns the time as Python's isoformat does: 03:04:05 or
// 03:04:05.678901+02:00.
func (c Clock) String() string {
	s := fmt.Sprintf("%02d:%02d:%02d", c.Hour, c.Minute, c.Second)
	if c.Microsecond != 0 {
		s += fmt.Sprintf(".%06d", c.Microsecond)
	}
	return s + c.Zone
}

// parseDecimal checks the grammar of Python's Decimal constructor.
func parseDecimal(s string) (Decimal, error) {
	s = strings.ReplaceAll(strings.TrimSpace(s), "_", "")
	body := strings.ToLower(strings.TrimLeft(s, "+-"))
	if len(s)-len(body) > 1 {
		return "", errDecimal(s)
	}
	if body == "inf" || body == "infinity" {
		return Decimal(s), nil
	}
	if payload, ok := strings.CutPrefix(strings.TrimPrefix(body, "s"), "nan"); ok {
		if skipDigits([]byte(payload), 0) != len(payload) {
			return "", errDecimal(s)
		}
		return Decimal(s), nil
	}
	digits := strings.TrimLeft(body, "0123456789")
	count := len(body) - len(digits)
	if rest, ok := strings.CutPrefix(digits, "."); ok {
		digits = strings.TrimLeft(rest, "0123456789")
		count += len(rest) - len(digits)
	}
	if exponent, ok := strings.CutPrefix(digits, "e"); ok {
		exponent = strings.TrimPrefix(strings.TrimPrefix(exponent, "-"), "+")
		digits = strings.TrimLeft(exponent, "0123456789")
		if exponent == "" {
			count = 0
		}
	}
	if count == 0 || digits != "" {
		return "", errDecimal(s)
	}
	return Decimal(s), nil
}

func errDecimal(s string) error { return fmt.Errorf("%q is not a decimal number", s) }

// decimalOf makes a Decimal of what Python's constructor takes: kombu writes text, and
// others may write a number.
func decimalOf(v any) (any, error) {
	switch v := v.(type) {
	case string:
		return parseDecimal(v)
	case int64:
		return Decimal(strconv.FormatInt(v, 10)), nil
	case *big.Int:
		return Decimal(v.String()), nil
	case float64:
		return decimalOfFloat(v), nil
	default:
		return nil, errors.New("it must be a str, int or float")
	}
}

// decimalOfFloat returns the exact value: 0.1 is 0.1000000000000000055….
func decimalOfFloat(f float64) Decimal {
	switch {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	}
	const places = 1074 // no float64 has more
	text := strconv.FormatFloat(f, 'f', places, 64)
	return Decimal(strings.TrimSuffix(strings.TrimRight(text, "0"), "."))
}
