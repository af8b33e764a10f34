package pickle

import (
	"encoding/binary"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/apium/apium/protocol/pyjson"
)

// maxIntBytes is how large an int may be: those that are larger have more than
// pyjson.MaxIntDigits.
const maxIntBytes = 1787

// stepNumber carries out opcodes that make numbers.
func (r *reader) stepNumber(op byte) error {
	switch op {
	case opBinInt1:
		n, err := r.uint(1)
		return r.push(int64(n), err) //nolint:gosec // one byte
	case opBinInt2:
		n, err := r.uint(2)
		return r.push(int64(n), err) //nolint:gosec // two bytes
	case opBinInt:
		n, err := r.uint(4)
		return r.push(int64(int32(n)), err) //nolint:gosec // its sign is the 32nd bit
	case opLong1, opLong4:
		size := uint64(1)
		if op == opLong4 {
			size = 4
		}
		b, err := r.counted(size)
		if err != nil {
			return err
		}
		return r.push(longInt(b))
	case opInt, opLong:
		text, err := r.line()
		if err != nil {
			return err
		}
		return r.push(textInt(text, op == opInt))
	case opBinFloat:
		b, err := r.bytes(8)
		if err != nil {
			return err
		}
		return r.push(math.Float64frombits(binary.BigEndian.Uint64(b)), nil)
	case opFloat:
		text, err := r.line()
		if err != nil {
			return err
		}
		f, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
		if err != nil && !math.IsInf(f, 0) {
			return failf("bad float %q", text)
		}
		return r.push(f, nil)
	}
	return r.stepText(op)
}

// longInt reads little-endian two's complement.
func longInt(b []byte) (any, error) {
	if len(b) > maxIntBytes {
		return nil, failf("%s", pyjson.TooManyDigits(0))
	}
	if len(b) == 0 {
		return int64(0), nil
	}
	digits := slices.Clone(b)
	slices.Reverse(digits)
	n := new(big.Int).SetBytes(digits)
	if digits[0]&0x80 != 0 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b)))) //nolint:gosec // small
	}
	return shortest(n), nil
}

// shortest returns an int64 where that will do.
func shortest(n *big.Int) any {
	if n.IsInt64() {
		return n.Int64()
	}
	return n
}

// textInt reads the ints of protocol 0. 01 and 00 are its booleans.
func textInt(text string, bools bool) (any, error) {
	if bools && (text == "00" || text == "01") {
		return text == "01", nil
	}
	text = strings.TrimSuffix(strings.TrimSpace(text), "L")
	if digits := len(strings.TrimLeft(text, "+-")); digits > pyjson.MaxIntDigits {
		return nil, failf("%s", pyjson.TooManyDigits(digits))
	}
	n, ok := new(big.Int).SetString(text, 10)
	if !ok {
		return nil, failf("bad int %q", text)
	}
	return shortest(n), nil
}
