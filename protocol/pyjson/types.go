package pyjson

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Naive is the zone of a time that came without a UTC offset. It is read as
// UTC, and a time.Time in it is written without an offset again: a naive
// Python datetime stays one on its way through Go.
var Naive = time.FixedZone("naive", 0)

// Decimal is the text of a Python decimal.Decimal: "1.10".
type Decimal string

// UUID is a Python uuid.UUID.
type UUID [16]byte

// String returns the 36 character form.
func (u UUID) String() string {
	h := hex.EncodeToString(u[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

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

var errUUID = errors.New("badly formed hexadecimal UUID string")

// parseUUID reads the forms that Python's uuid.UUID does: with and without
// hyphens, braces and urn:uuid:.
func parseUUID(s string) (u UUID, err error) {
	s = strings.ReplaceAll(strings.ReplaceAll(s, "urn:", ""), "uuid:", "")
	s = strings.ReplaceAll(strings.Trim(s, "{}"), "-", "")
	if len(s) != 2*len(u) {
		return u, errUUID
	}
	if _, err := hex.Decode(u[:], []byte(s)); err != nil {
		return UUID{}, errUUID
	}
	return u, nil
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
