package pyjson

import (
	"errors"
	"fmt"
	"math/big"
)

// MaxIntDigits is how many digits an int may have: Python's limit
// (sys.int_info.default_max_str_digits), for the same reason. The time that the
// conversion takes grows faster than the text.
const MaxIntDigits = 4300

// TooManyDigits is what Python says of an int with more digits than MaxIntDigits; 0 if
// they have not been counted.
func TooManyDigits(digits int) string {
	count := ""
	if digits > 0 {
		count = fmt.Sprintf(": value has %d digits", digits)
	}
	return fmt.Sprintf("Exceeds the limit (%d digits) for integer string conversion%s; "+
		"use sys.set_int_max_str_digits() to increase the limit", MaxIntDigits, count)
}

// checkDigits returns an error if data[i:end], an int, has too many digits.
func checkDigits(data []byte, i, end int) error {
	digits := end - i
	if data[i] == '-' {
		digits--
	}
	if digits <= MaxIntDigits {
		return nil
	}
	return &SyntaxError{Msg: TooManyDigits(digits), Offset: i}
}

// appendBigInt writes an int, unless Python would not.
func appendBigInt(dst []byte, n *big.Int) ([]byte, error) {
	const maxBits = 14285 // of an int with MaxIntDigits
	if n.BitLen() > maxBits {
		return dst, errors.New(TooManyDigits(0))
	}
	out := n.Append(dst, 10)
	digits := len(out) - len(dst)
	if n.Sign() < 0 {
		digits--
	}
	if digits > MaxIntDigits {
		return dst, errors.New(TooManyDigits(0))
	}
	return out, nil
}
