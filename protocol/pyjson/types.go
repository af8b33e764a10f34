package pyjson

import "time"

// Decimal is the text of a Python decimal.Decimal: "1.10".
type Decimal string

// UUID is a Python uuid.UUID.
type UUID [16]byte

// Date is a Python datetime.date.
type Date struct {
	Year  int
	Month time.Month
	Day   int
}

// Clock is a Python datetime.time, a time of day.
type Clock struct {
	Hour, Minute, Second, Microsecond int
	// Zone is the UTC offset as Python writes it, "+02:00"; empty if the time has none.
	Zone string
}
